"""What all converters share: a folder that appears whole or not at all, and COCO-format JSON from masks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pycocotools import mask as coco_mask

from reprolib.data.acquire.checksums import sha256_of
from reprolib.data.acquire.progress import counted
from reprolib.data.errors import DataError
from reprolib.data.images import opened_image
from reprolib.files import write_atomic, write_json

MARKER = "prepared.json"
SETS = Path(__file__).parent.parent / "sets"


def is_whole(folder: Path, made: Mapping[str, object]) -> bool:
    """Whether `folder` was made as `made` says, by `making`, and its annotations still are as they were written."""
    try:
        marker = json.loads((folder / MARKER).read_text())
        digests = marker.pop("sha256")
        return marker == made and all(sha256_of(folder / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@contextmanager
def making(
    folder: Path, made: Mapping[str, object], *, source: Path | None = None, resume: bool = False
) -> Iterator[Path]:
    """Gives an empty folder to write into, which replaces `folder` when the block ends without an error.

    made: what the result depends on, as plain JSON; it goes into the marker, with the sha256 of every JSON below
    `annotations/`. source: a folder that is read; DataError where it lies in `folder`, which would be replaced.
    resume: keep what an interrupted or failed block wrote, and give it to the next one with the same `made`.
    """
    if source is not None and folder.resolve() in (source.resolve(), *source.resolve().parents):
        raise DataError(f"{source}: lies in {folder}, where the annotations go; move it elsewhere")
    part, old = (folder.with_name(f"{folder.name}.{ending}") for ending in ("part", "old"))
    begun = part / "begun.json"
    if not (resume and _holds(begun, made)):
        shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, exist_ok=True)
    if resume:
        write_json(begun, made)
    whole = False
    try:
        yield part
        begun.unlink(missing_ok=True)
        files = sorted((part / "annotations").rglob("*.json"))
        digests = {file.relative_to(part).as_posix(): sha256_of(file) for file in files}
        write_json(part / MARKER, {**made, "sha256": digests})
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
        whole = True
    finally:
        if whole or not resume:
            shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _holds(file: Path, value: Mapping[str, object]) -> bool:
    try:
        return json.loads(file.read_text()) == value
    except (OSError, ValueError):
        return False


def coco_document(
    *,
    info: Mapping[str, object],
    categories: Sequence[Mapping[str, object]],
    images: Sequence[Mapping[str, object]],
    annotations: Iterable[Mapping[str, object]],
) -> dict:
    """A COCO-format document; annotations are numbered from 1, since pycocotools takes a match to id 0 for none."""
    return {
        "info": info,
        "categories": categories,
        "images": images,
        "annotations": [{"id": number} | annotation for number, annotation in enumerate(annotations, start=1)],
    }


def write_document(path: Path, document: Mapping[str, object]) -> None:
    """Write COCO-format JSON without spaces."""
    write_atomic(path, json.dumps(document, separators=(",", ":")))


def part_of(document: Mapping[str, object], names: Collection[str], *, of: str) -> dict:
    """The document with only the images of these file names; ids stay. Raises DataError for names it lacks, of: where
    they come from."""
    unknown = set(names) - {image["file_name"] for image in document["images"]}
    if unknown:
        raise DataError(f"{of} names {len(unknown)} unknown images: {min(unknown)}")
    images = [image for image in document["images"] if image["file_name"] in names]
    ids = {image["id"] for image in images}
    return {**document, "images": images, "annotations": [a for a in document["annotations"] if a["image_id"] in ids]}


def check_count(document: Mapping[str, object], images: int, ships: int | None, *, where: str, mend: str) -> None:
    """Raise DataError, beginning with `where`, for another number of images or ships (None: any number)."""
    counted_images, counted_ships = len(document["images"]), len(document["annotations"])
    if counted_images != images or ships not in (None, counted_ships):
        raise DataError(
            f"{where} has {counted_images} images and {counted_ships} ships, there must be {images} and"
            f" {'any number' if ships is None else ships}; this is not the published set: {mend}"
        )


def mask_fields(rle: Mapping[str, object], *, segmentation: object = None) -> dict:
    """`bbox` (xywh px, the outer edges of the outermost pixels), `area` (pixels) and `segmentation` of a mask.

    rle: compressed, its counts as bytes. segmentation: what is written in its place, such as the source's polygons.
    """
    return {
        "bbox": [float(side) for side in coco_mask.toBbox(rle)],
        "area": int(coco_mask.area(rle)),
        "segmentation": segmentation or {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
    }


def pixel_fields(mask: np.ndarray) -> dict:
    """`mask_fields` of pixels, bool [H, W]."""
    return mask_fields(coco_mask.encode(np.asfortranarray(mask, np.uint8)))


def polygon_fields(polygons: Sequence[Sequence[float]], *, height: int, width: int) -> dict:
    """`mask_fields` of polygons, which stay the segmentation; pycocotools relies on their being well-formed."""
    rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return mask_fields(rle, segmentation=polygons)


def split_names(name: str) -> tuple[str, ...]:
    """The names in the committed list `data/sets/<set>/splits/<name>.txt`. Raises FileNotFoundError."""
    file = next(SETS.glob(f"*/splits/{name}.txt"), None)
    if file is None:
        raise FileNotFoundError(f"no list {name}.txt below {SETS}")
    return tuple(file.read_text().split())


def check_image(file: Path | BinaryIO, *, width: int, height: int, where: str, mode: str = "") -> None:
    """Read an image to its end. Raises DataError, beginning with `where`, for one that is missing, unreadable, or not
    of this size and mode ("": any)."""
    missing = "is missing; fetch the set again, or unpack it again"
    with opened_image(file, where=where, missing=missing, mend="fetch the set again") as opened:
        opened.load()
        actual = (opened.size, opened.mode)
    if actual != ((width, height), mode or actual[1]):
        raise DataError(
            f"{where}: {actual[0][0]} x {actual[0][1]} {actual[1]}, the annotations belong to an image of"
            f" {width} x {height} {mode}".rstrip()
            + "; this is not the published image"
        )


def check_images(folder: Path, images: Sequence[Mapping[str, object]], *, name: str) -> None:
    """`check_image` of all images of a document, which lie in `folder`. name: of the data set, in printed lines."""
    for image in counted(images, f"{name}:", "images checked"):
        path = folder / image["file_name"]
        check_image(path, width=image["width"], height=image["height"], where=str(path))
