"""LVIS v1: two annotation files on COCO 2017's images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reprolib.data.acquire.fetch import check_space, downloads, gather, given_files
from reprolib.data.acquire.options import SOURCE_OPTIONS, check_options, given_folder
from reprolib.data.acquire.prepared import SPLITS, Prepared, Split
from reprolib.data.acquire.source_folder import link, lock
from reprolib.data.acquire.unpack import unpack
from reprolib.data.cards import CARDS
from reprolib.data.errors import DataError
from reprolib.data.sets.coco import prepare as coco
from reprolib.data.sets.lvis import convert as lvis

IMAGE_BYTES = 20_200_000_000  # unpacked, of train2017 and val2017


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared | None:
    """options: from_archive (paths or URLs of the two zips, and of COCO's train2017.zip and val2017.zip), from_dir
    (with lvis_v1_train.json and lvis_v1_val.json, which are linked to; train2017/ and val2017/ too, where COCO's are
    not prepared)."""
    check_options(name, options, known=SOURCE_OPTIONS)
    annotations, images = _annotations(root, name), root / coco.NAME
    if coco.missing(images, coco.IMAGES) or not lvis.is_checked(
        annotations, images, _checked(root, name), contents=lvis.published()
    ):
        return None
    # One folder for both splits: 15,000 of the validation images lie in train2017, and the JSON names folder and file.
    splits = {split: Split(images=images, annotations=annotations[split]) for split in SPLITS}
    return Prepared(name=name, splits=splits, card=CARDS[name])


def make(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    card, image_card = CARDS[name], CARDS[coco.NAME]
    image_files = [file for file in image_card.files if file.name in coco.IMAGES]
    given = given_files(card, options.get("from_archive"), files=[*card.files, *image_files])
    annotations, source = _annotations(root, name), given_folder(CARDS[name], options)
    if source:
        _link(name, source, annotations)
    missing_annotations = [
        file for file, path in zip(card.files, annotations.values(), strict=True) if not path.is_file()
    ]
    with lock(root, coco.NAME):
        absent = [file for file in image_files if file.name in coco.missing(root / coco.NAME, coco.IMAGES)]
        if absent and not source:  # check the disk's space for everything before the first download
            kept = {name: missing_annotations, coco.NAME: absent}
            to_fetch = [
                file
                for owner, files in kept.items()
                for file in files
                if file.name not in given and not (downloads(root, owner) / file.name).is_file()
            ]
            check_space(card, downloads(root, name), to_fetch, unpacked=card.unpacked_bytes + IMAGE_BYTES)
        for path in gather(card, downloads(root, name), given=given, files=missing_annotations).values():
            unpack(path, root / name)
        if absent:
            coco.place(coco.IMAGES, root=root, given=given, source=source)
    lvis.check(annotations, root / coco.NAME, _checked(root, name), contents=lvis.published())
    return find(name, options, root=root)


def _annotations(root: Path, name: str) -> dict[str, Path]:
    return {split: root / name / f"lvis_v1_{split}.json" for split in SPLITS}


def _checked(root: Path, name: str) -> Path:
    return root / f"{name}_checked"


def _link(name: str, source: Path, annotations: Mapping[str, Path]) -> None:
    for path in annotations.values():
        if path.is_file():
            continue
        if not (source / path.name).is_file():
            raise DataError(f"data set {name}: {source} lacks {path.name}. {CARDS[name].how_to}")
        link(source / path.name, path)
