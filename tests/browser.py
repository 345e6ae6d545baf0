"""A headless Chromium for the tests: where it is, and pages that remember what they asked for and complained about."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tools.check_browser import ADVICE, find_chromium

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium_path() -> str:
    """The browser to drive. Without one the test fails with the line that installs it, or skips if told to."""
    if os.environ.get("BROWSER") == "skip":
        pytest.skip("BROWSER=skip")
    found = find_chromium()
    if found is None:
        pytest.fail(ADVICE, pytrace=False)
    return found


@dataclass
class Visit:
    """A page and what happened in it.

    Attributes:
        page: Playwright's page.
        requests: Every address that was asked for.
        problems: Console errors and warnings, uncaught exceptions, and requests that failed.
    """

    page: Any
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def foreign(self, host: str = "") -> list[str]:
        """Requests to any other host; ``file:``, ``data:`` and ``blob:`` have none."""
        return [url for url in self.requests if urlsplit(url).netloc not in ("", host)]

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@contextmanager
def open_browser() -> Iterator[Any]:
    """A running browser, for several pages."""
    executable = chromium_path()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(
    url: str | Path, browser: Any = None, *, width: int = 1280, height: int = 900, dark: bool = False, **options: Any
) -> Iterator[Visit]:
    """Open a page in a fresh profile.

    Args:
        url: Address, or the path of a file.
        browser: From `open_browser`; one is started for this page alone if not given.
        width: The window's width in CSS pixels.
        height: The window's height.
        dark: Whether the reader prefers a dark scheme.
        **options: More for Playwright's ``new_context``, such as ``java_script_enabled`` or ``device_scale_factor``.
    """
    if browser is None:
        with (
            open_browser() as started,
            open_page(url, started, width=width, height=height, dark=dark, **options) as visit,
        ):
            yield visit
        return
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", **options
    )
    try:
        visit = Visit(context.new_page())
        visit.page.on("request", lambda request: visit.requests.append(request.url))
        visit.page.on("requestfailed", lambda request: visit.problems.append(f"failed: {request.url}"))
        visit.page.on("pageerror", lambda error: visit.problems.append(str(error)))
        visit.page.on("console", lambda message: _note(visit, message))
        visit.page.goto(url.resolve().as_uri() if isinstance(url, Path) else url)
        yield visit
    finally:
        context.close()


def _note(visit: Visit, message: Any) -> None:
    if message.type in ("error", "warning"):
        visit.problems.append(f"{message.type}: {message.text}")
