"""Render the executed chapters and the prose pages to HTML; warnings are errors, a partial build is a failure."""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.check_pages import problems_of
from tools.imports import digest
from tools.notebooks import configured_address
from tools.project import (
    BUILD,
    FRAMES,
    PROFILES,
    ROOT,
    ToolError,
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
PAGES = ("book", "notebooks")  # Sphinx itself sees which of these changed
# Any page may show these.
SHARED = ("results", "ask_lib", "ask_scenes", "tools", "_config.yml", "_toc.yml", "constraints.txt")
FRAME = re.compile(r"_static/frames/([\w.-]+)")


def render_keys(profile: str) -> tuple[str, str]:
    """Fingerprints of what Sphinx follows by itself, and of what calls for a build from nothing."""
    pages = [ROOT / name for name in PAGES] + [executed_path(path, profile) for path in notebooks()]
    shared = [ROOT / name for name in SHARED]
    return tuple(  # type: ignore[return-value]
        digest([*tree_bytes(path for path in paths if path.exists()), profile.encode(), sys.version.encode()])
        for paths in (pages, shared)
    )


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
    site, (pages, shared) = site_path(profile), render_keys(profile)
    stamp = site / STAMP
    before = stamp.read_text(errors="replace").split() if stamp.is_file() else []
    if not force and before == [pages, shared] and not problems_of(site, toc_pages()):
        return site, False
    stamp.unlink(missing_ok=True)
    if force or before[1:] != [shared]:
        shutil.rmtree(site, ignore_errors=True)
        shutil.rmtree(_doctrees(profile), ignore_errors=True)
    shutil.rmtree(site / "_modules", ignore_errors=True)  # Sphinx keeps these also when the pages they link to changed
    _sphinx(site, profile)
    _bring_frames(site)
    _prune(site)
    problems = problems_of(site, toc_pages())
    if problems:
        raise ToolError("the rendered pages have problems:\n  " + "\n  ".join(problems))
    write_atomic(stamp, f"{pages} {shared}")
    return site, True


def _bring_frames(site: Path) -> None:
    """Copy the sliders' frames that this site's pages show, and no others."""
    for name in {name for page in _own_pages(site) for name in FRAME.findall(page.read_text(encoding="utf-8"))}:
        target = site / "_static" / "frames" / name
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(FRAMES / name, target)


def _prune(site: Path) -> None:
    """Remove the images and frames of earlier builds, which no page shows any more."""
    shown = " ".join(page.read_text(encoding="utf-8") for page in _own_pages(site))
    for folder in (site / "_images", site / "_static" / "frames"):
        for path in folder.glob("*"):
            if path.name not in shown:
                path.unlink()


def _own_pages(site: Path) -> list[Path]:
    return [path for path in site.rglob("*.html") if "_static" not in path.parts]


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
    if isinstance(result, OSError | KeyboardInterrupt):  # Jupyter Book returns what stopped Sphinx
        raise result
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
        if not configured_address():
            print("(no Colab links: `make repository URL=https://github.com/OWNER/NAME` sets the repository's address)")

    return exit_status(body)


if __name__ == "__main__":
    raise SystemExit(main())
