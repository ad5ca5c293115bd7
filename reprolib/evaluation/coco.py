"""COCO's average precision and recall for boxes and masks: one adapter, two backends.

pycocotools is the reference; hotcoco gives the same arrays many times faster (tests hold the two equal).
Both only fill the precision and recall arrays: the twelve numbers, the per-class ones and the curves are read
from these by the same few lines here, in percent, with None where COCO prints -1 (no such object).
Which quirks of real data are mended before: `reprolib.evaluation.coco_inputs`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import hotcoco
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from reprolib.evaluation.coco_inputs import EvaluationError, clean_detections, clean_ground_truth

IouType = Literal["bbox", "segm"]
Backend = Literal["pycocotools", "hotcoco"]
Area = Literal["json", "mask"]

IOU_50, IOU_75 = 0, 5  # positions in COCO's thresholds 0.50, 0.55, ... 0.95
AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True, kw_only=True)
class Accumulated:
    """What both backends fill.

    precision: Float64 [10 IoU thresholds, 101 recalls, K classes, 4 areas, 3 limits], -1 where undefined.
    recall: Float64 [10, K, 4, 3], likewise.
    """

    precision: np.ndarray
    recall: np.ndarray
    iou_type: str
    class_names: tuple[str, ...]
    max_detections: int

    def metrics(self) -> dict[str, float | None]:
        """The numbers of `evaluate`."""
        last = -1  # the three limits are 1, 10, max_detections; AP is taken at the last
        values = {
            "AP": self.precision[:, :, :, 0, last],
            "AP50": self.precision[IOU_50, :, :, 0, last],
            "AP75": self.precision[IOU_75, :, :, 0, last],
        }
        for area in (1, 2, 3):
            values[f"AP{AREAS[area][0]}"] = self.precision[:, :, :, area, last]
        for position, limit in enumerate((1, 10, self.max_detections)):
            values[f"AR{limit}"] = self.recall[:, :, 0, position]
        for area in (1, 2, 3):
            values[f"AR{AREAS[area][0]}"] = self.recall[:, :, area, last]
        for index, name in enumerate(self.class_names):
            values[f"AP/{name}"] = self.precision[:, :, index, 0, last]
            values[f"AP50/{name}"] = self.precision[IOU_50, :, index, 0, last]
        return {f"{self.iou_type}/{key}": _percent(value) for key, value in values.items()}

    def curves(self) -> dict[str, list[float]]:
        """The curves of `precision_recall`."""
        curves = {"recall": np.linspace(0.0, 1.0, 101).round(2).tolist()}
        for name, threshold in (("50", IOU_50), ("75", IOU_75)):
            precision = self.precision[threshold, :, :, 0, -1]  # [101, K]
            present = precision[:, (precision > -1).all(axis=0)]
            curves[f"{self.iou_type}/{name}"] = present.mean(axis=1).tolist() if present.size else []
        return curves


def evaluate(
    ground_truth: Path | str | Mapping[str, object],
    detections: Sequence[Mapping[str, object]],
    iou_type: IouType,
    *,
    backend: Backend = "pycocotools",
    max_detections: int = 100,
    area: Area = "json",
) -> dict[str, float | None]:
    """Average precision and recall over IoU 0.50:0.95, as COCO defines them.

    Args:
        ground_truth: COCO annotation file, or its content.
        detections: COCO results: image_id, category_id, score, and `bbox` (xywh, pixels) or `segmentation`
            (RLE or polygons), as iou_type needs. Where `mask_score` is given, it ranks masks, not `score`.
        max_detections: highest-scoring detections per image and class that count; COCO's standard is 100.
            Sets with more objects per image want more: AR100 is then called after the number given.
        area: whose area bins the ground truth by size, the JSON's own or the mask's pixel count.

    Returns:
        Percent, or None where the ground truth has no such object, under `<iou_type>/<metric>`. The metrics:
        AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR<max_detections>, ARs, ARm, ARl, AP/<class>, AP50/<class>.

    Raises:
        EvaluationError: what cannot be evaluated, by file and id.
    """
    return accumulate(
        ground_truth, detections, iou_type, backend=backend, max_detections=max_detections, area=area
    ).metrics()


def precision_recall(
    ground_truth: Path | str | Mapping[str, object],
    detections: Sequence[Mapping[str, object]],
    iou_type: IouType,
    *,
    backend: Backend = "pycocotools",
    max_detections: int = 100,
) -> dict[str, list[float]]:
    """Precision at 101 recalls, averaged over the classes that have objects; values in 0..1.

    Returns:
        `recall` (0, 0.01, ... 1) and `<iou_type>/50`, `<iou_type>/75`, the precision at IoU 0.50 and 0.75:
        101 values each, or none where the ground truth has no object. Curves of both IoU types join by `|`.
    """
    return accumulate(ground_truth, detections, iou_type, backend=backend, max_detections=max_detections).curves()


def accumulate(
    ground_truth: Path | str | Mapping[str, object],
    detections: Sequence[Mapping[str, object]],
    iou_type: IouType,
    *,
    backend: Backend = "pycocotools",
    max_detections: int = 100,
    area: Area = "json",
) -> Accumulated:
    """Match once, then read `.metrics()` and `.curves()`; arguments and errors as in `evaluate`."""
    for name, value, allowed in (
        ("iou_type", iou_type, ("bbox", "segm")),
        ("backend", backend, tuple(_BACKENDS)),
        ("area", area, ("json", "mask")),
    ):
        if value not in allowed:
            raise EvaluationError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    if max_detections <= 10:
        raise EvaluationError(f"max_detections must be above 10, where recall is taken too, not {max_detections}")
    truth = clean_ground_truth(ground_truth, iou_type, area)
    results = truth | {"annotations": clean_detections(truth, detections, iou_type)}
    categories = sorted(truth["categories"], key=lambda category: category["id"])
    precision, recall = _BACKENDS[backend](truth, results, iou_type, [1, 10, max_detections])
    return Accumulated(
        precision=precision,
        recall=recall,
        iou_type=iou_type,
        class_names=tuple(str(category["name"]) for category in categories),
        max_detections=max_detections,
    )


def _pycocotools(truth: dict, results: dict, iou_type: str, limits: list[int]) -> tuple[np.ndarray, np.ndarray]:
    with contextlib.redirect_stdout(io.StringIO()):
        indexed = []
        for document in (truth, results):
            coco = COCO()
            coco.dataset = document
            coco.createIndex()
            indexed.append(coco)
        evaluation = COCOeval(*indexed, iou_type)
        evaluation.params.maxDets = limits
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"]


def _hotcoco(truth: dict, results: dict, iou_type: str, limits: list[int]) -> tuple[np.ndarray, np.ndarray]:
    evaluation = hotcoco.COCOeval(hotcoco.COCO(truth), hotcoco.COCO(results), iou_type)
    evaluation.params.max_dets = limits
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"]


_BACKENDS = {"pycocotools": _pycocotools, "hotcoco": _hotcoco}


def _percent(values: np.ndarray) -> float | None:
    defined = values[values > -1]
    return 100.0 * float(np.mean(defined)) if defined.size else None
