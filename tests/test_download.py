from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import random
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ask_lib.data import download as subject
from ask_lib.data.download import download, extract
from ask_lib.errors import DownloadError

BODY = bytes(range(256)) * 4000  # 1,024,000 bytes
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    body = BODY
    ranges = True
    tag: str | None = '"one"'
    breaks = 0  # how many answers stop half way
    gate: threading.Event | None = None  # half way, wait for this
    errors: list[int]
    asked: list[str | None]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.errors, self.asked = [], []

    def handle_error(self, request: object, client_address: object) -> None:
        """The client hangs up on purpose in some tests; that is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        s = self.server
        wanted = self.headers.get("Range")
        s.asked.append(wanted)
        if s.errors:
            self.send_error(s.errors.pop(0))
            return
        same = self.headers.get("If-Range") in (None, s.tag)
        start = int(wanted[6:-1]) if wanted and s.ranges and same else 0
        if start >= len(s.body):
            self.send_error(416)
            return
        rest = s.body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(s.body) - 1}/{len(s.body)}")
        if s.tag:
            self.send_header("ETag", s.tag)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if s.breaks:
            s.breaks -= 1
            rest = rest[: len(rest) // 2]
        if s.gate:
            self.wfile.write(rest[: len(rest) // 2])
            s.gate.wait(60)
            rest = rest[len(rest) // 2 :]
        self.wfile.write(rest)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(subject, "WAIT", 0.001)
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_arrives_whole_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    path = download(server.url, tmp_path / "new" / "data.bin", DIGEST)
    assert path.read_bytes() == BODY and left_in(path.parent) == ["data.bin"]
    download(server.url, path, DIGEST[:8].upper(), progress=False)
    assert server.asked == [None]


@pytest.mark.parametrize("sha256", [DIGEST, None])
def test_a_broken_connection_is_taken_up_where_it_broke(server: Server, tmp_path: Path, sha256: str | None) -> None:
    server.breaks = 2
    download(server.url, tmp_path / "d", sha256, progress=False)
    assert (tmp_path / "d").read_bytes() == BODY and left_in(tmp_path) == ["d"]
    assert server.asked == [None, "bytes=512000-", "bytes=768000-"]


def test_a_broken_run_is_taken_up_by_the_next(server: Server, tmp_path: Path) -> None:
    server.breaks = 1
    with pytest.raises(DownloadError, match=r"given up after 1 attempts .*512,000 bytes are kept in d\.part"):
        download(server.url, tmp_path / "d", progress=False, retries=0)
    assert left_in(tmp_path) == ["d.part", "d.part.tag"]
    download(server.url, tmp_path / "d", progress=False)
    assert server.asked == [None, "bytes=512000-"]
    assert (tmp_path / "d").read_bytes() == BODY and left_in(tmp_path) == ["d"]


def test_a_file_that_changed_since_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.breaks = 1
    with pytest.raises(DownloadError):
        download(server.url, tmp_path / "d", progress=False, retries=0)
    server.body, server.tag = BODY[::-1], '"two"'
    download(server.url, tmp_path / "d", progress=False)
    assert (tmp_path / "d").read_bytes() == BODY[::-1]


def test_a_part_of_unknown_origin_is_not_trusted_without_a_hash(server: Server, tmp_path: Path) -> None:
    (tmp_path / "d.part").write_bytes(b"something else")
    download(server.url, tmp_path / "d", progress=False)
    assert (tmp_path / "d").read_bytes() == BODY and server.asked == [None]


def test_a_server_that_ignores_ranges_and_one_that_has_no_tag(server: Server, tmp_path: Path) -> None:
    server.ranges, server.tag, server.breaks = False, None, 1
    download(server.url, tmp_path / "d", DIGEST, progress=False)
    assert (tmp_path / "d").read_bytes() == BODY and server.asked == [None, "bytes=512000-"]


def test_a_part_longer_than_the_file_is_dropped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "d.part").write_bytes(BODY + b"more")
    download(server.url, tmp_path / "d", DIGEST, progress=False)
    assert (tmp_path / "d").read_bytes() == BODY


def test_a_wrong_hash_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"expected SHA-256 {'0' * 64}, got {DIGEST}"):
        download(server.url, tmp_path / "d", "0" * 64, progress=False)
    assert left_in(tmp_path) == []
    (tmp_path / "d").write_bytes(b"older")
    with pytest.raises(DownloadError, match="exists but its SHA-256"):
        download(server.url, tmp_path / "d", DIGEST, progress=False)


@pytest.mark.parametrize("tag", ["stale", None])
def test_a_stale_part_is_not_the_servers_fault(server: Server, tmp_path: Path, tag: str | None) -> None:
    (tmp_path / "d.part").write_bytes(b"another file's beginning")
    if tag:
        (tmp_path / "d.part.tag").write_text('"one"')
    download(server.url, tmp_path / "d", DIGEST, progress=False)
    assert (tmp_path / "d").read_bytes() == BODY and left_in(tmp_path) == ["d"]
    assert server.asked == ["bytes=24-", None]


def test_a_stale_part_and_a_wrong_hash_end(server: Server, tmp_path: Path) -> None:
    (tmp_path / "d.part").write_bytes(b"another file's beginning")
    with pytest.raises(DownloadError, match="not the one that was meant"):
        download(server.url, tmp_path / "d", "0" * 64, progress=False)
    assert server.asked == ["bytes=24-", None] and left_in(tmp_path) == []


# ---- several callers


@pytest.mark.parametrize("sha256", [DIGEST, None])
@pytest.mark.parametrize("locks", ["flock", "a disk without", "a system without"])
def test_threads_wait_for_one_download(
    server: Server, tmp_path: Path, sha256: str | None, locks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if locks == "a disk without":
        monkeypatch.setattr(fcntl, "flock", refuse)
    elif locks == "a system without":
        monkeypatch.setattr(subject.importlib.util, "find_spec", lambda name: None)
    for round_ in range(5):
        path = tmp_path / f"{round_}"
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(download, server.url, path, sha256, progress=False) for _ in range(8)]
        assert [job.result() for job in jobs] == [path] * 8 and path.read_bytes() == BODY
    assert server.asked == [None] * 5 and left_in(tmp_path) == ["0", "1", "2", "3", "4"]


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_process_waits_for_another_ones_download(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.gate = threading.Event()
    code = "import sys; from ask_lib.data.download import download; download(*sys.argv[1:], progress=False)"
    with subprocess.Popen([sys.executable, "-c", code, server.url, str(tmp_path / "d")]) as other:
        until(lambda: len(server.asked) == 1)
        said = ""
        with ThreadPoolExecutor(1) as pool:
            mine = pool.submit(download, server.url, tmp_path / "d")
            end = time.monotonic() + 10
            while "waiting" not in said and time.monotonic() < end:
                time.sleep(0.01)
                said += capfd.readouterr().err
            server.gate.set()
            assert mine.result() == tmp_path / "d"
        assert other.wait() == 0
    assert "d: another download of it is running" in said
    assert server.asked == [None] and (tmp_path / "d").read_bytes() == BODY and left_in(tmp_path) == ["d"]


def test_a_lock_that_a_killed_process_left_keeps_nobody_out(server: Server, tmp_path: Path) -> None:
    (tmp_path / "d.lock").write_bytes(b"")
    download(server.url, tmp_path / "d", progress=False)
    assert left_in(tmp_path) == ["d"]


# ---- refusals


def test_404_is_not_tried_again_and_503_is(server: Server, tmp_path: Path) -> None:
    server.errors = [404]
    with pytest.raises(DownloadError, match="404 Not Found"):
        download(server.url, tmp_path / "d", progress=False)
    assert len(server.asked) == 1 and left_in(tmp_path) == []
    server.errors = [503, 429]
    download(server.url, tmp_path / "d", progress=False)
    assert len(server.asked) == 4
    server.errors = [500] * 9
    with pytest.raises(DownloadError, match=r"given up after 2 attempts \(500"):
        download(server.url, tmp_path / "e", progress=False, retries=1)


def test_no_server_no_space_no_address(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "WAIT", 0.001)
    with pytest.raises(DownloadError, match=r"refused.*network"):
        download("http://127.0.0.1:9/x", tmp_path / "d", progress=False, retries=1)
    with pytest.raises(DownloadError, match="http://"):
        download("file:///etc/passwd", tmp_path / "d")
    with pytest.raises(DownloadError, match="hexadecimal"):
        download(server.url, tmp_path / "d", "xyz")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(free=10))
    with pytest.raises(DownloadError, match=r"no space is left.*1,024,000 bytes are needed, 10 are free.* Free some"):
        download(server.url, tmp_path / "d", progress=False)


@pytest.mark.parametrize("where", ["asking", "reading"])
def test_a_network_that_fails_is_tried_again_and_not_called_a_full_disk(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Not every such error is a ConnectionError, and urllib wraps only those of connecting."""

    def fail(*args: object, **kwargs: object) -> bytes:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    if where == "asking":
        monkeypatch.setattr(subject.urllib.request, "urlopen", fail)
    else:
        monkeypatch.setattr(subject.http.client.HTTPResponse, "read", fail)
    with pytest.raises(DownloadError, match=r"given up after 2 attempts \(No route to host\)") as caught:
        download(server.url, tmp_path / "d", progress=False, retries=1)
    assert "space" not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, r"no space is left.*Free some space"),
        (errno.EDQUOT, r"no space is left.*Free some space"),
        (errno.EROFS, r"may not be written.*Choose another folder"),
        (errno.EIO, r"Input/output error\. Check the path"),
    ],
)
def test_the_disk_gets_its_own_advice(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def fail(*args: object) -> None:
        raise OSError(number, subject.os.strerror(number))

    monkeypatch.setattr(subject, "_copy", fail)
    with pytest.raises(DownloadError, match=advice) as caught:
        download(server.url, tmp_path / "d", progress=False)
    assert ("space" in str(caught.value)) == (number in (errno.ENOSPC, errno.EDQUOT))


# ---- archives


def make_tar(path: Path, *entries: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                archive.addfile(info, io.BytesIO(entry[1]))
    return path


def make_zip(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_archives_unpack(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "a.tar.gz", ("./one/two.txt", b"2"), ("three.txt", b"3"))
    assert (extract(tar, tmp_path / "tar") / "one" / "two.txt").read_bytes() == b"2"
    made = make_zip(tmp_path / "a.zip", **{"one/two.txt": b"2"})
    (tmp_path / "zip").mkdir()
    assert (extract(made, tmp_path / "zip") / "one" / "two.txt").read_bytes() == b"2"
    with pytest.raises(DownloadError, match="not empty"):
        extract(made, tmp_path / "zip")
    assert left_in(tmp_path) == ["a.tar.gz", "a.zip", "tar", "zip"]


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (("../out.txt", b"x"), "outside"),
        (("/tmp/out.txt", b"x"), "outside"),
        (("a/../../out.txt", b"x"), "outside"),
        (("..\\out.txt", b"x"), "outside"),
        (link("a", "/etc", tarfile.SYMTYPE), "link"),
        (link("a", "../b", tarfile.LNKTYPE), "link"),
        (link("fifo", "", tarfile.FIFOTYPE), "device"),
    ],
)
def test_a_tar_that_escapes_is_refused_before_anything_is_written(
    entry: tarfile.TarInfo | tuple[str, bytes], why: str, tmp_path: Path
) -> None:
    archive = make_tar(tmp_path / "a.tgz", ("good.txt", b"1"), entry)
    with pytest.raises(DownloadError, match=why):
        extract(archive, tmp_path / "into")
    assert left_in(tmp_path) == ["a.tgz"]


def test_a_zip_that_escapes_is_refused(tmp_path: Path) -> None:
    for i, name in enumerate(["../out", "/out", "C:/out"]):
        with pytest.raises(DownloadError, match="outside"):
            extract(make_zip(tmp_path / f"{i}.zip", **{name: b"x"}), tmp_path / "into")
    symbolic = zipfile.ZipInfo("a")
    symbolic.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr(symbolic, "/etc")
    with pytest.raises(DownloadError, match="link"):
        extract(tmp_path / "s.zip", tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_damaged_archives_leave_nothing(tmp_path: Path) -> None:
    whole = make_tar(tmp_path / "a.tgz", ("big", bytes(range(256)) * 1000)).read_bytes()
    (tmp_path / "half.tgz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.zip").write_text("no archive")
    for name in ("half.tgz", "text.zip", "absent.zip"):
        with pytest.raises(DownloadError, match="archive"):
            extract(tmp_path / name, tmp_path / "into")
    assert left_in(tmp_path) == ["a.tgz", "half.tgz", "text.zip"]


SUFFIXES = {"tgz": "w:gz", "txz": "w:xz", "tbz2": "w:bz2", "tar": "w:"}


def packed(suffix: str, text: bytes = b" ".join(b"%d" % (i * i) for i in range(300))) -> bytes:
    """Two files, of which nearly every byte counts: texts that compress a little."""
    out = io.BytesIO()
    if suffix == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
            for name in "ab":
                made.writestr(name, text)
    else:
        with tarfile.open(fileobj=out, mode=SUFFIXES[suffix]) as archive:  # type: ignore[call-overload]
            for name in "ab":
                info = tarfile.TarInfo(name)
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text))
    return out.getvalue()


@pytest.mark.parametrize("suffix", ["tgz", "txz", "tbz2"])
def test_one_flipped_byte_of_a_compressed_tar_is_noticed(suffix: str, tmp_path: Path) -> None:
    whole = packed(suffix)
    expected = {p.name: p.read_bytes() for p in extract(write(tmp_path / "w", whole), tmp_path / "whole").iterdir()}
    accepted = []
    for i in range(0, len(whole), max(1, len(whole) // 150)):
        damaged = write(tmp_path / "damaged", whole[:i] + bytes([whole[i] ^ 0x10]) + whole[i + 1 :])
        try:
            into = extract(damaged, tmp_path / f"{i}")
        except DownloadError as error:
            assert "archive" in str(error) and not (tmp_path / f"{i}").exists()
        else:  # a few bytes say nothing about the files: gzip's time, bzip2's unused code tables
            assert {p.name: p.read_bytes() for p in into.iterdir()} == expected
            accepted.append(i)
    assert len(accepted) < 15


def test_the_checksum_of_a_gzip_is_read(tmp_path: Path) -> None:
    whole = bytearray(packed("tgz"))
    whole[-6] ^= 1  # the last eight bytes are checksum and length
    with pytest.raises(DownloadError, match=r"is damaged \(CRC check failed.*Delete it and fetch it again"):
        extract(write(tmp_path / "a.tgz", bytes(whole)), tmp_path / "into")


@pytest.mark.parametrize("suffix", ["tgz", "txz", "tbz2"])
def test_damage_far_behind_the_first_header_is_damage(suffix: str, tmp_path: Path) -> None:
    """Tarfile turns the decompressors' errors into its own at the first header only; bz2's is an OSError."""
    whole = bytearray(packed(suffix, random.Random(0).randbytes(1_500_000)))
    for i in (len(whole) // 3, len(whole) // 2, len(whole) * 3 // 4):
        whole[i] ^= 0xFF
        with pytest.raises(DownloadError, match=r"the archive is damaged .*Delete it and fetch it again"):
            extract(write(tmp_path / "a", bytes(whole)), tmp_path / "into")
        whole[i] ^= 0xFF
    assert left_in(tmp_path) == ["a"]


def test_a_damaged_header_does_not_end_a_tar(tmp_path: Path) -> None:
    """Tarfile alone would leave out the second file in silence."""
    whole = bytearray(packed("tar"))
    whole[whole.index(b"b" + bytes(99))] = ord("x")
    for content in (bytes(whole), packed("tar")[: packed("tar").index(b"b" + bytes(99))]):
        with pytest.raises(DownloadError, match="its end is missing"):
            extract(write(tmp_path / "a.tar", content), tmp_path / "into")


@pytest.mark.parametrize("suffix", ["zip", "tgz", "txz", "tbz2", "tar"])
def test_a_damaged_archive_raises_nothing_else(suffix: str, tmp_path: Path) -> None:
    whole = packed(suffix)
    for i in range(0, len(whole), max(1, len(whole) // 100)):
        for content in (whole[:i], whole[:i] + b"\xff" + whole[i + 1 :]):
            try:
                extract(write(tmp_path / "damaged", content), tmp_path / "into")
            except DownloadError as error:
                assert "space" not in str(error)
            shutil.rmtree(tmp_path / "into", ignore_errors=True)
    assert left_in(tmp_path) == ["damaged"]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
