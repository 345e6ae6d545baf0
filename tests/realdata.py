"""Where the real files are; tests that need them carry ``@pytest.mark.realdata``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("ASK_REALDATA") or Path(__file__).resolve().parents[2] / "shared" / "realdata")


if os.environ.get("ASK_REALDATA") and not ROOT.is_dir():
    raise FileNotFoundError(
        f"ASK_REALDATA names {ROOT}, which is no folder. Unset it, or name the folder of real files."
    )


def realdata(*parts: str) -> Path:
    """A path below the real data; skips the test, and says why, where it is absent."""
    path = ROOT.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no real data at {path} (ASK_REALDATA names the folder)")
    return path
