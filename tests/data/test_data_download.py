"""The downloader against a server on this machine that behaves badly."""

from __future__ import annotations

import hashlib
import http.server
import threading

import pytest

from reprolib.data.download import download
from reprolib.data.errors import DataError

CONTENT = bytes(range(256)) * 4000


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(self.headers.get("Range"))
        if self.path == "/missing":
            self.send_error(404)
            return
        if server.failures:
            server.failures -= 1
            self.send_error(503)
            return
        begin, status = 0, 200
        wanted = self.headers.get("Range")
        if wanted and server.ranges and self.headers.get("If-Range") == server.etag:
            begin, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
        body = server.content[begin:]
        self.send_response(status)
        self.send_header("Content-Length", str(server.length or len(body)))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        if server.cuts:
            body = body[: server.cuts.pop(0)]
        self.wfile.write(body)


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.etag, server.ranges = CONTENT, '"one"', True
    server.failures, server.cuts, server.requests, server.length = 0, [], [], 0
    server.url = f"http://127.0.0.1:{server.server_port}/set.zip"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def digest(content=CONTENT):
    return hashlib.sha256(content).hexdigest()


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_whole_file(server, tmp_path):
    target = download(server.url, tmp_path / "sub" / "set.zip", sha256=digest(), size=len(CONTENT))
    assert target.read_bytes() == CONTENT and left(tmp_path / "sub") == ["set.zip"]
    download(server.url, target, sha256=digest())
    assert len(server.requests) == 1  # the second call found it


def test_a_lost_connection_goes_on_where_it_stopped(server, tmp_path):
    server.cuts = [300_000, 200_000]
    target = download(server.url, tmp_path / "set.zip", sha256=digest(), pause=0)
    assert target.read_bytes() == CONTENT and left(tmp_path) == ["set.zip"]
    assert server.requests == [None, "bytes=300000-", "bytes=500000-"]


def test_a_later_call_goes_on(server, tmp_path):
    server.cuts = [300_000]
    with pytest.raises(DataError, match=r"not fetched after 1 attempts \(.*300000 of 1024000"):
        download(server.url, tmp_path / "set.zip", attempts=1)
    assert not (tmp_path / "set.zip").exists()
    assert download(server.url, tmp_path / "set.zip").read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=300000-"


@pytest.mark.parametrize("change", ["content", "no ranges", "no etag"])
def test_it_starts_over_where_going_on_would_mix(server, tmp_path, change):
    server.cuts = [300_000]
    if change == "no etag":
        server.etag = ""
    with pytest.raises(DataError):
        download(server.url, tmp_path / "set.zip", attempts=1)
    if change == "content":
        server.content, server.etag = CONTENT[::-1], '"two"'
    server.ranges = change != "no ranges"
    assert download(server.url, tmp_path / "set.zip").read_bytes() == server.content


def test_server_errors_are_retried(server, tmp_path, capsys):
    server.failures = 2
    assert download(server.url, tmp_path / "set.zip", pause=0).read_bytes() == CONTENT
    assert "503" in capsys.readouterr().out


def test_missing_is_not_retried(server, tmp_path):
    url = server.url.replace("set.zip", "missing")
    with pytest.raises(DataError, match=r"answers 404 .* place it at .*set\.zip"):
        download(url, tmp_path / "set.zip", pause=0)
    assert len(server.requests) == 1


def test_offline_says_what_to_do(server, tmp_path):
    with pytest.raises(DataError, match=r"not fetched after 2 attempts .* place it at .*set\.zip"):
        download("http://127.0.0.1:9/set.zip", tmp_path / "set.zip", attempts=2, pause=0)


def test_wrong_checksum_is_removed(server, tmp_path):
    with pytest.raises(DataError, match=f"sha256 {digest()}, expected 00"):
        download(server.url, tmp_path / "set.zip", sha256="00")
    assert [name for name in left(tmp_path) if "version" not in name] == []
    with pytest.raises(DataError, match=r"1024000 bytes, .* has 5"):
        download(server.url, tmp_path / "set.zip", size=5)


def test_a_placed_file_is_checked(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"other")
    with pytest.raises(DataError, match="expected"):
        download("http://127.0.0.1:9/set.zip", tmp_path / "set.zip", sha256=digest())


def test_a_full_disk_is_noticed_first(server, tmp_path):
    server.length = 10**15
    with pytest.raises(DataError, match="make room"):
        download(server.url, tmp_path / "set.zip", pause=0)


def test_only_http(tmp_path):
    with pytest.raises(DataError, match="only http and https"):
        download("file:///etc/passwd", tmp_path / "set.zip")
