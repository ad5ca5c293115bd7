"""Cityscapes' average precision of masks, by the benchmark's own rules, from COCO-format ground truth.

The rules are those of evaluation/evalInstanceLevelSemanticLabeling.py in https://github.com/mcordts/cityscapesScripts
(section 4.1 of Cordts et al., CVPR 2016). What differs from COCO's:
- A detection matches an object of its class where their IoU is above the threshold, not equal to it. Of several that
  match one object the best scored is right, the others are wrong; how the classes' objects overlap does not matter.
- Objects under 100 px are not evaluated, and neither are groups (crowds here).
- A detection that matches nothing, small objects and groups included, is left out where the share of its pixels on
  void labels, groups and small objects of its class is above the threshold; it is wrong otherwise. (A group under
  100 px counts twice in that share, as there.)
- All detections count. AP is the area under the raw precision-recall curve, one point per distinct score, each step
  half to either side of its point; classes without objects are not averaged.

The official package reads one PNG per detection and counts pixels object by object; here run lengths are intersected,
with the same integers, so the numbers are equal (tests check this), and it takes seconds. Where objects exist and all
detections of their class are left out the official script stops with an IndexError; here AP is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import hotcoco
import numpy as np
from PIL import Image

from reprolib.data.sets.cityscapes.labels import IDS_SUFFIX, IMAGE_SUFFIX, VOID
from reprolib.evaluation.coco_inputs import (
    EvaluationError,
    by_image_and_class,
    clean_detections,
    clean_ground_truth,
    load,
)

OFFICIAL = "rules of cityscapesScripts 2.3.0"
THRESHOLDS = np.arange(0.5, 1.0, 0.05)  # the official script's own, with their rounding errors
SMALLEST = 100  # px of an object that is evaluated


def evaluate_cityscapes(
    ground_truth: Path | str | Mapping[str, object],
    detections: Sequence[Mapping[str, object]],
    *,
    void: Mapping[object, Mapping[str, object]],
) -> dict[str, float | None]:
    """AP of masks over IoU 0.50:0.95 and at 0.50, over all classes and per class.

    Args:
        ground_truth, detections: as in `reprolib.evaluation.coco.evaluate`, for masks; groups are crowds.
        void: by image id, the image's void pixels as compressed RLE (see `read_void`); images without any may lack.

    Returns:
        Percent, or None without objects: segm/AP, segm/AP50, segm/AP/<class>, segm/AP50/<class>.

    Raises:
        EvaluationError: what cannot be evaluated, by file and id.
    """
    truth = clean_ground_truth(ground_truth, "segm", "mask")
    objects = by_image_and_class(truth["annotations"])
    detected = by_image_and_class(d for d in clean_detections(truth, detections, "segm") if d["area"] > 0)
    categories = sorted(truth["categories"], key=lambda category: category["id"])
    table = np.array(
        [
            _average_precision(
                [
                    _compare(objects[key], detected[key], void.get(key[0]))
                    for key in ((image["id"], category["id"]) for image in truth["images"])
                    if key in objects or key in detected
                ]
            )
            for category in categories
        ]
    )  # [classes, thresholds]
    values = {"AP": table, "AP50": table[:, 0]}
    for category, row in zip(categories, table, strict=True):
        values |= {f"AP/{category['name']}": row, f"AP50/{category['name']}": row[:1]}
    return {
        f"segm/{name}": None if np.isnan(value).all() else 100.0 * float(np.nanmean(value))
        for name, value in values.items()
    }


def read_void(images: Path, ground_truth: Path | str | Mapping[str, object]) -> dict[object, dict[str, object]]:
    """The void pixels of each image, compressed RLE by image id, from the instanceIds images beside `leftImg8bit`.

    images: `<folder>/leftImg8bit/<split>`, from where the ground truth's `file_name` starts; what is read is
    `<folder>/gtFine/<split>/<city>/*_gtFine_instanceIds.png`. Raises EvaluationError where one is missing, unreadable
    or of another size than its image.
    """
    where, document = load(ground_truth)
    is_void = np.zeros(2**16, np.uint8)
    is_void[list(VOID)] = 1
    void = {}
    for image in document["images"]:
        name = image["file_name"].removesuffix(IMAGE_SUFFIX) + IDS_SUFFIX
        path = Path(images).parent.parent / "gtFine" / Path(images).name / name
        try:
            with Image.open(path) as opened:
                ids = np.asarray(opened)
        except (OSError, SyntaxError) as error:
            raise EvaluationError(
                f"{path}: void regions cannot be read ({error}); unpack gtFine_trainvaltest.zip beside leftImg8bit"
            ) from None
        if ids.shape != (image["height"], image["width"]) or ids.dtype.kind not in "iu":
            raise EvaluationError(
                f"{path}: {ids.dtype} {list(ids.shape)}, but image {image['id']} of {where} has"
                f" {image['height']} x {image['width']}; unpack gtFine_trainvaltest.zip again"
            )
        rle = hotcoco.mask.encode(np.asfortranarray(is_void[ids]))
        void[image["id"]] = {"size": list(ids.shape), "counts": rle["counts"]}
    return void


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """A class in an image: N detections, G objects that are evaluated.

    iou: Float64 [N, G]. known: Float64 [N], the best IoU with any object or group. ignorable: Float64 [N], share of
    pixels that are not judged. scores: Float64 [N].
    """

    iou: np.ndarray
    known: np.ndarray
    ignorable: np.ndarray
    scores: np.ndarray


def _compare(
    objects: Sequence[Mapping], detections: Sequence[Mapping], void: Mapping[str, object] | None
) -> _Comparison:
    sizes = np.array([entry["area"] for entry in objects])  # of masks, in px
    small, group = sizes < SMALLEST, np.array([entry["iscrowd"] for entry in objects], dtype=bool)
    evaluated = ~small & ~group
    area = np.array([entry["area"] for entry in detections])
    common = _intersections(
        [entry["segmentation"] for entry in detections], [entry["segmentation"] for entry in objects], area
    )
    iou = common / (area[:, None] + sizes - common)
    unjudged = (common * group).sum(axis=1) + (common * small).sum(axis=1)
    if void is not None and len(detections):
        unjudged = unjudged + _intersections([entry["segmentation"] for entry in detections], [void], area)[:, 0]
    return _Comparison(
        iou=iou[:, evaluated],
        known=iou.max(axis=1, initial=0.0),
        ignorable=unjudged / area,
        scores=np.array([entry["score"] for entry in detections]),
    )


def _intersections(detections: list[Mapping], others: list[Mapping], area: np.ndarray) -> np.ndarray:
    """Pixels in common, Float64 [N, G]: with a crowd, IoU is the intersection over the detection's area."""
    if not detections or not others:
        return np.zeros((len(detections), len(others)))
    return np.rint(hotcoco.mask.iou(detections, others, [True] * len(others)) * area[:, None])


def _average_precision(images: Sequence[_Comparison]) -> np.ndarray:
    """AP of one class at each threshold, NaN without objects."""
    count = sum(image.iou.shape[1] for image in images)
    if not count:
        return np.full(len(THRESHOLDS), np.nan)
    return np.array([_at_threshold(images, threshold, objects=count) for threshold in THRESHOLDS])


def _at_threshold(images: Sequence[_Comparison], threshold: float, *, objects: int) -> float:
    right, wrong = [], []  # scores
    for image in images:
        matches = image.iou > threshold  # at most one object per detection, since objects do not overlap
        for column in matches.T:
            scores = np.sort(image.scores[column])
            right.append(scores[-1:])
            wrong.append(scores[:-1])
        wrong.append(image.scores[(image.known <= threshold) & (image.ignorable <= threshold)])
    right, wrong = np.concatenate([[], *right]), np.concatenate([[], *wrong])
    scores = np.concatenate([right, wrong])
    if not len(scores):
        return 0.0
    order = np.argsort(scores)
    is_right = np.repeat([1.0, 0.0], [len(right), len(wrong)])[order]
    _, first = np.unique(scores[order], return_index=True)  # keep the detections from here on, of one score or higher
    kept_right = np.cumsum(is_right[::-1])[::-1][first]
    precision = np.append(kept_right / (len(scores) - first), 1.0)
    recall = np.append(kept_right / objects, 0.0)
    steps = np.convolve(np.concatenate([recall[:1], recall, [0.0]]), [-0.5, 0.0, 0.5], "valid")
    return float(precision @ steps)
