"""Archives that are unpacked, twice and interrupted, and those that nobody should unpack."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import tarfile
import zipfile

import pytest

from reprolib.data.acquire import unpack as module
from reprolib.data.acquire.archives import MAX_READ, Limits
from reprolib.data.acquire.unpack import unpack
from reprolib.data.errors import DataError

FILES = {"top/images/a.jpg": b"a" * 5000, "top/images/b.jpg": b"b" * 10, "top/empty.txt": b""}


def make_zip(path, files=FILES, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("top/", b"")
        for name, content in files.items():
            archive.writestr(name, content, **options)
    return path


def make_tar(path, files=FILES, *, special=()):
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo(".")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in special:
            archive.addfile(member)
    return path


MAKERS = {"zip": make_zip, "tar.gz": make_tar}


def listing(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(params=MAKERS)
def archive(request, tmp_path):
    return MAKERS[request.param](tmp_path / f"x.{request.param}")


def test_unpacked_beside_other_things(archive, tmp_path, capsys):
    (tmp_path / "data" / "top").mkdir(parents=True)
    (tmp_path / "data" / "top" / "mine").write_bytes(b"mine")
    assert unpack(archive, tmp_path / "data") == 3
    assert listing(tmp_path / "data") == FILES | {"top/mine": b"mine"}
    assert f"{archive.name}: 3 files" in capsys.readouterr().out


def test_twice_writes_nothing_and_mends_what_is_gone(archive, tmp_path):
    folder = tmp_path / "data"
    unpack(archive, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jpg")}
    (folder / "top/empty.txt").unlink()
    (folder / "top/images/b.jpg").write_bytes(b"cut")
    unpack(archive, folder)
    assert listing(folder) == FILES
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jpg")}
    assert [path.name for path in before if before[path] == after[path]] == ["a.jpg"]


def test_an_interrupted_call_leaves_only_whole_files_and_goes_on(archive, tmp_path, monkeypatch):
    folder, written = tmp_path / "data", []
    write = module._write

    def interrupted(stream, place, size, of):
        if written:
            raise KeyboardInterrupt
        written.append(place.name)
        write(stream, place, size, of)

    monkeypatch.setattr(module, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, folder)
    assert list(listing(folder)) == ["top/images/a.jpg"]
    monkeypatch.setattr(module, "_write", lambda *given: (written.append(given[1].name), write(*given)))
    unpack(archive, folder)
    assert listing(folder) == FILES and sorted(written) == ["a.jpg", "b.jpg", "empty.txt"]  # nothing twice


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("evil", ["../evil", "/evil", "a/../../evil", "a\\..\\evil", "C:/evil"])
def test_names_that_lead_outside_are_refused(tmp_path, kind, evil):
    archive = MAKERS[kind](tmp_path / f"x.{kind}", {evil: b"x"})
    with pytest.raises(DataError, match="points out of the archive"):
        unpack(archive, tmp_path / "deep" / "data")
    assert [path.name for path in tmp_path.rglob("evil")] == []


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    member = tarfile.TarInfo("top/link")
    member.type, member.linkname = kind, "top/images/a.jpg"
    archive = make_tar(tmp_path / "x.tar.gz", special=[member])
    with pytest.raises(DataError, match="'top/link' is a link or special file"):
        unpack(archive, tmp_path / "data")
    assert not (tmp_path / "data/top/link").is_symlink()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused_before_a_file_is_written(tmp_path, kind):
    member = zipfile.ZipInfo("link")
    member.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(make_zip(tmp_path / "x.zip"), "a") as archive:
        archive.writestr(member, b"/etc/passwd")
    with pytest.raises(DataError, match="'link' is a link or special file"):
        unpack(tmp_path / "x.zip", tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", MAKERS)
def test_a_name_twice_is_refused(tmp_path, kind):
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("a", b"1")
            archive.writestr("a", b"2")
    else:
        make_tar(tmp_path / "x.tar.gz", {"a": b"1", "./a": b"2"})
    with pytest.raises(DataError, match="in it twice"):
        unpack(tmp_path / f"x.{kind}", tmp_path / "data")


@pytest.mark.parametrize(
    "limits", [Limits(files=2), Limits(file_bytes=4999), Limits(bytes=5009)], ids=["files", "one file", "together"]
)
def test_bombs_by_what_they_declare(archive, tmp_path, limits):
    with pytest.raises(DataError, match="unpacks to more than expected"):
        unpack(archive, tmp_path / "data", limits=limits)
    unpack(archive, tmp_path / "data", limits=Limits(files=3, file_bytes=5000, bytes=5010))


def test_a_zip_that_holds_more_than_it_declares(tmp_path):
    """The stated size is changed from 5000 to 50, locally and in the directory: no more than that is ever written."""
    content = make_zip(tmp_path / "x.zip", {"a": b"a" * 5000}).read_bytes()
    assert content.count((5000).to_bytes(4, "little")) == 2
    (tmp_path / "x.zip").write_bytes(content.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
    with pytest.raises(DataError, match=r"x\.zip: damaged .* fetch it again"):
        unpack(tmp_path / "x.zip", tmp_path / "data")
    assert listing(tmp_path / "data") == {}


def test_a_tar_whose_header_would_fill_the_memory(tmp_path):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, MAX_READ + 1
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + b"0" * 1024))
    with pytest.raises(DataError, match="a header of 16777728 bytes"):
        unpack(tmp_path / "x.tar.gz", tmp_path / "data")


def test_encrypted_members_are_refused(tmp_path):
    content = bytearray(make_zip(tmp_path / "x.zip", {"a": b"a"}).read_bytes())
    entry = content.rindex(b"PK\x01\x02")  # the last of the directory: flags are its ninth and tenth byte
    content[entry + 8] |= 1
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DataError, match="'a' is encrypted"):
        unpack(tmp_path / "x.zip", tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.zip", b"Rar!\x1a\x07\x00", "must be a zip archive, its first bytes are a RAR archive"),
        ("x.tar.gz", b"PK\x03\x04", "must be a gzip archive, its first bytes are a zip archive"),
        ("x.zip", b"<!DOCTYPE html><html>", "a web page"),
        ("x.bin", b"nothing known", "neither zip, tar.gz nor RAR"),
        ("x.zip", b"PK\x03\x04 and no more", "not a zip archive"),
        ("x.tar.gz", gzip.compress(b"no tar" * 200, mtime=0), "not a whole tar.gz"),
        ("x.zip", b"", "of nothing known here"),
    ],
)
def test_what_is_no_archive_of_its_name(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        unpack(tmp_path / name, tmp_path / "data")


def test_a_missing_archive(tmp_path):
    with pytest.raises(DataError, match=r"none\.zip: no such archive"):
        unpack(tmp_path / "none.zip", tmp_path / "data")


def test_damage_is_named_and_what_was_whole_stays(tmp_path):
    random = os.urandom(3000)
    path = make_zip(tmp_path / "x.zip", {"a": b"a" * 500, "b": random})
    content = bytearray(path.read_bytes())
    content[content.index(random[:50]) + 20] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.zip: damaged .*'b'.*; remove it and fetch it again"):
        unpack(path, tmp_path / "data")
    assert listing(tmp_path / "data") == {"a": b"a" * 500}


@pytest.mark.parametrize("cut", [30, 200])
def test_a_truncated_tar_is_damaged(tmp_path, cut):
    path = make_tar(tmp_path / "x.tar.gz", {"a": os.urandom(3000)})
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"x\.tar\.gz: (damaged|not a whole)"):
        unpack(path, tmp_path / "data")


def test_nothing_is_written_through_a_link(archive, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "top").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="through the link"):
        unpack(archive, tmp_path / "data")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_full_disk_is_noticed_before_a_zip_is_unpacked(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=5000))
    with pytest.raises(DataError, match="make room"):
        unpack(make_zip(tmp_path / "x.zip"), tmp_path / "data")
    assert listing(tmp_path / "data") == {}


@pytest.fixture
def rar(tmp_path, monkeypatch):
    """A made RAR, and a function that installs a made `unrar` which runs a line of shell in the target folder."""
    (tmp_path / "x.rar").write_bytes(b"Rar!\x1a\x07\x00...")
    tools = tmp_path / "bin"
    tools.mkdir()

    def install(line):
        tool = tools / "unrar"
        tool.write_text(f'#!/bin/sh\nfor last; do :; done\ncd "$last" && {line}\n')
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")

    return tmp_path / "x.rar", install


def test_rar_by_an_outside_tool(rar, tmp_path):
    archive, install = rar
    install("mkdir -p top/images && printf ab > top/images/a.jpg")
    assert unpack(archive, tmp_path / "data") == 1
    assert listing(tmp_path / "data") == {"top/images/a.jpg": b"ab"}
    assert not (tmp_path / "data" / "x.rar.part").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ln -s /etc/passwd link", "'link' is a link"),
        ("echo broken >&2; exit 3", r"unrar ends with 3 \(broken\)"),
        ("mkfifo pipe", "'pipe' is a link or special file"),
        ("echo a > a; ln a b", "'a' is a link or special file"),
    ],
)
def test_what_the_outside_tool_leaves_is_checked(rar, tmp_path, line, said):
    archive, install = rar
    install(line)
    with pytest.raises(DataError, match=said):
        unpack(archive, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_without_a_tool_it_says_what_to_do(rar, tmp_path, monkeypatch):
    archive, _ = rar
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match=r"takes one of unrar, .* install one, or unpack .*--from-dir"):
        unpack(archive, tmp_path / "data")
