"""Files from the network: resumed, verified, complete or absent.

Networks and data sets may not import each other; this file is the exception: it knows neither, and both use it.
"""

from __future__ import annotations

import errno
import http.client
import importlib.util
import lzma
import os
import re
import shutil
import struct
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ask_lib.errors import DownloadError
from ask_lib.files import sha256 as file_sha256

CHUNK = 1 << 18
RETRIES = 4
TIMEOUT = 30.0
WAIT = 1.0  # seconds before the first retry; doubled each time

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)  # some network disks
# What the standard library's readers are known to raise for damaged bytes; RuntimeError is also "encrypted" and "not
# supported". OSError without a number is bz2's and gzip's.
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError,
          LookupError, OverflowError, RuntimeError)  # fmt: skip

_one_thread = threading.Lock()


def download(
    url: str, path: str | Path, sha256: str | None = None, progress: bool = True, *, retries: int = RETRIES
) -> Path:
    """Fetch a file once; an existing one is kept (and verified, if there is a hash).

    What has arrived lies in ``PATH.part`` until it is complete, and is continued from there: after a broken connection
    at once, after a broken run the next time. The server's tag of the file lies beside it: a file that has changed
    since is fetched anew, and so is one without a tag, unless a hash will tell. A continued file whose hash differs is
    fetched once more from its beginning.

    Of several callers for one ``path``, threads or processes, the first downloads and the others wait for it (``flock``
    on ``PATH.lock``). Where there is no ``flock`` (Windows, some network disks), threads wait but processes don't know
    of each other: start one download at a time there.

    Args:
        url: http or https.
        path: Where the file goes; folders are made.
        sha256: The file's SHA-256 in hexadecimal, or its first digits (eight or more).
        progress: Show a progress bar.
        retries: How often a broken connection is taken up again.

    Returns:
        ``path``.

    Raises:
        DownloadError: If the server refuses, the disk is full, the address is not http(s), or the hash differs (then
            nothing is kept).
    """
    path = Path(path)
    wanted = _check_request(url, sha256)
    if _is_there(path, wanted):
        return path
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path, progress):
            if not _is_there(path, wanted):  # else another caller has fetched it meanwhile
                _fetch_verified(url, path, wanted, progress, retries)
    return path


def extract(archive: str | Path, folder: str | Path) -> Path:
    """Unpack a zip or tar archive; the folder appears complete or not at all.

    Args:
        archive: ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz``, ``.tar.xz`` or ``.tar.bz2``.
        folder: Must not exist yet, or be empty.

    Raises:
        DownloadError: If the archive is damaged, an entry points outside the folder (absolute, ``..``, links,
            devices), or the folder is not empty.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DownloadError(f"extract: {folder} exists and is not empty. Choose another folder, or remove it.")
    with _disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            _unpack(archive, temporary)
            temporary.chmod(0o755)
            if folder.exists():
                folder.rmdir()
            temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _check_request(url: str, sha256: str | None) -> str | None:
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"download: expected an address with http:// or https://, got {url!r}.")
    if sha256 is None:
        return None
    if not re.fullmatch(r"[0-9a-f]{8,64}", sha256.lower()):
        raise DownloadError(f"sha256: expected 8 to 64 hexadecimal digits, got {sha256!r}.")
    return sha256.lower()


def _is_there(path: Path, wanted: str | None) -> bool:
    if not path.is_file():
        return False
    if not _matches(path, wanted):
        raise DownloadError(
            f"{path} exists but its SHA-256 does not begin with {wanted}. Delete or move it, then retry."
        )
    return True


def _matches(path: Path, wanted: str | None) -> bool:
    return wanted is None or file_sha256(path).startswith(wanted)


@contextmanager
def _alone(path: Path, progress: bool) -> Iterator[None]:
    """One caller at a time for this path; the others wait here."""
    lock = path.with_name(path.name + ".lock")
    held = _lock_file(lock, progress)
    if held is None:
        with _one_thread:
            yield
        return
    import fcntl

    with held:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # while it is held, see _lock_file
            fcntl.flock(held, fcntl.LOCK_UN)  # closing alone would leave it to a process that was forked meanwhile


def _lock_file(lock: Path, progress: bool) -> IO[bytes] | None:
    """The lock file, held; None where the system or the disk has no such locks."""
    if importlib.util.find_spec("fcntl") is None:
        return None
    while True:
        file = lock.open("ab")
        try:
            _wait_for(file, lock, progress)
        except OSError as error:
            file.close()
            if error.errno not in NO_LOCKS:
                raise
            lock.unlink(missing_ok=True)
            return None
        if _lies_at(file, lock):
            return file
        file.close()  # who held it has removed it, and a lock on a removed file keeps nobody out: ask anew


def _lies_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _wait_for(file: IO[bytes], lock: Path, progress: bool) -> None:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if progress:
            from tqdm.auto import tqdm

            tqdm.write(f"{lock.stem}: another download of it is running; waiting for that.", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)


def _fetch_verified(url: str, path: Path, wanted: str | None, progress: bool, retries: int) -> None:
    part = path.with_name(path.name + ".part")
    if wanted is None and not _tag_file(part).is_file():
        part.unlink(missing_ok=True)
    for _ in range(2):
        continued = _fetch_with_retries(url, part, progress, retries)
        if _matches(part, wanted):
            _tag_file(part).unlink(missing_ok=True)
            part.replace(path)
            return
        got = file_sha256(part)[: max(8, len(wanted or ""))]
        part.unlink()
        _tag_file(part).unlink(missing_ok=True)
        if not continued:  # else the old beginning may be at fault, not the server
            break
    raise DownloadError(
        f"{url}: expected SHA-256 {wanted}, got {got}. The file at that address is not the one that was meant; "
        "nothing was kept."
    )


def _fetch_with_retries(url: str, part: Path, progress: bool, retries: int) -> bool:
    """Whether the last answer continued bytes that lay there before it."""
    for attempt in range(retries + 1):
        try:
            return _fetch(url, part, progress)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is longer than the file: it is another file's
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code != 429:
                raise DownloadError(
                    f"{url}: the server answered {error.code} {error.reason}. Check the address."
                ) from error
            problem: Exception = error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError) as error:
            problem = error
        if attempt < retries:
            time.sleep(WAIT * 2**attempt)
    kept = part.stat().st_size if part.is_file() else 0
    advice = f" {kept:,} bytes are kept in {part.name}: run it again to go on." if kept else " Is there a network?"
    raise DownloadError(f"{url}: given up after {retries + 1} attempts ({_reason(problem)}).{advice}") from problem


def _fetch(url: str, part: Path, progress: bool) -> bool:
    """One attempt, from where the part file ends; whether it went on from there."""
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "ask_lib"} | (_resume_headers(part, have) if have else {})
    with _network_errors():
        opened = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    with opened as answer:
        start = have if _continues(answer, have) else 0  # a server that ignores Range sends all of it again
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        _check_space(part, total, start)
        if not start:
            _write_tag(part, answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
        with part.open("ab" if start else "wb") as file:
            written = _copy(answer, file, start, total, progress, part.name.removesuffix(".part"))
    if total is not None and written < total:
        raise ConnectionError(f"the connection broke after {written:,} of {total:,} bytes")
    return start > 0


@contextmanager
def _network_errors() -> Iterator[None]:
    """Around the network alone, never the disk: both raise plain OSErrors (no route to host, TLS, time out)."""
    try:
        yield
    except (urllib.error.URLError, ConnectionError):
        raise
    except OSError as error:
        raise ConnectionError(error.strerror or str(error) or type(error).__name__) from error


def _tag_file(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _write_tag(part: Path, tag: str) -> None:
    if tag and not tag.startswith("W/"):  # a weak tag does not promise the same bytes
        _tag_file(part).write_text(tag, encoding="utf-8")
    else:
        _tag_file(part).unlink(missing_ok=True)


def _resume_headers(part: Path, have: int) -> dict[str, str]:
    tag = _tag_file(part).read_text(encoding="utf-8") if _tag_file(part).is_file() else ""
    return {"Range": f"bytes={have}-"} | ({"If-Range": tag} if tag else {})


def _continues(answer: Any, have: int) -> bool:
    if answer.status != 206:
        return False
    begins = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    if not begins or int(begins.group(1)) != have:
        raise ConnectionError("the server continued at another place than was asked")
    return True


def _check_space(part: Path, total: int | None, start: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - start > free:
        raise OSError(errno.ENOSPC, f"{total - start:,} bytes are needed, {free:,} are free")


def _copy(answer: Any, file: IO[bytes], start: int, total: int | None, progress: bool, name: str) -> int:
    from tqdm.auto import tqdm

    written = start
    with tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name, disable=not progress) as bar:
        while chunk := _read(answer):
            file.write(chunk)
            written += len(chunk)
            bar.update(len(chunk))
    return written


def _read(answer: Any) -> bytes:
    with _network_errors():
        chunk: bytes = answer.read(CHUNK)
    return chunk


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    return str(getattr(error, "reason", None) or error or type(error).__name__)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """What the disk refuses, as an error that says so."""
    try:
        yield
    except DownloadError:
        raise
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in FULL:
            why = f"no space is left on the disk: {why}. Free some space or choose another folder."
        elif error.errno in FORBIDDEN:
            why = f"the folder may not be written: {why}. Choose another folder."
        else:
            why = f"{why}. Check the path, or choose another folder."
        raise DownloadError(f"{path}: {why}") from error


def _unpack(archive: Path, folder: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder)
        elif archive.is_file() and tarfile.is_tarfile(archive):
            _unpack_tar(archive, folder)
        else:
            raise DownloadError(f"{archive}: expected a zip or tar archive. Is the download complete?")
    except DownloadError:
        raise
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's
        what = "can't be unpacked" if isinstance(error, RuntimeError) else "is damaged"
        raise DownloadError(f"{archive}: the archive {what} ({error}). Delete it and fetch it again.") from error


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            kind = entry.external_attr >> 16 & 0o170000
            _check_entry(archive, entry.filename, plain=kind in (0, 0o100000, 0o040000))
        opened.extractall(folder)


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
        for entry in members:
            _check_entry(archive, entry.name, plain=entry.isfile() or entry.isdir())
        # The filter "data" of Python 3.12 is not in every 3.11; owners and modes are dropped here.
        for entry in members:
            target = folder.joinpath(*_parts(entry.name))
            if entry.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            source = opened.extractfile(entry)
            if source is not None:
                with source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
        _check_end(opened)


def _check_end(opened: tarfile.TarFile) -> None:
    """Read on to the very end, after all files so that a compressed stream need not be rewound.

    A compressor's checksum comes last, and tarfile stops before it. It also takes a damaged header, other than the
    first, for the end; the true end is a block of zeros.
    """
    stream = opened.fileobj
    assert stream is not None
    stream.seek(opened.offset)
    block = stream.read(tarfile.BLOCKSIZE)
    while stream.read(CHUNK):
        pass
    if block != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")


def _parts(name: str) -> list[str]:
    return [part for part in PurePosixPath(name).parts if part != "."]


def _check_entry(archive: Path, name: str, *, plain: bool) -> None:
    unified = name.replace("\\", "/")
    outside = unified.startswith("/") or ".." in unified.split("/") or re.match(r"[A-Za-z]:", name) or "\0" in name
    if outside or not plain:
        why = "points outside the folder" if outside else "is a link or a device"
        raise DownloadError(f"{archive}: entry {name!r} {why}. Nothing was unpacked; don't trust this archive.")
