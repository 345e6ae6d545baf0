"""Files from the network: verified, whole or absent. `data` and `models` both use this file, which knows neither."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ask_lib.errors import DownloadError
from ask_lib.files import atomic_path
from ask_lib.files import sha256 as file_sha256


def download(url: str, path: str | Path, sha256: str | None = None, progress: bool = True) -> Path:
    """Fetch a file once, and give its path; an existing one is kept (and verified, if there is a hash).

    The file appears whole or not at all, and several callers at once do no harm.

    Args:
        url: http or https. Proxies are taken from the environment (``HTTPS_PROXY``).
        path: Where the file goes; folders are made.
        sha256: The file's SHA-256 in hexadecimal, or its first 8 digits or more; None verifies nothing.
        progress: Show a progress bar.

    Raises:
        DownloadError: If the file can't be fetched or written, or its hash differs (then nothing is kept). The message
            names the address and where to put the file by hand.
    """
    from pooch import HTTPDownloader
    from requests import RequestException

    path, wanted = Path(path), (sha256 or "").lower()
    if sha256 is not None and not re.fullmatch("[0-9a-f]{8,64}", wanted):
        raise DownloadError(f"download: expected 8 to 64 hexadecimal digits of a SHA-256, got {sha256!r}.")
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"download: expected an address with http:// or https://, got {url!r}.")
    fetch = HTTPDownloader(progressbar=progress, chunk_size=1 << 18, timeout=30)  # seconds without an answer
    try:
        if path.is_file():
            _verify(path, wanted, f"{path} exists and is another file, or damaged. Delete or move it, then retry")
        else:
            with atomic_path(path) as part:
                fetch(url, str(part), None)
                _verify(part, wanted, f"{url}: this is not the file that was meant; nothing was kept")
    except DownloadError:
        raise
    except (RequestException, ValueError) as error:  # ValueError: an address or an answer that can't be read
        raise DownloadError(
            f"{url}: not fetched ({_reason(error)}). Check the address and the network, or put the file at {path} "
            f"by hand: {curl_line(url, path)}"
        ) from error
    except OSError as error:
        raise DownloadError(
            f"{path}: cannot be written or read ({error.strerror or error}). Free some space there, or choose another "
            f"folder. It was to come from {url}"
        ) from error
    return path


def curl_line(url: str, path: str | Path) -> str:
    """A line for a shell that fetches a large file by hand, and goes on where it broke when it is run again."""
    return f"curl -fL -C - --create-dirs -o {shlex.quote(str(path))} {shlex.quote(url)}"


def _verify(path: Path, wanted: str, otherwise: str) -> None:
    if wanted and not (got := file_sha256(path)).startswith(wanted):
        raise DownloadError(f"{otherwise} (SHA-256: expected {wanted}, got {got[: len(wanted)]}).")


def _reason(error: BaseException) -> str:
    """Its kind, and what began it: of "max retries exceeded" the refused connection."""
    kind = type(error).__name__
    while error.__context__ is not None:
        error = error.__context__
    return f"{kind}: {error}"
