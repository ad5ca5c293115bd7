"""Folders of the user's own, in COCO format, read where they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from reprolib.data.acquire.options import check_options, given_folder
from reprolib.data.acquire.prepared import SPLITS, Prepared
from reprolib.data.cards import CARDS
from reprolib.data.document import file_name, read_document
from reprolib.data.errors import DataError
from reprolib.data.sets.custom import coco_folder

NAME = "custom"


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    """options: from_dir, a folder in which the parts of both splits are found by their names."""
    check_options(name, options, known=("from_dir",))
    folder = given_folder(CARDS[name], options)
    if folder is None:
        raise DataError(f"data set {name}: which folder? {CARDS[name].how_to}")
    paths = {}
    for split in SPLITS:
        annotations = _annotations(folder, split)
        paths[f"{split}_annotations"] = str(annotations)
        paths[f"{split}_images"] = str(_images(folder, split, annotations))
    return coco_folder.find(name, paths, root=root)


make = find


def _annotations(folder: Path, split: str) -> Path:
    """The JSON of a split: its name, or its folder's, has the split's name as a word (train, val2017, valid)."""
    word = re.compile(rf"(?<![a-z]){split}(?:id)?(?![a-z])", re.IGNORECASE)
    candidates = sorted(
        path
        for pattern in ("*.json", "*/*.json")
        for path in folder.glob(pattern)
        if word.search(path.relative_to(folder).as_posix())
    )
    instances = [path for path in candidates if "instances" in path.name]
    if len(candidates) > 1 and len(instances) == 1:  # beside captions and keypoints, as in COCO
        candidates = instances
    if len(candidates) != 1:
        names = ", ".join(str(path) for path in candidates) or "none"
        raise DataError(
            f"data set {NAME}: {folder}: one JSON with {split!r} in its name is needed, found {names}; name the paths"
            f" in params.yaml: {{{coco_folder.HINT}}}"
        )
    return candidates[0]


def _images(folder: Path, split: str, annotations: Path) -> Path:
    """The first likely folder that holds the first image of the JSON."""
    images = read_document(annotations)["images"]
    name = file_name(images[0]) if images else None
    for candidate in _likely(folder, split, annotations):
        if isinstance(name, str) and (candidate / name).is_file():
            return candidate
    raise DataError(
        f"data set {NAME}: {annotations}: its first image, {name}, is in none of the folders of {folder}; name the"
        f" paths in params.yaml: {{{coco_folder.HINT}}}"
    )


def _likely(folder: Path, split: str, annotations: Path) -> Iterator[Path]:
    year = annotations.stem.rpartition("_")[2]
    for name in (f"images/{year}", f"images/{split}", year, split, f"{split}/images", "images", ""):
        yield folder / name
    yield annotations.parent
