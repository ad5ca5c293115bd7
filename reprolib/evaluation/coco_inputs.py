"""What COCO's evaluation reads of a ground truth and of detections: checked, copied, free of quirks.

Where real data differs from what COCO's code expects:
- Annotation ids are renumbered from 1, since COCO's code treats a match with annotation 0 as no match.
- A missing `iscrowd` is 0. A missing `area` is the mask's pixel count, or the box's area without a mask.
- `area` puts an object into the small, medium or large bin. COCO uses the JSON's value, and so do we by
  default (area="json"), but some data sets write the box's area there; area="mask" counts pixels instead.
- The area of a detection is its own mask's (iou_type "segm") or box's ("bbox"), never mixed.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import hotcoco
from pycocotools import mask as pycocotools_mask


class EvaluationError(ValueError):
    """Ground truth or detections that cannot be evaluated; the message names file, id and mend."""


def clean_ground_truth(source: Path | str | Mapping[str, object], iou_type: str, area: str) -> dict:
    """Images, categories and annotations with id from 1, iscrowd, area, bbox and, for "segm", compressed RLE.

    The source is left as it is. Raises EvaluationError.
    """
    where, document = load(source)
    for key in ("images", "annotations", "categories"):
        if not isinstance(document, Mapping) or not isinstance(document.get(key), list):
            raise EvaluationError(f"{where}: COCO ground truth has a list {key!r}; this has none")
    names = [category["name"] for category in document["categories"]]
    if len(set(names)) != len(names):
        raise EvaluationError(f"{where}: two categories share a name, so results per class would be mixed up")
    images = {image["id"]: image for image in document["images"]}
    categories = {category["id"] for category in document["categories"]}
    annotations = []
    for number, annotation in enumerate(document["annotations"], start=1):
        name = f"{where}: annotation {annotation.get('id')}"
        clean = _identity(annotation, number, name)
        for key, known in (("image_id", images), ("category_id", categories)):
            if clean[key] not in known:
                raise EvaluationError(f"{name}: {key} {clean[key]} does not exist in this file")
        clean["iscrowd"] = int(annotation.get("iscrowd") or 0)
        segmentation, box, json_area = (annotation.get(key) for key in ("segmentation", "bbox", "area"))
        rle = None
        # decoding polygons is slow, so it is done only where the mask is needed
        if segmentation and (iou_type == "segm" or not box or json_area is None or area == "mask"):
            rle = _encoded(segmentation, images[clean["image_id"]], name)
        if rle is None and (iou_type == "segm" or area == "mask"):
            mend = 'evaluate "bbox" with area="json", or add the mask'
            raise EvaluationError(f"{name} has no segmentation; {mend}")
        if rle is None and not box:
            raise EvaluationError(f"{name} has neither bbox nor segmentation")
        clean["bbox"] = _box(box, name) if box else pycocotools_mask.toBbox(rle).tolist()
        if area == "mask" or (json_area is None and rle is not None):
            clean["area"] = float(pycocotools_mask.area(rle))
        else:
            clean["area"] = float(clean["bbox"][2] * clean["bbox"][3] if json_area is None else json_area)
        if iou_type == "segm":
            clean["segmentation"] = rle
        annotations.append(clean)
    return {
        "images": document["images"],
        "categories": document["categories"],
        "annotations": annotations,
    }


def clean_detections(truth: dict, detections: Sequence[Mapping[str, object]], iou_type: str) -> list[dict]:
    """COCO results as annotations that hold only what this IoU type reads. Raises EvaluationError.

    Args:
        truth: from `clean_ground_truth`.
    """
    images = {image["id"]: image for image in truth["images"]}
    categories = {category["id"] for category in truth["categories"]}
    cleaned = []
    unknown: dict[str, set] = {"image_id": set(), "category_id": set()}
    for number, detection in enumerate(detections, start=1):
        name = f"detection {number} (image {detection.get('image_id')})"
        clean = _identity(detection, number, name)
        if clean["image_id"] not in images or clean["category_id"] not in categories:
            unknown["image_id"] |= {clean["image_id"]} - set(images)
            unknown["category_id"] |= {clean["category_id"]} - categories
            continue
        score = detection.get("score")
        if iou_type == "segm":
            score = detection.get("mask_score", score)
        if not isinstance(score, (int, float)) or not math.isfinite(score):
            raise EvaluationError(f"{name}: score must be a finite number, not {score!r}")
        clean |= {"score": float(score), "iscrowd": 0}
        field = "segmentation" if iou_type == "segm" else "bbox"
        if not detection.get(field):
            raise EvaluationError(f"{name} has no {field}")
        if iou_type == "segm":
            clean["segmentation"] = _encoded(detection["segmentation"], images[clean["image_id"]], name)
        else:
            clean["bbox"] = _box(detection["bbox"], name)
            clean["area"] = clean["bbox"][2] * clean["bbox"][3]
        cleaned.append(clean)
    for key, ids in unknown.items():
        if ids:
            shown = ", ".join(str(i) for i in sorted(ids)[:5]) + (" ..." if len(ids) > 5 else "")
            raise EvaluationError(
                f"detections have {key} {shown}, which the ground truth lacks; were they made on another"
                " split, or with contiguous labels in place of category ids?"
            )
    if iou_type == "segm":
        masks = [clean["segmentation"] for clean in cleaned]  # in a single call: ten times faster
        for clean, box, area in zip(
            cleaned, hotcoco.mask.to_bbox(masks).tolist(), hotcoco.mask.area(masks).tolist(), strict=True
        ):
            clean |= {"bbox": box, "area": float(area)}
    return cleaned


def by_image(entries: Iterable[Mapping]) -> dict[object, list[Mapping]]:
    """Annotations or detections by image id, in order; an image without any has an empty list."""
    grouped = defaultdict(list)
    for entry in entries:
        grouped[entry["image_id"]].append(entry)
    return grouped


def by_image_and_class(entries: Iterable[Mapping]) -> dict[tuple[object, object], list[Mapping]]:
    """Annotations or detections by image id and category id, in order; empty lists as in `by_image`."""
    grouped = defaultdict(list)
    for entry in entries:
        grouped[entry["image_id"], entry["category_id"]].append(entry)
    return grouped


def best_of_image(detections: Iterable[Mapping], *, limit: int) -> list[Mapping]:
    """Of each image the `limit` highest-scoring detections, at equal scores those that come first; images in order."""
    return [
        detection
        for own in by_image(detections).values()
        for detection in (own if len(own) <= limit else sorted(own, key=lambda entry: -entry["score"])[:limit])
    ]


def load(source: Path | str | Mapping[str, object]) -> tuple[str, object]:
    """How messages name a ground truth, and its content. Raises EvaluationError."""
    if isinstance(source, Mapping):
        return "ground truth", source
    try:
        return str(source), json.loads(Path(source).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EvaluationError(f"{source}: no such annotation file") from None
    except ValueError as error:
        raise EvaluationError(f"{source} is not JSON: {error}") from None


def _identity(entry: Mapping[str, object], number: int, name: str) -> dict:
    missing = [key for key in ("image_id", "category_id") if key not in entry]
    if missing:
        raise EvaluationError(f"{name} has no {missing[0]}")
    return {"id": number, "image_id": entry["image_id"], "category_id": entry["category_id"]}


def _box(box: Sequence[float], name: str) -> list[float]:
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        raise EvaluationError(f"{name}: bbox must be four finite numbers x, y, width, height, not {box}")
    return [float(value) for value in box]


def _encoded(segmentation: object, image: Mapping[str, object], name: str) -> dict:
    """Any COCO segmentation as compressed RLE; an RLE of another size than its image is refused."""
    size = [image.get("height"), image.get("width")]
    if None in size:
        raise EvaluationError(f"{name}: image {image['id']} has no height and width")
    if isinstance(segmentation, list):
        if any(not isinstance(p, list) or len(p) < 6 or len(p) % 2 for p in segmentation):
            raise EvaluationError(f"{name}: a polygon needs at least three points, written x, y, x, y, x, y")
        return pycocotools_mask.merge(pycocotools_mask.frPyObjects(segmentation, *size))
    if not isinstance(segmentation, Mapping) or not {"size", "counts"} <= set(segmentation):
        raise EvaluationError(f"{name}: segmentation must be polygons or an RLE with size and counts")
    if list(segmentation["size"]) != size:
        found = list(segmentation["size"])
        raise EvaluationError(f"{name}: RLE has [height, width] {found}, its image {size}")
    if isinstance(segmentation["counts"], list):
        return pycocotools_mask.frPyObjects(dict(segmentation), *size)
    return {"size": size, "counts": segmentation["counts"]}
