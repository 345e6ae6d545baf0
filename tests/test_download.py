from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ask_lib.data.download import curl_line, download
from ask_lib.errors import DownloadError

BODY = bytes(range(256)) * 4000  # 1,024,000 bytes
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    breaks = False  # whether an answer stops half way
    length: str = str(len(BODY))
    error = 0
    asked: list[str | None]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.server.error:
            self.send_error(self.server.error)
            return
        start = int(wanted[6:-1]) if wanted else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
            self.send_header("Content-Length", str(len(BODY) - start))
        else:
            self.send_header("Content-Length", self.server.length)
        self.end_headers()
        self.wfile.write(BODY[start : len(BODY) // 2] if self.server.breaks else BODY[start:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_arrives_whole_and_is_not_fetched_twice(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = download(server.url, tmp_path / "new" / "data.bin", DIGEST)
    assert path.read_bytes() == BODY and left_in(path.parent) == ["data.bin"]
    assert "100%" in capfd.readouterr().err
    download(server.url, path, DIGEST[:8].upper(), progress=False)
    assert len(server.asked) == 1 and capfd.readouterr().err == ""


def test_another_file_is_neither_kept_nor_overwritten(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=rf"not the file that was meant.*expected {'0' * 64}, got {DIGEST}"):
        download(server.url, tmp_path / "d", "0" * 64, progress=False)
    assert left_in(tmp_path) == []
    (tmp_path / "d").write_bytes(b"older")
    with pytest.raises(DownloadError, match=r"d exists and is another file.*Delete or move it"):
        download(server.url, tmp_path / "d", DIGEST[:8], progress=False)
    assert (tmp_path / "d").read_bytes() == b"older"


@pytest.mark.parametrize("fault", ["breaks", "404", "503", "no number"])
def test_what_a_server_does_wrong_is_one_error_with_a_way_out(server: Server, tmp_path: Path, fault: str) -> None:
    server.breaks = fault == "breaks"
    server.error = int(fault) if fault.isdigit() else 0
    server.length = "x" if fault == "no number" else server.length
    path = tmp_path / "d"
    with pytest.raises(DownloadError) as caught:
        download(server.url, path, progress=False)
    text = str(caught.value)
    assert text.startswith(f"{server.url}: not fetched (") and text.endswith(curl_line(server.url, path))
    assert f"put the file at {path} by hand" in text and (not server.error or fault in text)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9/x", "Connection refused"),
        ("http://no-such-host.invalid/x", "not fetched"),
        ("http://127.0.0.1:99999/x", "not fetched"),
        ("http://", "not fetched"),
        ("file:///etc/passwd", "http:// or https://"),
        ("data.bin", "http:// or https://"),
    ],
)
def test_no_network_and_no_address(server: Server, url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=message):
        download(url, tmp_path / "d", progress=False)
    assert left_in(tmp_path) == []


def test_a_proxy_that_is_not_there(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(DownloadError, match=r"ProxyError.*Check the address and the network"):
        download(server.url, tmp_path / "d", progress=False)


def test_a_place_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match=r"file/d: cannot be written or read \(.*choose another folder"):
        download(server.url, tmp_path / "file" / "d", progress=False)


def test_several_callers_at_once_do_no_harm(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(download, server.url, tmp_path / "d", DIGEST, progress=False) for _ in range(8)]
    assert {job.result().read_bytes() for job in jobs} == {BODY} and left_in(tmp_path) == ["d"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_line_for_the_shell_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "a folder" / "it's.bin"
    server.breaks = True
    assert subprocess.run(["sh", "-c", curl_line(server.url, path)], capture_output=True, check=False).returncode
    assert path.stat().st_size == len(BODY) // 2
    server.breaks = False
    subprocess.run(["sh", "-c", curl_line(server.url, path)], capture_output=True, check=True)
    assert path.read_bytes() == BODY and server.asked == [None, f"bytes={len(BODY) // 2}-"]
