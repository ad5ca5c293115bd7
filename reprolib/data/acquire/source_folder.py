"""The folder `<root>/<name>` with a data set's files as published: unpacked there, or a link to the user's folder."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from reprolib.data.acquire.fetch import Given, downloads, gather
from reprolib.data.acquire.options import given_folder
from reprolib.data.acquire.unpack import unpack
from reprolib.data.card import Card, File
from reprolib.data.errors import DataError
from reprolib.files import write_json

MARK = ".unpacked.json"  # written when all archives are


def source_folder(
    card: Card, options: Mapping[str, object], *, root: Path, given: Given, files: Sequence[File]
) -> Path:
    """The folder with what is in the archives `files`: linked to what `--from-dir` names, or unpacked from archives
    that are given, found or fetched. Unpacked once; an interrupted call goes on."""
    place = root / card.name
    if place.is_symlink() and not place.exists():  # the user's folder is gone
        place.unlink()
    if source := given_folder(card, options):
        if source.resolve() != place.resolve():
            link(source, place)
    elif not (place.is_symlink() or (place / MARK).is_file()):
        kept = downloads(root, card.name)
        for path in gather(card, kept, given=given, files=files).values():
            unpack(path, place)
        write_json(place / MARK, [file.name for file in files])
        if any((kept / file.name).is_file() for file in files):
            print(f"{card.name}: unpacked in {place}; archives in {kept} are no longer needed", flush=True)
    return place


def link(source: Path, place: Path) -> None:
    """Make `place` a link to a folder or file of the user's, which stays where it is; a link that leads nowhere is
    replaced. Raises DataError where something else is at `place`."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() and place.resolve() != source.resolve():
        place.unlink()
    if place.exists():
        if place.resolve() != source.resolve():
            raise DataError(f"{place} is in the way of a link to {source}; move it away")
        return
    place.symlink_to(source.resolve())
    print(f"{place} is a link to {source}; nothing is copied", flush=True)


def count(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.glob(pattern))


@contextlib.contextmanager
def lock(root: Path, name: str) -> Iterator[None]:
    """Hold the data set for this process; the system lets go of it if the process dies."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / f".{name}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"data set {name}: another process prepares it, waiting ({path})", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
