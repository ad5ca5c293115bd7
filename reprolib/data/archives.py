"""Look into a zip archive before trusting it."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath

from reprolib.data.errors import DataError


def checked_members(
    archive: zipfile.ZipFile, *, max_files: int, max_file_bytes: int, max_bytes: int
) -> list[zipfile.ZipInfo]:
    """The archive's files, folders left out.

    Raises DataError for anything a data set's archive has no reason to hold: names that leave the folder,
    links and other special files, encryption, a name twice, more files or bytes (unpacked, all or one) than
    given.
    """
    files, names, total = [], set(), 0
    for member in archive.infolist():
        name, where = member.filename, f"{archive.filename}: {member.filename!r}"
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
            raise DataError(f"{where} points out of the archive; do not use this file")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{where} is a link or special file; do not use this archive")
        if member.is_dir():
            continue
        if member.flag_bits & 1:
            raise DataError(f"{where} is encrypted; get the published archive")
        if name in names:
            raise DataError(f"{where} is in it twice; get the published archive")
        names.add(name)
        files.append(member)
        total += member.file_size
        if member.file_size > max_file_bytes or total > max_bytes or len(files) > max_files:
            raise DataError(
                f"{where}: unpacks to more than expected (at most {max_files} files, {max_file_bytes} bytes each,"
                f" {max_bytes} together); do not use this archive"
            )
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
        with path.open("rb") as file:
            head = file.read(512).lstrip().lower()
        page = " (it is a web page: a login, a quota or an error)" if head.startswith((b"<!doc", b"<html")) else ""
        raise DataError(f"{path}: not a zip archive{page}: {error}; remove it and fetch it again") from None
