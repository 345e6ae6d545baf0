"""Render the executed chapters and the prose pages to HTML; warnings are errors, a partial build is a failure."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.check_pages import problems_of
from tools.project import (
    BUILD,
    PROFILES,
    ROOT,
    ToolError,
    digest,
    executed_path,
    exit_status,
    notebooks,
    one_at_a_time,
    site_path,
    toc_pages,
    tree_bytes,
    write_atomic,
)

STAMP = ".ask-rendered"
INPUTS = ("book", "notebooks", "results", "ask_lib", "tools", "_config.yml", "_toc.yml", "constraints.txt")


def render_key(profile: str) -> str:
    """Fingerprint of all that the pages are made from."""
    inputs = [ROOT / name for name in INPUTS] + [executed_path(path, profile) for path in notebooks()]
    parts = list(tree_bytes(path for path in inputs if path.exists()))
    return digest([*parts, profile.encode(), os.environ.get("ASK_REPOSITORY", "").encode()])


def render(profile: str, *, force: bool = False) -> tuple[Path, bool]:
    """Render the book.

    Args:
        profile: Which executed copies to show.
        force: Build from nothing, also when all is current.

    Returns:
        The folder with ``index.html``, and whether anything was rendered.

    Raises:
        ToolError: If a chapter is not executed, Sphinx warns, or a page is missing or broken.
    """
    _check_executed(profile)
    site, key = site_path(profile), render_key(profile)
    stamp = site / STAMP
    if not force and stamp.is_file() and stamp.read_text() == key:
        return site, False
    stamp.unlink(missing_ok=True)
    if force:
        shutil.rmtree(site, ignore_errors=True)
        shutil.rmtree(_doctrees(profile), ignore_errors=True)
    shutil.rmtree(site / "_modules", ignore_errors=True)  # Sphinx keeps these also when the pages they link to changed
    _sphinx(site, profile)
    problems = problems_of(site, toc_pages())
    if problems:
        raise ToolError("the rendered pages have problems:\n  " + "\n  ".join(problems))
    write_atomic(stamp, key)
    return site, True


def _check_executed(profile: str) -> None:
    for source in notebooks():
        if not executed_path(source, profile).is_file():
            raise ToolError(f"{source.name} has no executed copy for profile {profile}: run `make book` first")


def _doctrees(profile: str) -> Path:
    return BUILD / f"doctrees-{profile}"


def _sphinx(site: Path, profile: str) -> None:
    """Run Jupyter Book's own Sphinx call, strict: warnings are errors, unresolved references are warnings."""
    from jupyter_book.sphinx import build_sphinx

    os.environ["ASK_PROFILE"] = profile
    warnings = _Tee(sys.stderr)
    original, sys.stderr = sys.stderr, warnings
    try:
        result = build_sphinx(
            ROOT,
            site,
            noconfig=True,
            path_config=ROOT / "_config.yml",
            confoverrides={
                "external_toc_path": "_toc.yml",
                "latex_individualpages": False,  # Jupyter Book asks for it, for HTML too
                "nitpicky": True,
                "ask_profile": profile,
            },
            doctreedir=_doctrees(profile),
            warningiserror=True,
            keep_going=True,
            quiet=True,
        )
    finally:
        sys.stderr = original
    if result != 0 or "WARNING:" in warnings.text() or "ERROR:" in warnings.text():
        # Sphinx keeps what it has read: without this, a second run would not warn of the same page again.
        shutil.rmtree(_doctrees(profile), ignore_errors=True)
        raise ToolError("Sphinx gave the warnings above; the pages are not finished")


class _Tee(io.TextIOBase):
    """Passes text on and keeps it."""

    def __init__(self, stream: object) -> None:
        self._stream, self._kept = stream, io.StringIO()

    def write(self, text: str) -> int:
        self._stream.write(text)  # type: ignore[attr-defined]
        return self._kept.write(text)

    def flush(self) -> None:
        self._stream.flush()  # type: ignore[attr-defined]

    def text(self) -> str:
        return self._kept.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.render", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="book", help="which run to show (default: book)")
    parser.add_argument("--force", action="store_true", help="build from nothing")
    args = parser.parse_args(argv)

    def body() -> None:
        with one_at_a_time("render"):
            site, done = render(args.profile, force=args.force)
        print(f"{'Rendered' if done else 'Unchanged'}. Open {site / 'index.html'}")

    return exit_status(body)


if __name__ == "__main__":
    raise SystemExit(main())
