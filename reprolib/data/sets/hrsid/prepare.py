"""HRSID: its zip, or a folder of what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reprolib.data.acquire.fetch import given_files
from reprolib.data.acquire.options import SOURCE_OPTIONS, check_options, choice
from reprolib.data.acquire.prepared import Prepared, converted
from reprolib.data.acquire.source_folder import source_folder
from reprolib.data.cards import CARDS
from reprolib.data.sets.hrsid import convert as hrsid

OPTIONS = (*SOURCE_OPTIONS, "split")


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared | None:
    """options: split (`official`, 3,642/1,962, the default, or `scenes`, the suite's own), from_archive (path or URL of
    HRSID_JPG.zip), from_dir (HRSID_JPG, or the folder that it lies in). The split `val` is the test set."""
    check_options(name, options, known=OPTIONS)
    split, source, folder = choice(name, options, "split", hrsid.SPLITS), root / name, root / f"{name}_coco"
    if not source.exists() or not hrsid.is_prepared(source, folder, contents=hrsid.published()):
        return None
    return converted(
        CARDS[name], images=hrsid.images_folder(source), annotations=folder / "annotations" / split, val="test"
    )


def make(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    card = CARDS[name]
    given = given_files(card, options.get("from_archive"))
    source = source_folder(card, options, root=root, given=given, files=card.files)
    hrsid.convert(source, root / f"{name}_coco", contents=hrsid.published())
    return find(name, options, root=root)
