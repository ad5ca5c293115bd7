"""iSAID: masks and DOTA's images from their archives, or a folder of what is in them, cut into tiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reprolib.data.acquire.fetch import given_files
from reprolib.data.acquire.options import SOURCE_OPTIONS, check_options
from reprolib.data.acquire.prepared import SPLITS, Prepared, Split
from reprolib.data.acquire.source_folder import source_folder
from reprolib.data.acquire.unpack import unpack
from reprolib.data.cards import CARDS
from reprolib.data.sets.isaid import convert as isaid


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared | None:
    """options: from_archive (paths or URLs of the four archives, or the folder that holds them), from_dir (with train/
    and val/, and in them, at any depth, DOTA's images and iSAID's id and colour images)."""
    check_options(name, options, known=SOURCE_OPTIONS)
    folder = root / f"{name}_coco"
    if not isaid.is_prepared(root / name, folder, contents=isaid.published()):
        return None
    splits = {s: Split(images=folder / "images" / s, annotations=folder / "annotations" / f"{s}.json") for s in SPLITS}
    return Prepared(name=name, splits=splits, card=CARDS[name])


def make(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    card = CARDS[name]
    given = given_files(card, options.get("from_archive"))
    source = source_folder(card, options, root=root, given=given, files=card.files)
    if not source.is_symlink():  # as officially published, masks are in archives of their own
        for masks in sorted(source.glob("*/*_masks/images.zip")):
            unpack(masks, masks.parent)
    isaid.convert(source, root / f"{name}_coco", contents=isaid.published())
    return find(name, options, root=root)
