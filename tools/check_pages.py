"""Check the rendered pages without a browser: all there, nothing from elsewhere, links, ids and alt texts."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools.project import PROFILES, ToolError, exit_status, site_path, toc_pages

LOADING = {
    **dict.fromkeys(("script", "img", "source", "iframe", "video", "audio", "embed"), "src"),
    "object": "data",
}
LOADED_RELATIONS = {"stylesheet", "preload", "modulepreload", "icon", "shortcut icon", "apple-touch-icon"}
SMALLEST_PAGE = 4000  # bytes; a page that Sphinx left empty still has the theme around it


@dataclass
class Page:
    """What a page loads, links to, and defines."""

    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    without_alt: list[str] = field(default_factory=list)
    words: int = 0
    problems: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page, self._article, self._skipped = Page(), 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.page.ids.add(given["id"])
        if given.get("name") and tag == "a":
            self.page.ids.add(given["name"])
        self._note_loads(tag, given)
        if tag == "img" and not given.get("alt", "").strip() and given.get("role") != "presentation":
            self.page.without_alt.append(given.get("src", "?"))
        if given.get("role") == "img" and "aria-label" in given and not given["aria-label"].strip():
            self.page.without_alt.append(given.get("class", tag))
        if tag == "article":
            self._article += 1
        if tag in ("script", "style"):
            self._skipped += 1
        if "problematic" in given.get("class", "").split():
            self.page.problems.append(f"an unresolved role ({given.get('id', tag)})")

    def _note_loads(self, tag: str, given: dict[str, str]) -> None:
        if tag in LOADING and given.get(LOADING[tag]):
            self.page.loads.append(given[LOADING[tag]])
        if tag == "link" and given.get("href"):
            relations = set(given.get("rel", "").lower().split()) | {given.get("rel", "").lower()}
            if relations & LOADED_RELATIONS:
                self.page.loads.append(given["href"])
        if tag == "a" and given.get("href"):
            self.page.links.append(given["href"])

    def handle_endtag(self, tag: str) -> None:
        self._article -= tag == "article"
        self._skipped -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if self._article and not self._skipped:
            self.page.words += len(data.split())


@cache
def _read(path: Path, changed: float) -> Page:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def read_page(path: Path) -> Page:
    """What a page loads, links to and defines; read once as long as the file does not change."""
    return _read(path, path.stat().st_mtime)


def problems_of(site: Path, pages: Sequence[str]) -> list[str]:
    """All that is wrong with the rendered site, one line each.

    Args:
        site: The folder with the rendered pages.
        pages: The pages that the table of contents names, without suffix.
    """
    found = [f"{page}: missing" for page in pages if not (site / f"{page}.html").is_file()]
    found += [
        f"{name}: missing" for name in ("index.html", "searchindex.js", "genindex.html") if not (site / name).is_file()
    ]
    for page in pages:
        path = site / f"{page}.html"
        if path.is_file():
            found += [f"{page}: {problem}" for problem in _page_problems(path)]
    for path in sorted(site.rglob("*.html")):
        if "_static" not in path.parts:
            found += [f"{path.relative_to(site)}: {problem}" for problem in _reference_problems(site, path)]
    return found


def _page_problems(path: Path) -> Iterator[str]:
    page = read_page(path)
    if path.stat().st_size < SMALLEST_PAGE or page.words < 20:
        yield f"almost empty ({page.words} words)"
    yield from page.problems
    for source in page.without_alt:
        yield f"image without alt text: {source[:80]}"


def _reference_problems(site: Path, path: Path) -> Iterator[str]:
    page = read_page(path)
    for address in page.loads:
        parts = urlsplit(address)
        if parts.scheme == "data":
            continue
        if parts.scheme or parts.netloc:
            yield f"loads from another host: {address}"
        elif not (path.parent / unquote(parts.path)).is_file():
            yield f"loads a file that is not there: {address}"
    for address in page.links:
        yield from _link_problem(site, path, address)


def _link_problem(site: Path, path: Path, address: str) -> Iterator[str]:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target = target / "index.html"
    if not target.is_relative_to(site.resolve()):
        yield f"link out of the book: {address}"
    elif not target.exists():
        yield f"link to nothing: {address}"
    elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in read_page(target).ids:
        yield f"link to a place that is not there: {address}"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.check_pages", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="book", help="which rendering (default: book)")
    args = parser.parse_args(argv)

    def body() -> None:
        site = site_path(args.profile)
        if not site.is_dir():
            raise ToolError(f"nothing is rendered for profile {args.profile}: run `make book` first")
        problems = problems_of(site, toc_pages())
        if problems:
            raise ToolError("\n  ".join([f"{len(problems)} problems", *problems]))
        print(f"{len(toc_pages())} pages: all there, links and alt texts in order, nothing from another host")

    return exit_status(body)


if __name__ == "__main__":
    raise SystemExit(main())
