"""The downloader against a server on this machine that behaves badly."""

from __future__ import annotations

import hashlib
import json

import pytest

from reprolib.data.acquire import download as module
from reprolib.data.acquire.download import download
from reprolib.data.errors import DataError

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 4000
SIZE = len(CONTENT)


def digest(content=CONTENT, algorithm="sha256"):
    return hashlib.new(algorithm, content).hexdigest()


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_whole_file(server, tmp_path):
    target = download(server.url, tmp_path / "sub" / "set.zip", sha256=digest(), size=SIZE)
    assert target.read_bytes() == CONTENT and left(tmp_path / "sub") == ["set.zip"]
    download(server.url, target, sha256=digest())
    assert len(server.requests) == 1  # the second call found it


def test_a_lost_connection_goes_on_where_it_stopped(server, tmp_path):
    server.cuts = [300_000, 200_000]
    target = download(server.url, tmp_path / "set.zip", sha256=digest(), pause=0)
    assert target.read_bytes() == CONTENT and left(tmp_path) == ["set.zip"]
    assert server.requests == [None, "bytes=300000-", "bytes=500000-"]
    assert server.served["/set.zip"] == SIZE  # no byte twice


def test_a_later_call_goes_on(server, tmp_path):
    server.cuts = [300_000]
    with pytest.raises(DataError, match=r"not fetched after 1 attempts \(.*300000 of 1024004"):
        download(server.url, tmp_path / "set.zip", attempts=1)
    assert not (tmp_path / "set.zip").exists()
    assert download(server.url, tmp_path / "set.zip").read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=300000-" and server.served["/set.zip"] == SIZE


def test_a_stalled_server_is_left_and_every_byte_that_came_is_kept(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    server.stalls = [300_000]
    assert download(server.url, tmp_path / "set.zip", pause=0).read_bytes() == CONTENT
    assert "no byte for 0.1 s" in capsys.readouterr().out
    assert server.requests == [None, "bytes=300000-"] and server.served["/set.zip"] == SIZE


def test_a_trickle_is_as_good_as_nothing(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr(module, "SLOW_BYTES", 1000)
    monkeypatch.setattr(module, "HEAD_BYTES", 4)
    server.trickles = 1
    assert download(server.url, tmp_path / "set.zip", pause=0).read_bytes() == CONTENT
    assert " bytes in 0 s, at " in capsys.readouterr().out
    assert len(server.requests) == 2 and int(server.requests[1].removeprefix("bytes=").removesuffix("-")) >= 4


def test_a_redirect_to_another_host_is_followed_and_survived(server, tmp_path):
    server.leads_to = f"http://localhost:{server.server_port}/set.zip"
    server.cuts = [300_000]
    moved = f"{server.base}/moved.zip"
    assert download(moved, tmp_path / "set.zip", sha256=digest(), pause=0).read_bytes() == CONTENT
    assert server.requests == [None, None, "bytes=300000-", "bytes=300000-"]
    assert server.served["/set.zip"] == SIZE


def test_a_redirect_from_https_to_http_is_not_followed(tmp_path):
    request = module.urllib.request.Request("https://example.org/set.zip")
    with pytest.raises(DataError, match=r"leads from https to http://example\.org/other"):
        module._Redirects().redirect_request(request, None, 302, "Found", {}, "http://example.org/other.zip")


@pytest.mark.parametrize("change", ["content", "no ranges", "no etag"])
def test_it_starts_over_where_going_on_would_mix(server, tmp_path, change):
    server.cuts = [300_000]
    if change == "no etag":
        server.etag = ""
    with pytest.raises(DataError):
        download(server.url, tmp_path / "set.zip", attempts=1)
    if change == "content":
        server.content, server.etag = CONTENT[:4] + CONTENT[:3:-1], '"two"'
    server.ranges = change != "no ranges"
    assert download(server.url, tmp_path / "set.zip").read_bytes() == server.content


def test_a_checksum_lets_a_part_go_on_that_nothing_else_marks(server, tmp_path):
    server.etag, server.cuts = "", [300_000]
    assert download(server.url, tmp_path / "set.zip", md5=digest(algorithm="md5"), pause=0).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-"] and server.served["/set.zip"] == SIZE


def test_a_part_that_does_not_fit_is_found_by_the_checksum_and_fetched_anew(server, tmp_path, capsys):
    server.etag, server.cuts, server.content = "", [300_000], CONTENT[:4] + CONTENT[:3:-1]
    with pytest.raises(DataError):
        download(server.url, tmp_path / "set.zip", sha256=digest(), attempts=1)
    server.content = CONTENT
    assert download(server.url, tmp_path / "set.zip", sha256=digest(), pause=0).read_bytes() == CONTENT
    assert "do not fit together" in capsys.readouterr().out and server.requests[1:] == ["bytes=300000-", None]


def test_a_file_of_another_length_is_not_spliced(server, tmp_path):
    server.etag, server.cuts, server.content = "", [300_000], CONTENT + b"more"
    with pytest.raises(DataError):
        download(server.url, tmp_path / "set.zip", sha256=digest(), attempts=1)
    server.content = CONTENT
    assert download(server.url, tmp_path / "set.zip", sha256=digest(), pause=0).read_bytes() == CONTENT


def test_a_process_that_ended_before_the_last_step_fetches_nothing_again(server, tmp_path):
    server.cuts = [300_000]
    with pytest.raises(DataError):
        download(server.url, tmp_path / "set.zip", attempts=1)
    (tmp_path / "set.zip.part").write_bytes(CONTENT)
    assert download(server.url, tmp_path / "set.zip", sha256=digest()).read_bytes() == CONTENT
    assert len(server.requests) == 1 and left(tmp_path) == ["set.zip"]


def test_server_errors_are_retried(server, tmp_path, capsys):
    server.failures = 2
    assert download(server.url, tmp_path / "set.zip", pause=0).read_bytes() == CONTENT
    assert "503" in capsys.readouterr().out and server.served["/set.zip"] == SIZE


def test_what_advances_is_not_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ADVANCE", 100_000)
    server.cuts = [100_000] * 8
    assert download(server.url, tmp_path / "set.zip", attempts=2, pause=0).read_bytes() == CONTENT
    assert server.served["/set.zip"] == SIZE


def test_missing_is_not_retried(server, tmp_path):
    with pytest.raises(DataError, match=r"answers 404 .* place it at .*set\.zip"):
        download(f"{server.base}/missing.zip", tmp_path / "set.zip", pause=0)
    assert len(server.requests) == 1 and left(tmp_path) == []


def test_a_web_page_in_place_of_the_file_is_refused_and_harms_no_part(server, tmp_path):
    server.cuts = [300_000]
    with pytest.raises(DataError):
        download(server.url, tmp_path / "set.zip", attempts=1)
    with pytest.raises(DataError, match=r"page\.zip: a web page \(a login, a quota or an error\) in place of set\.zip"):
        download(f"{server.base}/page.zip", tmp_path / "set.zip", pause=0)
    assert download(server.url, tmp_path / "set.zip").read_bytes() == CONTENT
    assert server.served["/set.zip"] == SIZE


def test_the_next_mirror_is_asked_and_goes_on(server, tmp_path, capsys):
    server.cuts = [300_000]
    with pytest.raises(DataError):
        download(server.url, tmp_path / "set.zip", sha256=digest(), attempts=1)
    server.files["/mirror.zip"] = CONTENT
    mirrors = [f"{server.base}/missing.zip", f"{server.base}/page.zip", f"{server.base}/mirror.zip"]
    assert download(mirrors, tmp_path / "set.zip", sha256=digest(), pause=0).read_bytes() == CONTENT
    assert server.served["/set.zip"] + server.served["/mirror.zip"] == SIZE
    said = capsys.readouterr().out
    assert "404" in said and "a web page" in said


def test_without_a_checksum_another_mirror_starts_over(server, tmp_path):
    server.cuts = [300_000]
    with pytest.raises(DataError):
        download(server.url, tmp_path / "set.zip", attempts=1)
    server.files["/mirror.zip"] = CONTENT[:4] + CONTENT[:3:-1]
    target = download(f"{server.base}/mirror.zip", tmp_path / "set.zip", pause=0)
    assert target.read_bytes() == server.files["/mirror.zip"]


def test_offline_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"not fetched after 2 attempts .* place it at .*set\.zip"):
        download("http://127.0.0.1:9/set.zip", tmp_path / "set.zip", attempts=2, pause=0)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"sha256": "00"}, f"sha256 {digest()}, expected 00"),
        ({"md5": "00"}, f"md5 {digest(algorithm='md5')}, expected 00"),
        ({"size": 5}, f"has {SIZE} bytes, the published file 5"),
    ],
)
def test_a_wrong_file_never_gets_the_name(server, tmp_path, check, said):
    with pytest.raises(DataError, match=said):
        download(server.url, tmp_path / "set.zip", pause=0, **check)
    assert left(tmp_path) == [] and len(server.requests) == 1  # it would be as wrong the second time


def test_a_placed_file_is_checked_and_left_alone(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"other")
    with pytest.raises(DataError, match=r"expected .* move it away"):
        download("http://127.0.0.1:9/set.zip", tmp_path / "set.zip", sha256=digest())
    assert (tmp_path / "set.zip").read_bytes() == b"other"


def test_a_full_disk_is_noticed_first(server, tmp_path):
    server.length = 10**15
    with pytest.raises(DataError, match="make room"):
        download(server.url, tmp_path / "set.zip", pause=0)
    assert left(tmp_path) == []


def test_damaged_notes_on_a_part_mean_starting_over(server, tmp_path):
    server.cuts = [300_000]
    with pytest.raises(DataError):
        download(server.url, tmp_path / "set.zip", attempts=1)
    notes = tmp_path / "set.zip.part.version"
    assert json.loads(notes.read_text())["total"] == SIZE
    notes.write_text('"one"')
    assert download(server.url, tmp_path / "set.zip").read_bytes() == CONTENT


def test_only_http(tmp_path):
    with pytest.raises(DataError, match="only http and https"):
        download("file:///etc/passwd", tmp_path / "set.zip")


def test_a_weak_mark_is_no_proof_of_the_same_bytes(server, tmp_path):
    server.etag, server.cuts = 'W/"one"', [300_000]
    with pytest.raises(DataError):
        download(server.url, tmp_path / "set.zip", attempts=1)
    assert download(server.url, tmp_path / "set.zip").read_bytes() == CONTENT
    assert server.requests == [None, None]


def test_a_server_that_does_not_say_how_long_the_file_is(server, tmp_path):
    server.length = None
    assert download(server.url, tmp_path / "set.zip").read_bytes() == CONTENT


def test_notes_without_a_size_do_not_make_an_empty_part_whole(server, tmp_path):
    (tmp_path / "set.zip.part").touch()
    (tmp_path / "set.zip.part.version").write_text(json.dumps({"url": server.url, "mark": "", "total": 0}))
    assert download(server.url, tmp_path / "set.zip").read_bytes() == CONTENT
