"""Unpack zip, tar.gz and, with an outside tool, RAR archives so that interrupted work goes on.

Every file is written under another name and renamed when it is whole; one that is there already with the right size is
left alone. So doing it twice changes nothing, an interrupted call goes on, and what was deleted comes back.
"""

from __future__ import annotations

import shutil
import stat
import subprocess
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from reprolib.data.acquire.archives import Limits, checked, checked_members, checked_tar_members, open_tar_gz, open_zip
from reprolib.data.acquire.magic import check_file, kind_of_file
from reprolib.data.acquire.progress import Progress, require_space
from reprolib.data.errors import DataError

CHUNK = 1 << 20
# RAR's method is not free, but these tools read it; the first that is installed is used. Values: arguments before the
# archive, and the form of the target folder's argument.
RAR_TOOLS = {
    "unrar": (["x", "-o+", "-p-", "-inul"], "{}/"),
    "7z": (["x", "-y", "-p-", "-bd"], "-o{}"),
    "7zz": (["x", "-y", "-p-", "-bd"], "-o{}"),
    "bsdtar": (["-x", "-f"], "-C{}"),
}


def unpack(archive: Path, folder: Path, *, limits: Limits | None = None) -> int:
    """Unpack an archive into `folder`, which may hold other things too; returns the number of files in it.

    Raises DataError that names the archive, the member and the mend for a file that is no archive of its suffix, is
    damaged, holds links, special files, names that leave the folder, names twice, encrypted members or more than
    `limits`, and where the disk has no room. Files that were whole stay, for the next call.
    """
    archive, folder, limits = Path(archive), Path(folder), limits or Limits()
    if not archive.is_file():
        raise DataError(f"{archive}: no such archive; check the path, or give a URL to fetch it from")
    check_file(archive)
    unpackers = {"a zip archive": _unpack_zip, "a gzip archive": _unpack_tar_gz, "a RAR archive": _unpack_rar}
    unpacker = unpackers.get(kind_of_file(archive))
    if unpacker is None:
        raise DataError(f"{archive}: neither zip, tar.gz nor RAR; unpack it by hand and give the folder (--from-dir)")
    try:
        files = unpacker(archive, folder, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{archive}: damaged ({error}); remove it and fetch it again") from error
    except OSError as error:
        raise DataError(f"{archive}: {error}; mend that, and the same command goes on where it stopped") from error
    print(f"{archive.name}: {files} files", flush=True)
    return files


def _unpack_zip(archive: Path, folder: Path, limits: Limits) -> int:
    progress = Progress()
    with open_zip(archive) as opened:
        members = checked_members(opened, limits)
        places = [(member, _place(folder, member.filename, archive)) for member in members]
        missing = [(member, place) for member, place in places if not _is_there(place, member.file_size)]
        require_space(folder, sum(member.file_size for member, _ in missing), what=f"{archive}: unpacks to another")
        for number, (member, place) in enumerate(missing, start=len(members) - len(missing) + 1):
            with opened.open(member) as stream:  # reads up to the stated size and then checks the CRC
                _write(stream, place, member.file_size, archive)
            progress.say(f"{archive.name}: {number} of {len(members)} files unpacked")
    return len(members)


def _unpack_tar_gz(archive: Path, folder: Path, limits: Limits) -> int:
    progress, number = Progress(), 0
    with open_tar_gz(archive) as opened:
        for number, member in enumerate(checked_tar_members(opened, archive, limits), start=1):
            place = _place(folder, member.name, archive)
            if not _is_there(place, member.size):
                with opened.extractfile(member) as stream:
                    _write(stream, place, member.size, archive)
            progress.say(f"{archive.name}: {number} files unpacked")
    return number


def _unpack_rar(archive: Path, folder: Path, limits: Limits) -> int:
    """Into a folder of its own first, whose files are then checked and moved: the tool is not ours."""
    tool = next((name for name in RAR_TOOLS if shutil.which(name)), None)
    if tool is None:
        raise DataError(
            f"{archive}: unpacking RAR takes one of {', '.join(RAR_TOOLS)}, and none is installed; install one, or"
            " unpack the archive elsewhere and give the folder (--from-dir)"
        )
    part = folder / f"{archive.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    before, after = RAR_TOOLS[tool]
    print(f"{archive.name}: unpacking with {tool}", flush=True)
    try:
        command = [tool, *before, str(archive.resolve()), after.format(part.resolve())]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[-200:]
            raise DataError(
                f"{archive}: {tool} ends with {done.returncode} ({said}); fetch it again, or unpack it by hand"
            )
        files = _checked_tree(part, archive, limits)
        for file in files:
            place = _place(folder, file.relative_to(part).as_posix(), archive)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return len(files)


def _checked_tree(part: Path, archive: Path, limits: Limits) -> list[Path]:
    def describe(path: Path) -> tuple[str, int, int]:
        status = path.lstat()
        hard_link = not path.is_dir() and status.st_nlink > 1
        name = path.relative_to(part).as_posix()
        return name, status.st_size, stat.S_IFLNK if hard_link else stat.S_IFMT(status.st_mode)

    return list(checked(archive, sorted(part.rglob("*")), describe, limits))


def _place(folder: Path, name: str, archive: Path) -> Path:
    """Where a member goes. Raises DataError where a link in `folder` leads elsewhere."""
    place = folder / PurePosixPath(name)
    parent = next(parent for parent in place.parents if parent.exists() or parent == folder)
    if parent != folder and not parent.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{archive}: {name!r} would be written through the link {parent}; remove the link first")
    return place


def _is_there(place: Path, size: int) -> bool:
    return place.is_file() and not place.is_symlink() and place.stat().st_size == size


def _write(stream: BinaryIO, place: Path, size: int, archive: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.part")
    written = 0
    try:
        with part.open("wb") as file:
            while written <= size and (chunk := stream.read(CHUNK)):
                written += file.write(chunk)
        if written != size:
            raise DataError(f"{archive}: {place.name!r} is not of its stated {size} bytes; fetch the archive again")
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
