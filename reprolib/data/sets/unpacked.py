"""Sets whose archives are unpacked as they are into `<root>/<name>`, where their images are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reprolib.data.acquire.fetch import Given, downloads, gather
from reprolib.data.acquire.unpack import unpack
from reprolib.data.card import Card, File
from reprolib.data.sets.common import given_folder, link
from reprolib.files import write_json

MARK = ".unpacked.json"  # written when all archives are


def unpacked(card: Card, options: Mapping[str, object], *, root: Path, given: Given, files: Sequence[File]) -> Path:
    """The folder with what is in the archives `files`: linked to what `--from-dir` names, or unpacked from archives
    that are given, found or fetched. Unpacked once; an interrupted call goes on."""
    place = root / card.name
    if place.is_symlink() and not place.exists():  # the user's folder is gone
        place.unlink()
    if source := given_folder(card.name, options):
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
