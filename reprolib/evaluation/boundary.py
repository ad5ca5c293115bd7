"""Boundary AP: COCO's average precision with Boundary IoU (Cheng et al., CVPR 2021, Boundary IoU).

A mask's boundary region is its pixels within d of its contour, d being 2 % of the image's diagonal, rounded, at least
1. The image's border counts as contour. A detection matches an object by the smaller of their mask IoU and the
IoU of their boundary regions; crowds, whose contour has no meaning, are matched by their mask, as in the publication's
code. All else is COCO's evaluation, which pycocotools does here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import hotcoco
import numpy as np
from pycocotools.cocoeval import COCOeval

from reprolib.evaluation.coco import IOU_50, IOU_75, LARGEST, by_pycocotools, percent
from reprolib.evaluation.coco_inputs import clean_detections, clean_ground_truth
from reprolib.evaluation.morphology import cut_out, decode, erode

DILATION_RATIO = 0.02  # of the diagonal, as published for COCO


def evaluate_boundary(
    ground_truth: Path | str | Mapping[str, object],
    detections: Sequence[Mapping[str, object]],
    *,
    max_detections: int = 100,
) -> dict[str, float | None]:
    """Boundary AP over IoU 0.50:0.95 and all sizes.

    Args:
        ground_truth, detections, max_detections: as in `reprolib.evaluation.coco.evaluate`, for masks.

    Returns:
        Percent, or None without objects, under `boundary/AP`, `boundary/AP50`, `boundary/AP75`.

    Raises:
        EvaluationError: what cannot be evaluated, by file and id.
    """
    truth = clean_ground_truth(ground_truth, "segm", "json")
    results = truth | {"annotations": clean_detections(truth, detections, "segm")}
    areas = [[0, LARGEST]]
    evaluation = by_pycocotools(_BoundaryEvaluation, truth, results, "segm", limits=[max_detections], areas=areas)
    precision = evaluation.eval["precision"][..., 0, 0]  # [10 IoU thresholds, 101 recalls, K classes]
    values = {"AP": precision, "AP50": precision[IOU_50], "AP75": precision[IOU_75]}
    return {f"boundary/{name}": percent(value) for name, value in values.items()}


def boundary_region(rle: Mapping[str, object]) -> dict[str, object]:
    """The pixels of a mask that lie within d of its contour or of the image's border, RLE to RLE."""
    height, width = rle["size"]
    reach = max(1, round(DILATION_RATIO * math.hypot(height, width)))
    where = cut_out(rle)  # outside of its box there is no pixel of the mask
    mask = decode(rle)
    if mask[where].size:
        mask[where] &= ~erode(mask[where], reach, outside=False)
    return hotcoco.mask.encode(mask.view(np.uint8))


class _BoundaryEvaluation(COCOeval):
    def computeIoU(self, imgId: int, catId: int) -> np.ndarray | list:
        ious = super().computeIoU(imgId, catId)  # [detections by falling score, objects]
        if not len(ious):
            return ious
        # A pair whose mask IoU is below the lowest threshold never matches, whatever its boundary IoU. Most pairs are
        # like this. Only the others need the IoU of the boundaries, which takes most of the time.
        objects = self._gts[imgId, catId]
        near = (ious >= self.params.iouThrs[0]) & [not entry["iscrowd"] for entry in objects]
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        if len(rows):
            detections = sorted(self._dts[imgId, catId], key=lambda entry: -entry["score"])
            regions = hotcoco.mask.iou(
                [boundary_region(detections[index]["segmentation"]) for index in rows],
                [boundary_region(objects[index]["segmentation"]) for index in columns],
                [False] * len(columns),
            )
            pairs = np.ix_(rows, columns)
            ious[pairs] = np.minimum(ious[pairs], regions)
        return ious
