"""COCO's average precision and recall for boxes and masks: one adapter, two backends.

pycocotools is the reference; hotcoco gives the same arrays many times faster (tests check that both are equal).
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
from reprolib.evaluation.matches import Matches, read_matches

IouType = Literal["bbox", "segm"]
Backend = Literal["pycocotools", "hotcoco"]
Area = Literal["json", "mask"]

IOU_50, IOU_75 = 0, 5  # positions in COCO's thresholds 0.50, 0.55, ... 0.95
AREAS = ("all", "small", "medium", "large")
COCO_SIZES = (0, 32**2, 96**2)  # px from which an object is small, medium, large
LARGEST = 1e10


@dataclass(frozen=True, kw_only=True)
class Accumulated:
    """What both backends fill.

    precision: Float64 [10 IoU thresholds, 101 recalls, K classes, 4 areas, L limits], -1 where undefined.
    recall: Float64 [10, K, 4, L], likewise.
    limits: highest-scoring detections that count, L numbers, ascending; AP is taken at the last.
    matches: of each image, at the last limit, where they were to be kept.
    """

    precision: np.ndarray
    recall: np.ndarray
    iou_type: str
    class_names: tuple[str, ...]
    limits: tuple[int, ...]
    matches: Matches | None = None

    def metrics(self) -> dict[str, float | None]:
        """The numbers of `evaluate`."""
        values = self.summary()
        for index, name in enumerate(self.class_names):
            values[f"AP/{name}"] = self.precision[:, :, index, 0, -1]
            values[f"AP50/{name}"] = self.precision[IOU_50, :, index, 0, -1]
        return self.percent(values)

    def summary(self) -> dict[str, np.ndarray]:
        """What each number over all classes is the mean of, by metric."""
        values = {
            "AP": self.precision[:, :, :, 0, -1],
            "AP50": self.precision[IOU_50, :, :, 0, -1],
            "AP75": self.precision[IOU_75, :, :, 0, -1],
        }
        for area in (1, 2, 3):
            values[f"AP{AREAS[area][0]}"] = self.precision[:, :, :, area, -1]
        for position, limit in enumerate(self.limits):
            values[f"AR{limit}"] = self.recall[:, :, 0, position]
        for area in (1, 2, 3):
            values[f"AR{AREAS[area][0]}"] = self.recall[:, :, area, -1]
        return values

    def percent(self, values: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """Means of what is defined, in percent, under `<iou_type>/<metric>`."""
        return {f"{self.iou_type}/{key}": percent(value) for key, value in values.items()}

    def curves(self) -> dict[str, list[float]]:
        """Precision at 101 recalls, averaged over the classes that have objects; values in 0..1.

        Returns:
            `recall` (0, 0.01, ... 1) and `<iou_type>/50`, `<iou_type>/75`, the precision at IoU 0.50 and 0.75: 101
            values each, or none where the ground truth has no object. Curves of both IoU types join by `|`.
        """
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
    sizes: Sequence[float] = COCO_SIZES,
) -> dict[str, float | None]:
    """Average precision and recall over IoU 0.50:0.95, as COCO defines them.

    Args:
        ground_truth: COCO annotation file, or its content.
        detections: COCO results: image_id, category_id, score, and `bbox` (xywh, pixels) or `segmentation`
            (RLE or polygons), as iou_type needs. Where `mask_score` is given, it ranks masks, not `score`.
        max_detections: highest-scoring detections per image and class that count; COCO's standard is 100.
            Sets with more objects per image want more: AR100 is then called after the number given.
        area: whose area bins the ground truth by size, the JSON's own or the mask's pixel count. The default is the
            JSON's, as the benchmarks' own tools have it, so that numbers are those that publications print.
        sizes: areas in px from which an object is small, medium and large.

    Returns:
        Percent, or None where the ground truth has no such object, under `<iou_type>/<metric>`. The metrics:
        AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR<max_detections>, ARs, ARm, ARl, AP/<class>, AP50/<class>.

    Raises:
        EvaluationError: what cannot be evaluated, by file and id.
    """
    return accumulate(
        ground_truth, detections, iou_type, backend=backend, max_detections=max_detections, area=area, sizes=sizes
    ).metrics()


def accumulate(
    ground_truth: Path | str | Mapping[str, object],
    detections: Sequence[Mapping[str, object]],
    iou_type: IouType,
    *,
    backend: Backend = "pycocotools",
    max_detections: int = 100,
    area: Area = "json",
    sizes: Sequence[float] = COCO_SIZES,
    keep_matches: bool = False,
) -> Accumulated:
    """Match once, then read `.metrics()`, `.curves()` and, if they are to be kept, `.matches`; arguments and errors as
    in `evaluate`."""
    for name, value, allowed in (
        ("iou_type", iou_type, ("bbox", "segm")),
        ("backend", backend, tuple(BACKENDS)),
        ("area", area, ("json", "mask")),
    ):
        if value not in allowed:
            raise EvaluationError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    if max_detections <= 10:
        raise EvaluationError(f"max_detections must be above 10, where recall is taken too, not {max_detections}")
    truth = clean_ground_truth(ground_truth, iou_type, area)
    results = truth | {"annotations": clean_detections(truth, detections, iou_type)}
    categories = sorted(truth["categories"], key=lambda category: category["id"])
    limits = (1, 10, max_detections)
    evaluation = BACKENDS[backend](truth, results, iou_type, limits=limits, sizes=sizes)
    matches = None
    if keep_matches:
        ids = [image["id"] for image in truth["images"]]
        matches = read_matches(evaluation.evalImgs, image_ids=ids, categories=categories, areas=area_ranges(sizes))
    return Accumulated(
        precision=evaluation.eval["precision"],
        recall=evaluation.eval["recall"],
        matches=matches,
        iou_type=iou_type,
        class_names=tuple(str(category["name"]) for category in categories),
        limits=limits,
    )


def _pycocotools(
    truth: dict, results: dict, iou_type: str, *, limits: Sequence[int], sizes: Sequence[float]
) -> COCOeval:
    return by_pycocotools(COCOeval, truth, results, iou_type, limits=limits, areas=area_ranges(sizes))


def by_pycocotools(
    evaluator: type[COCOeval],
    truth: dict,
    results: dict,
    iou_type: str,
    *,
    limits: Sequence[int],
    areas: list[list[float]],
) -> COCOeval:
    """Match and accumulate silently by pycocotools' class, or one made of it; arguments as in `BACKENDS`."""
    with contextlib.redirect_stdout(io.StringIO()):
        indexed = []
        for document in (truth, results):
            coco = COCO()
            coco.dataset = document
            coco.createIndex()
            indexed.append(coco)
        evaluation = evaluator(*indexed, iou_type)
        evaluation.params.maxDets, evaluation.params.areaRng = list(limits), areas
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _hotcoco(
    truth: dict, results: dict, iou_type: str, *, limits: Sequence[int], sizes: Sequence[float]
) -> hotcoco.COCOeval:
    evaluation = hotcoco.COCOeval(hotcoco.COCO(truth), hotcoco.COCO(results), iou_type)
    evaluation.params.max_dets, evaluation.params.area_rng = list(limits), area_ranges(sizes)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def area_ranges(sizes: Sequence[float]) -> list[list[float]]:
    """Areas of all, small, medium and large objects."""
    small, medium, large = sizes
    return [[0, LARGEST], [small, medium], [medium, large], [large, LARGEST]]


# Each gives an evaluation from a clean ground truth and its copy with detections in place of annotations (see
# `reprolib.evaluation.coco_inputs`): `eval` holds `precision` and `recall` of `Accumulated`, `evalImgs` the matches.
BACKENDS = {"pycocotools": _pycocotools, "hotcoco": _hotcoco}


def percent(values: np.ndarray) -> float | None:
    """The mean of what is defined, in percent; None where nothing is (-1)."""
    defined = values[values > -1]
    return 100.0 * float(np.mean(defined)) if defined.size else None
