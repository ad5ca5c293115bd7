"""COCO-format JSON: read it, and check everything that can be checked without masks and image files."""

from __future__ import annotations

import json
import math
from pathlib import Path, PurePosixPath

from reprolib.data.errors import DataError
from reprolib.data.findings import Findings

MAX_SIDE = 2**16 - 1


def read_document(path: str | Path) -> dict:
    """The parsed annotation file. Raises DataError when it is missing, no JSON or no COCO-format object."""
    path = Path(path)
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such annotation file; check the path, or prepare the data set first") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; name the annotation file (.json) in it") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); fetch or export the file again") from None
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise DataError(f"{path}: the top level is a {kind}, not an object with images, annotations and categories")
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            state = "is missing" if key not in document else f"is {type(document[key]).__name__}, not a list"
            hint = "; files without labels (test sets) cannot be used here" if key == "annotations" else ""
            raise DataError(f"{path}: field {key!r} {state}{hint}")
        if not all(isinstance(entry, dict) for entry in document[key]):
            raise DataError(f"{path}: field {key!r} holds something that is not an object")
    return document


def file_name(image: dict) -> str:
    """Path of an image below the image folder; LVIS v1 has only `coco_url`, whose last two parts it is."""
    if "file_name" not in image and isinstance(image.get("coco_url"), str):
        return "/".join(PurePosixPath(image["coco_url"]).parts[-2:])
    return image.get("file_name")


def is_side(value: object) -> bool:
    """Whether a value can be an image's width or height; pycocotools counts pixels in 32 bits."""
    return _is_integer(value) and 0 < value <= MAX_SIDE


def check_document(document: dict, findings: Findings) -> None:
    """Add what is wrong with ids, references, sizes, boxes and flags of a document as `read_document` returns
    it.

    After this, with no error found: ids are unique integers, every annotation refers to an image and a
    category, and images have a file name below their folder and a positive integer width and height.
    """
    image_ids = _check_ids(document["images"], "image", findings)
    category_ids = _check_ids(document["categories"], "category", findings)
    _check_ids(document["annotations"], "annotation", findings)
    _check_images(document["images"], findings)
    _check_categories(document["categories"], findings)
    sizes = {image.get("id"): image for image in document["images"] if _is_integer(image.get("id"))}
    for annotation in document["annotations"]:
        name = f"annotation {annotation.get('id')}"
        image_id, category_id = annotation.get("image_id"), annotation.get("category_id")
        if not _is_integer(image_id) or image_id not in image_ids:
            findings.error(f"{name} (image_id {image_id!r})", "refers to no image; remove it or add the image")
        if not _is_integer(category_id) or category_id not in category_ids:
            findings.error(f"{name} (category_id {category_id!r})", "refers to no category; add it under `categories`")
        if annotation.get("iscrowd", 0) not in (0, 1, None):
            findings.error(f"{name} (iscrowd {annotation['iscrowd']!r})", "iscrowd must be 0 or 1")
        if annotation.get("segmentation") is None:
            findings.error(name, "has no `segmentation`; this suite needs masks, a box alone is not enough")
        _check_box(annotation, sizes.get(image_id) if _is_integer(image_id) else None, findings)


def _check_ids(entries: list[dict], kind: str, findings: Findings) -> set[int]:
    seen: set[int] = set()
    for position, entry in enumerate(entries):
        number = entry.get("id")
        if not _is_integer(number):
            findings.error(f"{kind} at position {position} (id {number!r})", "`id` must be an integer")
        elif number in seen:
            findings.error(f"{kind} {number}", f"{kind} id used more than once; ids must be unique")
        else:
            seen.add(number)
    if kind == "annotation" and 0 in seen:
        findings.warning(
            "annotation 0",
            "id 0 counts as unmatched in pycocotools; the evaluation adapter numbers annotations from 1",
        )
    return seen


def _check_images(images: list[dict], findings: Findings) -> None:
    names: set[str] = set()
    for image in images:
        entry, name = f"image {image.get('id')}", file_name(image)
        if not isinstance(name, str) or not name:
            findings.error(entry, "has neither `file_name` nor `coco_url`")
            continue
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            findings.error(f"{entry} ({name!r})", "`file_name` must be a path below the image folder, with slashes")
        if name in names:
            findings.warning(f"{entry} ({name})", "`file_name` used by an earlier image too")
        names.add(name)
        for side in ("width", "height"):
            if not is_side(image.get(side)):
                findings.error(
                    f"{entry} ({side} {image.get(side)!r})",
                    "`width` and `height` must be positive integers (to 65535); take them from the image file",
                )
    if not images:
        findings.error("images", "the list is empty")


def _check_categories(categories: list[dict], findings: Findings) -> None:
    names: set[str] = set()
    for category in categories:
        entry, name = f"category {category.get('id')}", category.get("name")
        if not isinstance(name, str) or not name:
            findings.error(f"{entry} (name {name!r})", "`name` must be text")
        elif name in names:
            findings.error(f"{entry} ({name})", "category name used more than once")
        else:
            names.add(name)
    if not categories:
        findings.error("categories", "the list is empty")


def _check_box(annotation: dict, image: dict | None, findings: Findings) -> None:
    box, name = annotation.get("bbox"), f"annotation {annotation.get('id')}"
    if box is None:
        return  # boxes are taken from the masks; COCO's own evaluation reads it where present
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(side) for side in box):
        findings.error(f"{name} (bbox {box!r})", "`bbox` must be four finite numbers: x, y, width, height")
    elif box[2] < 1 or box[3] < 1:
        findings.warning(name, "box narrower or lower than 1 px; skipped in training")
    elif image is not None and _leaves(box, image):
        findings.warning(name, "box reaches out of its image")


def _leaves(box: list[float], image: dict) -> bool:
    """With a tolerance of 1 px: boxes of sources that count both end pixels are 1 px larger than the polygon."""
    width, height = image.get("width"), image.get("height")
    if not is_side(width) or not is_side(height):
        return False  # reported already
    return min(box[:2]) < -1 or box[0] + box[2] > width + 1 or box[1] + box[3] > height + 1


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
