"""Published files of a set: given, found or fetched, verified or trusted at first use; Google Drive."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest

from reprolib.data.acquire import checksums, drive
from reprolib.data.acquire.fetch import gather, given_files
from reprolib.data.card import Card, File
from reprolib.data.errors import DataError

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def card_of(*files: File, **fields) -> Card:
    about = {"title": "t", "licence": "l", "terms": "t", "size": "s", "citation": "c", "how_to": "Log in, then fetch."}
    return Card(name="made", files=files, **about | fields)


@pytest.fixture
def card(server):
    server.files |= {"/a.zip": CONTENT, "/b.tar.gz": b"\x1f\x8b" + CONTENT}
    return card_of(
        File(name="a.zip", url=f"{server.base}/a.zip", sha256=SHA256, bytes=len(CONTENT)),
        File(name="b.tar.gz", url=f"{server.base}/b.tar.gz", about_bytes=len(CONTENT)),
    )


def test_fetched_once_and_what_has_no_checksum_is_noted(server, card, tmp_path, capsys):
    for _ in range(2):
        paths = gather(card, tmp_path, given={})
    assert paths == {"a.zip": tmp_path / "a.zip", "b.tar.gz": tmp_path / "b.tar.gz"}
    assert len(server.requests) == 2
    noted = json.loads((tmp_path / checksums.LOCK).read_text())
    assert noted == {
        "b.tar.gz": {
            "bytes": len(CONTENT) + 2,
            "sha256": hashlib.sha256(b"\x1f\x8b" + CONTENT).hexdigest(),
        }
    }
    assert capsys.readouterr().out.count("b.tar.gz: no checksum is published, so this copy is unverified") == 1


def test_what_was_trusted_at_first_use_must_stay_the_same(server, card, tmp_path):
    gather(card, tmp_path, given={})
    (tmp_path / "b.tar.gz").write_bytes(b"\x1f\x8bother")
    with pytest.raises(DataError, match=r"was seen first .*checksums\.json.* remove 'b\.tar\.gz' from"):
        gather(card, tmp_path, given={})
    assert (tmp_path / "b.tar.gz").read_bytes() == b"\x1f\x8bother"
    (tmp_path / checksums.LOCK).write_text("no notes")
    with pytest.raises(DataError, match="restore it, or remove it"):
        gather(card, tmp_path, given={})
    (tmp_path / checksums.LOCK).unlink()
    gather(card, tmp_path, given={})


def test_a_swap_of_equal_size_is_noticed_too(server, card, tmp_path):
    gather(card, tmp_path, given={})
    (tmp_path / "b.tar.gz").write_bytes(b"\x1f\x8b" + CONTENT[:-1] + b"x")
    with pytest.raises(DataError, match="was seen first"):
        gather(card, tmp_path, given={})


def test_a_given_file_is_checked_where_it_is_and_not_fetched(server, card, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "a.zip").write_bytes(CONTENT)
    paths = gather(card, tmp_path / "kept", given=given_files(card, [str(mine / "a.zip")]))
    assert paths["a.zip"] == mine / "a.zip" and len(server.requests) == 1
    (mine / "a.zip").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(DataError, match=r"mine/a\.zip: sha256 .* not the published a\.zip.*--from-dir"):
        gather(card, tmp_path / "kept", given=given_files(card, str(mine)))
    (mine / "a.zip").write_bytes(b"<html>log in</html>")
    with pytest.raises(DataError, match="a web page"):
        gather(card, tmp_path / "kept", given=given_files(card, str(mine)))


def test_a_given_archive_whose_contents_are_checked_may_be_another_one(card, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 of the same files")
    checked = replace(card, files=(replace(card.files[0], contents_checked=True),))
    given = given_files(checked, str(tmp_path / "a.zip"))
    assert gather(checked, tmp_path / "kept", given=given) == {"a.zip": tmp_path / "a.zip"}
    (tmp_path / "a.zip").write_bytes(b"Rar!\x1a\x07")
    with pytest.raises(DataError, match="a RAR archive"):
        gather(checked, tmp_path / "kept", given=given)


def test_a_given_url_is_held_to_the_same_checksum(server, card, tmp_path):
    server.files["/elsewhere.zip"] = CONTENT
    given = given_files(card, [f"{server.base}/elsewhere.zip"])
    assert gather(card, tmp_path, given=given, files=card.files[:1])["a.zip"].read_bytes() == CONTENT
    assert server.served["/elsewhere.zip"] == len(CONTENT) and not server.served["/a.zip"]


def test_given_files_are_told_apart(card, tmp_path):
    for name in ("A.ZIP", "other.zip", "b.tar.gz", "x.rar"):
        (tmp_path / name).touch()
    assert given_files(card, str(tmp_path / "A.ZIP")) == {"a.zip": str(tmp_path / "A.ZIP")}
    assert given_files(card, [str(tmp_path / "other.zip")]) == {"a.zip": str(tmp_path / "other.zip")}
    assert given_files(card, str(tmp_path)) == {"b.tar.gz": str(tmp_path / "b.tar.gz")}
    assert given_files(card, None) == {}
    for places, said in (
        ([str(tmp_path / "x.rar")], "which file is it"),
        ([str(tmp_path / "none.zip")], r"none\.zip: no such archive; expected is a\.zip, b\.tar\.gz"),
        ([str(tmp_path / "A.ZIP"), str(tmp_path / "other.zip")], "which file is it"),
        ([str(tmp_path / "A.ZIP"), "http://example.org/a.zip"], "both are"),
    ):
        with pytest.raises(DataError, match=said):
            given_files(card, places)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is in this folder"):
        given_files(card, str(tmp_path / "empty"))


def test_what_cannot_be_fetched_is_asked_for_before_anything_else(server, card, tmp_path):
    locked = replace(card, files=(*card.files, File(name="secret.zip", md5="0" * 32)))
    with pytest.raises(
        DataError, match=r"secret\.zip cannot be fetched for you\. Log in, then fetch\. Files placed in"
    ):
        gather(locked, tmp_path, given={})
    assert server.requests == []


def test_room_for_everything_is_asked_before_a_byte_is_fetched(server, card, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    big = replace(card, unpacked_bytes=3_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5_000_000))
    with pytest.raises(DataError, match=r"0\.0 GB to fetch and what they unpack to need about \d+ MB in .* make room"):
        gather(replace(big, unpacked_bytes=3_000_000), tmp_path, given={})
    assert server.requests == []
    (tmp_path / "b.tar.gz.part").write_bytes(b"0" * 500_000)  # what is here already is not asked for again
    gather(big, tmp_path, given={})


def make_gdown(monkeypatch, behaviour):
    """A made gdown whose `download` is `behaviour(output)`."""
    exceptions = types.ModuleType("gdown.exceptions")
    exceptions.DownloadError = type("DownloadError", (Exception,), {})
    gdown = types.ModuleType("gdown")
    calls = []

    def download(*, id, output, progress, **options):
        calls.append((id, options))
        progress(0, 10)
        behaviour(output, exceptions)

    gdown.download = download
    monkeypatch.setitem(sys.modules, "gdown", gdown)
    monkeypatch.setitem(sys.modules, "gdown.exceptions", exceptions)
    return calls


def test_drive_gives_the_file(tmp_path, monkeypatch, capsys):
    calls = make_gdown(monkeypatch, lambda output, _: Path(output).write_bytes(CONTENT))
    card = card_of(File(name="a.zip", drive="ID", about_bytes=1))
    assert gather(card, tmp_path, given={})["a.zip"].read_bytes() == CONTENT
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.zip", checksums.LOCK]
    assert calls[0][0] == "ID" and calls[0][1]["resume"] and not calls[0][1]["use_cookies"]
    gather(card, tmp_path, given={})
    assert len(calls) == 1 and "drive.google.com/file/d/ID" in capsys.readouterr().out


BY_HAND = r"open https://drive\.google\.com/file/d/ID/view in a browser, download a\.zip there, place it at .*a\.zip"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html>quota", "a web page"),
        (b"Rar!\x1a\x07", "a RAR archive"),
        (b"PK\x03\x04other", "not the published"),
    ],
)
def test_what_drive_gives_is_checked(tmp_path, monkeypatch, content, said):
    make_gdown(monkeypatch, lambda output, _: Path(output).write_bytes(content))
    with pytest.raises(DataError, match=f"{said}.*{BY_HAND}"):
        drive.download_from_drive("ID", tmp_path / "a.zip", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_drive_refuses(tmp_path, monkeypatch):
    def refuse(output, exceptions):
        raise exceptions.DownloadError("too many accesses\n\nsee the FAQ")

    make_gdown(monkeypatch, refuse)
    with pytest.raises(DataError, match=r"does not give it \(too many accesses see the FAQ\).*" + BY_HAND):
        drive.download_from_drive("ID", tmp_path / "a.zip")


def test_drive_is_the_last_resort(server, tmp_path, monkeypatch, capsys):
    calls = make_gdown(monkeypatch, lambda output, _: Path(output).write_bytes(CONTENT))
    card = card_of(File(name="a.zip", url=f"{server.base}/missing.zip", drive="ID", sha256=SHA256, about_bytes=1))
    assert gather(card, tmp_path, given={})["a.zip"].is_file() and len(calls) == 1
    assert "404" in capsys.readouterr().out


def test_without_gdown_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(DataError, match="takes the package gdown; " + BY_HAND):
        drive.download_from_drive("ID", tmp_path / "a.zip")
