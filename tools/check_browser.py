"""Say at once, before minutes of work, when the tests will miss their browser."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tools.project import ToolError, exit_status

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
ADVICE = (
    "no Chromium found, which the tests of the rendered pages drive. Install it: "
    "sudo apt-get install chromium   (macOS: brew install --cask chromium; "
    "or set ASK_CHROMIUM=/path/to/chromium, or leave those tests out: "
    "make test BROWSER=skip)"
)


def find_chromium() -> str | None:
    """The browser's path: ``ASK_CHROMIUM``, else the first known name on the PATH; None where there is none."""
    chosen = os.environ.get("ASK_CHROMIUM")
    if chosen:
        return chosen if Path(chosen).is_file() else None
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def require_chromium() -> None:
    """Raise with one line of advice when there is no browser and nobody opted out."""
    if os.environ.get("BROWSER") != "skip" and find_chromium() is None:
        raise ToolError(ADVICE)


if __name__ == "__main__":
    raise SystemExit(exit_status(require_chromium))
