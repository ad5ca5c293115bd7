"""What a user asks for, as text: boxes typed or in a JSON file, classes by name or number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor


class RequestError(ValueError):
    """Boxes or labels that cannot be read; the message names the file, the entry and the mend."""


def parse_boxes(texts: Sequence[str], *, image: str | Path) -> Tensor:
    """Boxes as float32 [N,4], xyxy in pixels of the stored image, in the order given.

    texts: each `x1,y1,x2,y2` or a JSON file. A file holds a list of [x1,y1,x2,y2], or COCO annotations or results,
    whose `bbox` is [x,y,width,height]: a list of them, or a document with `annotations`, of which those of `image`
    (by file name) are taken, without crowds.
    Whether boxes lie in an image is the model's to check. Raises RequestError.
    """
    boxes: list[list[float]] = []
    for text in texts:
        if text.endswith(".json") or Path(text).is_file():
            boxes += _read(Path(text), Path(image))
        else:
            boxes.append(_typed(text, number=len(boxes)))
    if not boxes:
        raise RequestError("no boxes: give --boxes x1,y1,x2,y2 or a JSON file")
    return torch.tensor(boxes, dtype=torch.float32)


def parse_labels(texts: Sequence[str], *, names: Sequence[str], count: int) -> Tensor | None:
    """Labels [count] from 1, of class names or numbers; a single one for all boxes or one each. None without texts.

    Raises RequestError.
    """
    if not texts:
        return None
    if len(texts) not in (1, count):
        raise RequestError(f"--labels: {len(texts)} for {count} boxes; give one for all or one for each")
    labels = []
    for text in texts:
        if text in names:
            labels.append(names.index(text) + 1)
        elif text.isdigit() and 1 <= int(text) <= len(names):
            labels.append(int(text))
        else:
            shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise RequestError(f"--labels: no class {text!r}; there are {shown} (or their numbers, 1 to {len(names)})")
    return torch.tensor(labels * (count // len(labels)), dtype=torch.int64)


def _typed(text: str, *, number: int) -> list[float]:
    try:
        box = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        box = []
    if len(box) != 4:
        raise RequestError(f"--boxes, box {number}: {text!r} is neither x1,y1,x2,y2 in pixels nor a JSON file")
    return box


def _read(path: Path, image: Path) -> list[list[float]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); check --boxes") from None
    except ValueError as error:
        raise RequestError(f"{path} is not JSON: {error}") from None
    if isinstance(document, Mapping):
        if not isinstance(document.get("annotations"), list):
            raise RequestError(f"{path}: field 'annotations' is missing; give COCO's, or a plain list of boxes")
        entries = _of_image(document, image, path)
    else:
        entries = document
    if not isinstance(entries, list) or not entries:
        raise RequestError(f"{path}: no boxes in it; give a list of [x1,y1,x2,y2], or COCO annotations")
    if all(isinstance(entry, Mapping) for entry in entries):
        shown = {entry.get("image_id") for entry in entries}
        if len(shown) > 1:
            raise RequestError(
                f"{path}: boxes of {len(shown)} images (image_id); keep those of {image.name},"
                " or give the COCO document whose `images` say which these are"
            )
        found = [_four(entry.get("bbox"), f"{path}: entry {number}, bbox") for number, entry in enumerate(entries)]
        return [[x, y, x + width, y + height] for x, y, width, height in found]
    return [_four(entry, f"{path}: entry {number}") for number, entry in enumerate(entries)]


def _of_image(document: Mapping, image: Path, path: Path) -> list[Mapping]:
    entries = [entry for entry in document["annotations"] if isinstance(entry, Mapping) and not entry.get("iscrowd")]
    images = document.get("images")
    if not images:
        return entries
    keys = {entry["id"] for entry in images if Path(str(entry.get("file_name", ""))).name == image.name}
    if len(keys) != 1:
        raise RequestError(f"{path}: {len(keys)} of its `images` have the file name {image.name}; one must")
    return [entry for entry in entries if entry.get("image_id") in keys]


def _four(value: object, where: str) -> list[float]:
    numbers = isinstance(value, list) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    if not numbers or len(value) != 4:
        raise RequestError(f"{where} must be a list of four numbers, not {value!r}")
    return [float(number) for number in value]
