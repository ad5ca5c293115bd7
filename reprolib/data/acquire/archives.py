"""Look into a zip or tar.gz archive before trusting it."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from reprolib.data.acquire.magic import WEB_PAGE, kind_of_file
from reprolib.data.errors import DataError

Files = Mapping[str, Callable[[], bytes]]  # path in a zip or folder -> its bytes, read when called
MAX_READ = 1 << 24  # bytes; tarfile reads a header of any stated length at once


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an archive may unpack to; the defaults hold for every data set here."""

    files: int = 2_000_000
    file_bytes: int = 2**35
    bytes: int = 2**38


class Inventory:
    """What was seen of an archive so far, and whether the next member may be in it."""

    def __init__(self, archive: Path | str, limits: Limits) -> None:
        self.archive, self.limits = archive, limits
        self.names: set[str] = set()
        self.bytes = 0

    def admit(self, name: str, size: int) -> None:
        """Take a file of the archive into account. Raises DataError for anything a data set's archive has no reason to
        hold: names that leave the folder, a name twice, more files or bytes (unpacked, all or one) than the limits."""
        check_name(name, archive=self.archive)
        where = f"{self.archive}: {name!r}"
        plain = PurePosixPath(name).as_posix()
        if plain in self.names or plain == ".":
            raise DataError(f"{where} is in it twice; get the published archive")
        self.names.add(plain)
        self.bytes += size
        most = self.limits
        if size > most.file_bytes or self.bytes > most.bytes or len(self.names) > most.files:
            raise DataError(
                f"{where}: unpacks to more than expected (at most {most.files} files, {most.file_bytes} bytes each,"
                f" {most.bytes} together); do not use this archive"
            )


def check_name(name: str, *, archive: Path | str) -> None:
    """Raise DataError for a member's name that leaves the folder it is unpacked into, here or on another system."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or set("\\:\0") & set(name):
        raise DataError(f"{archive}: {name!r} points out of the archive; do not use this file")


def checked_members(archive: zipfile.ZipFile, limits: Limits) -> list[zipfile.ZipInfo]:
    """The zip archive's files, folders left out. Raises DataError for what `Inventory` refuses, for links and other
    special files, and for encryption."""
    inventory, files = Inventory(archive.filename, limits), []
    for member in archive.infolist():
        where = f"{archive.filename}: {member.filename!r}"
        check_name(member.filename, archive=archive.filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{where} is a link or special file; do not use this archive")
        if member.is_dir():
            continue
        if member.flag_bits & 1:
            raise DataError(f"{where} is encrypted; get the published archive")
        inventory.admit(member.filename, member.file_size)
        files.append(member)
    return files


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


def checked_tar_members(archive: tarfile.TarFile, path: Path, limits: Limits) -> Iterator[tarfile.TarInfo]:
    """The files of a tar archive one after the other, as the archive is read. Raises DataError as `checked_members`
    does, at the member concerned: sizes are only known as they come."""
    inventory = Inventory(path, limits)
    for member in archive:
        check_name(member.name, archive=path)
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            raise DataError(f"{path}: {member.name!r} is a link or special file; do not use this archive")
        inventory.admit(member.name, member.size)
        yield member


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
