"""Cityscapes' fine annotations, all classes with instances or some of them, from its folder to COCO format.

The folder is the two published archives unpacked into one place: `gtFine/` and `leftImg8bit/`. Masks are the exact
pixels of the `instanceIds` images, as mmdetection converts them. In those, a value from 1000 on is a class's label id
times 1000 plus the object's number; a label id alone is a group of objects that are not told apart, kept as a crowd:
detections in it count neither for nor against. Objects of other classes are dropped, their images stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from reprolib.data.acquire.conversion import is_whole, making, pixel_fields, write_document
from reprolib.data.acquire.progress import counted
from reprolib.data.errors import DataError
from reprolib.data.sets.cityscapes.labels import IDS_SUFFIX, IMAGE_SUFFIX, LABEL_IDS

VERSION = 1  # raise it when the conversion writes something else: prepared sets are then made again
IMAGES = MappingProxyType({"train": 2_975, "val": 500})
PER_CLASS = 1000


def is_prepared(source: Path, folder: Path, *, classes: Sequence[str], images: Mapping[str, int] = IMAGES) -> bool:
    """Whether `folder` holds the annotations of `source` for these classes, as this version writes them."""
    return is_whole(folder, _made(source, classes, images))


def convert(source: Path, folder: Path, *, classes: Sequence[str], images: Mapping[str, int] = IMAGES) -> None:
    """Write `<folder>/annotations/{train,val}.json`; `folder` appears whole or not at all, and replaces what was there.

    source: the folder with `gtFine` and `leftImg8bit`; its images are read where they are, `file_name` is
    `<city>/<file>` below `leftImg8bit/<split>`. classes: of `LABEL_IDS`; category ids are the label ids. images: how
    many each split must have. Raises DataError for images that are missing, unreadable or of another size than their
    annotations, for another number of them, and for a source inside `folder`, which would be replaced.
    """
    with making(folder, _made(source, classes, images), source=source) as part:
        for split, count in images.items():
            document = _document(source, split, count=count, classes=classes)
            write_document(part / f"annotations/{split}.json", document)


def _made(source: Path, classes: Sequence[str], images: Mapping[str, int]) -> dict[str, object]:
    made = {"version": VERSION, "source": str(source.resolve()), "classes": list(classes), "images": dict(images)}
    return {"made": made}


def _document(source: Path, split: str, *, count: int, classes: Sequence[str]) -> dict:
    folder = source / "leftImg8bit" / split
    files = sorted(folder.glob(f"*/*{IMAGE_SUFFIX}"))
    if len(files) != count:
        raise DataError(
            f"{folder}: {len(files)} images <city>/*{IMAGE_SUFFIX}, there must be {count}; unpack"
            " leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into one folder and give that"
        )
    names = {LABEL_IDS[name]: name for name in classes}
    images, annotations = [], []
    progress = counted(files, f"cityscapes: {split}, annotations of", "images converted")
    for number, file in enumerate(progress, start=1):
        ids = _instance_ids(source, split, file)
        height, width = ids.shape
        images.append({"id": number, "file_name": f"{file.parent.name}/{file.name}", "width": width, "height": height})
        annotations += [instance | {"image_id": number} for instance in _instances(ids, labels=set(names))]
    return {
        "info": {"description": "Cityscapes, fine annotations", "url": "https://www.cityscapes-dataset.com"},
        "categories": [{"id": label, "name": names[label]} for label in sorted(names)],
        "images": images,
        # pycocotools takes a match to id 0 for none.
        "annotations": [annotation | {"id": number} for number, annotation in enumerate(annotations, start=1)],
    }


def _instance_ids(source: Path, split: str, image: Path) -> np.ndarray:
    """The instanceIds [H,W] of an image, checked against the image's size."""
    city, stem = image.parent.name, image.name.removesuffix(IMAGE_SUFFIX)
    path = source / "gtFine" / split / city / f"{stem}{IDS_SUFFIX}"
    try:
        with Image.open(path) as opened:
            ids = np.asarray(opened)
        with Image.open(image) as opened:
            width, height = opened.size
    except FileNotFoundError:
        raise DataError(f"{path}: is missing; unpack gtFine_trainvaltest.zip beside leftImg8bit") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} or {image}: unreadable ({error}); unpack its archive again") from None
    if ids.ndim != 2 or ids.dtype.kind not in "iu" or ids.shape != (height, width):
        raise DataError(
            f"{path}: {ids.dtype} {list(ids.shape)}, its image is {height} x {width}; instanceIds are single-channel"
            " images of 16 bits of the image's size: unpack gtFine_trainvaltest.zip again"
        )
    return ids


def _instances(ids: np.ndarray, *, labels: set[int]) -> Iterator[dict]:
    for value in np.unique(ids).tolist():
        alone = value < PER_CLASS
        label = value if alone else value // PER_CLASS
        if label not in labels:
            continue
        yield {"category_id": label, "iscrowd": int(alone), **pixel_fields(ids == value)}
