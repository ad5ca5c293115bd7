"""Cityscapes: two archives behind a login, unpacked beside each other, and COCO-format JSON made from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reprolib.data.acquire.fetch import downloads, gather, given_files
from reprolib.data.acquire.options import SOURCE_OPTIONS, check_options, given_folder
from reprolib.data.acquire.prepared import Prepared, Split
from reprolib.data.acquire.source_folder import count, link, lock
from reprolib.data.acquire.unpack import unpack
from reprolib.data.cards import CARDS
from reprolib.data.errors import DataError
from reprolib.data.sets.cityscapes import convert as cityscapes

SOURCE = "cityscapes"  # of both variants
FOLDERS = {
    "gtFine_trainvaltest.zip": ("gtFine", cityscapes.IDS_SUFFIX),
    "leftImg8bit_trainvaltest.zip": ("leftImg8bit", cityscapes.IMAGE_SUFFIX),
}


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared | None:
    """options: from_archive (paths of the two zips, or the folder that holds them), from_dir (with the unpacked gtFine/
    and leftImg8bit/, which are linked to)."""
    check_options(name, options, known=SOURCE_OPTIONS)
    source, folder = root / SOURCE, root / f"{name}_coco"
    if not cityscapes.is_prepared(source, folder, classes=CARDS[name].classes):
        return None
    splits = {
        split: Split(images=source / "leftImg8bit" / split, annotations=folder / "annotations" / f"{split}.json")
        for split in cityscapes.IMAGES
    }
    return Prepared(name=name, splits=splits, card=CARDS[name])


def make(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    source, card = root / SOURCE, CARDS[name]
    with lock(root, f"{SOURCE}_source"):
        if user_folder := given_folder(CARDS[name], options):
            for top, _ in FOLDERS.values():
                if not (user_folder / top).is_dir():
                    raise DataError(f"data set {name}: {user_folder} has no folder {top} (--from-dir). {card.how_to}")
                if (user_folder / top).resolve() != (source / top).resolve():
                    link(user_folder / top, source / top)
        else:
            files = [file for file in card.files if not _is_there(source, file.name)]
            archives = given_files(card, options.get("from_archive"))
            for path in gather(card, downloads(root, SOURCE), given=archives, files=files).values():
                unpack(path, source)
    cityscapes.convert(source, root / f"{name}_coco", classes=card.classes)
    return find(name, options, root=root)


def _is_there(source: Path, archive: str) -> bool:
    top, suffix = FOLDERS[archive]
    return all(count(source / top / split, f"*/*{suffix}") >= images for split, images in cityscapes.IMAGES.items())
