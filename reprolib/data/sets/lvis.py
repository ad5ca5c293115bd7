"""LVIS v1: two annotation files on COCO 2017's images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reprolib.data.cards import CARDS
from reprolib.data.errors import DataError
from reprolib.data.fetch import check_space, downloads, gather, given_files
from reprolib.data.prepared import Prepared, Split
from reprolib.data.sets import coco
from reprolib.data.sets.common import SOURCE_OPTIONS, SPLITS, check_options, given_folder, link, lock
from reprolib.data.unpack import unpack

IMAGE_BYTES = 20_200_000_000  # unpacked, of train2017 and val2017


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared | None:
    """options: from_archive (paths or URLs of the two zips, and of COCO's train2017.zip and val2017.zip), from_dir
    (with lvis_v1_train.json and lvis_v1_val.json, which are linked to; train2017/ and val2017/ too, where COCO's are
    not prepared)."""
    check_options(name, options, known=SOURCE_OPTIONS)
    images = root / coco.NAME
    if _missing(root, name) or coco.missing(images, coco.IMAGES):
        return None
    # Of both splits: 15,000 of the validation images lie in train2017, and the JSON names folder and file.
    splits = {split: Split(images=images, annotations=_annotations(root, name, split)) for split in SPLITS}
    return Prepared(name=name, splits=splits, card=CARDS[name])


def make(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    card, images = CARDS[name], CARDS[coco.NAME]
    image_files = [file for file in images.files if file.name in coco.IMAGES]
    given = given_files(card, options.get("from_archive"), files=[*card.files, *image_files])
    source = given_folder(name, options)
    if source:
        _link(name, source, root)
    needed = [file for file in card.files if file.name in _missing(root, name)]
    with lock(root, coco.NAME):
        absent = coco.missing(root / coco.NAME, coco.IMAGES)
        fetched = [file for file in (*needed, *image_files) if file in needed or file.name in absent]
        fetched = [file for file in fetched if not _is_here(root, file.name, given, name)]
        check_space(card, downloads(root, name), fetched, unpacked=card.unpacked_bytes + (IMAGE_BYTES if absent else 0))
        for path in gather(card, downloads(root, name), given=given, files=needed).values():
            unpack(path, root / name)
        if absent:
            coco.place(coco.IMAGES, root=root, given=given, source=source)
    if wrong := _missing(root, name):
        raise DataError(f"data set {name}: unpacked, but {wrong[0].removesuffix('.zip')} is not in {root / name}")
    return find(name, options, root=root)


def _annotations(root: Path, name: str, split: str) -> Path:
    return root / name / f"lvis_v1_{split}.json"


def _missing(root: Path, name: str) -> list[str]:
    return [f"lvis_v1_{split}.json.zip" for split in SPLITS if not _annotations(root, name, split).is_file()]


def _link(name: str, source: Path, root: Path) -> None:
    for archive in _missing(root, name):
        file = archive.removesuffix(".zip")
        if not (source / file).is_file():
            raise DataError(f"data set {name}: {source} lacks {file}. {CARDS[name].how_to}")
        link(source / file, root / name / file)


def _is_here(root: Path, file: str, given: Mapping[str, str], name: str) -> bool:
    return file in given or any((downloads(root, owner) / file).is_file() for owner in (name, coco.NAME))
