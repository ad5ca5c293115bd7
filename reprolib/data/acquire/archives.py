"""Look into a zip or tar.gz archive before trusting it."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from reprolib.data.acquire.magic import WEB_PAGE, kind_of_file
from reprolib.data.errors import DataError

Files = Mapping[str, Callable[[], bytes]]  # path in a zip or folder -> its bytes, read when called
Member = TypeVar("Member")
MAX_READ = 1 << 24  # bytes; tarfile reads a header of any stated length at once


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an archive may unpack to; the defaults hold for every data set here."""

    files: int = 2_000_000
    file_bytes: int = 2**35
    bytes: int = 2**38


def checked(
    archive: Path | str, members: Iterable[Member], describe: Callable[[Member], tuple[str, int, int]], limits: Limits
) -> Iterator[Member]:
    """The files of an archive one after the other, folders left out.

    describe: name, size and kind of a member; the kind as stat's S_IFMT gives it, 0 where it is not known. Raises
    DataError, at the member concerned, for anything a data set's archive has no reason to hold: names that leave the
    folder it is unpacked into, here or on another system, links and other special files, a name twice, more files or
    bytes (unpacked, all or of a single file) than the limits.
    """
    names, total = set(), 0
    for member in members:
        name, size, kind = describe(member)
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or set("\\:\0") & set(name):
            raise DataError(f"{archive}: {name!r} points out of the archive; do not use this file")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{archive}: {name!r} is a link or special file; do not use this archive")
        if kind == stat.S_IFDIR or name.endswith("/"):
            continue
        if path.as_posix() in {*names, "."}:
            raise DataError(f"{archive}: {name!r} is in it twice; get the published archive")
        names.add(path.as_posix())
        total += size
        if size > limits.file_bytes or total > limits.bytes or len(names) > limits.files:
            raise DataError(
                f"{archive}: {name!r}: unpacks to more than expected (at most {limits.files} files, {limits.file_bytes}"
                f" bytes each, {limits.bytes} together); do not use this archive"
            )
        yield member


def checked_members(archive: zipfile.ZipFile, limits: Limits) -> list[zipfile.ZipInfo]:
    """The zip archive's files. Raises DataError as `checked` does, and for encryption."""

    def describe(member: zipfile.ZipInfo) -> tuple[str, int, int]:
        return member.filename, member.file_size, stat.S_IFMT(member.external_attr >> 16)

    files = list(checked(archive.filename, archive.infolist(), describe, limits))
    for member in files:
        if member.flag_bits & 1:
            raise DataError(f"{archive.filename}: {member.filename!r} is encrypted; get the published archive")
    return files


def checked_tar_members(archive: tarfile.TarFile, path: Path, limits: Limits) -> Iterator[tarfile.TarInfo]:
    """The files of a tar archive, as it is read: sizes are only known as they come. Raises DataError as `checked`."""

    def describe(member: tarfile.TarInfo) -> tuple[str, int, int]:
        plain = member.isreg() and not member.issparse()
        return member.name, member.size, stat.S_IFDIR if member.isdir() else stat.S_IFREG if plain else stat.S_IFLNK

    return checked(path, archive, describe, limits)


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip archive. Raises DataError where there is none, saying so when it is a web page in its
    place."""
    path = Path(path)
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such archive; check the path, or give a URL to fetch it from") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; give the archive (.zip) itself") from None
    except zipfile.BadZipFile as error:
        kind = kind_of_file(path)
        what = f" ({kind}: a login, a quota or an error)" if kind == WEB_PAGE else f" but {kind}" if kind else ""
        raise DataError(
            f"{path}: not a zip archive{what.replace(' (', ' (it is ')}: {error}; remove it and fetch it again"
        ) from None


@contextmanager
def opened_files(source: Path, *, limits: Limits, patterns: tuple[str, ...]) -> Iterator[Files]:
    """The files of a zip, or those of a folder that match the patterns at any depth; a folder's own name is part of
    their paths. Raises DataError as `open_zip` and `checked_members` do."""
    if source.is_dir():
        whole = source.resolve()
        paths = sorted(file for pattern in patterns for file in whole.rglob(pattern))
        yield {file.relative_to(whole.parent).as_posix(): file.read_bytes for file in paths}
        return
    if source.suffix.lower() == ".rar":
        raise DataError(f"{source}: RAR archives are not read here; unpack it and give the folder")
    with open_zip(source) as archive:
        members = checked_members(archive, limits)
        yield {member.filename: lambda member=member: archive.read(member) for member in members}


@contextmanager
def open_tar_gz(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar.gz archive for reading from its beginning to its end. When the block ends without an error the rest is
    read, to its checksum. Raises DataError for what is no gzip or no tar."""
    path = Path(path)
    try:
        with gzip.open(path) as stream, tarfile.open(fileobj=_BoundedReads(stream, path), mode="r:") as archive:
            yield archive
            while stream.read(MAX_READ):
                pass
    except FileNotFoundError:
        raise DataError(f"{path}: no such archive; check the path, or give a URL to fetch it from") from None
    except (tarfile.TarError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a whole tar.gz archive: {error}; remove it and fetch it again") from None


class _BoundedReads(io.RawIOBase):
    """A stream that refuses to read very large pieces: only a header made to fill the memory leads to such a read."""

    def __init__(self, stream: gzip.GzipFile, path: Path) -> None:
        self._stream, self._path = stream, path

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > MAX_READ:
            raise DataError(f"{self._path}: a header of {size} bytes; do not use this archive")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()
