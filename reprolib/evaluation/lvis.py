"""LVIS's average precision: COCO's, over a federated ground truth (Gupta et al., CVPR 2019, section 3).

An image is annotated for some classes only. What differs from COCO's rules, as https://github.com/lvis-dataset/lvis-api
has it:
- The 300 highest-scoring detections of an image count, over all classes together, instead of 100 per class.
- A detection of a class that its image neither shows nor lists in `neg_category_ids` counts neither for nor against.
- Nor does an unmatched detection of a class in `not_exhaustive_category_ids`, whose objects are not all annotated.
- Nor does anything whose area is 0. There are no crowds.
- APr, APc and APf average the classes that the category's `frequency` calls rare, common and frequent.

hotcoco matches and accumulates: it gives what lvis-api gives (tests check this), which PyPI's release 0.5.3 of
that package no longer can on today's NumPy. The best 300 are taken here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import hotcoco

from reprolib.evaluation.coco import Accumulated, Area, IouType
from reprolib.evaluation.coco_inputs import EvaluationError, best_of_image, clean_detections, clean_ground_truth

MAX_DETECTIONS = 300  # of an image
FREQUENCIES = ("r", "c", "f")
FEDERATED = ("neg_category_ids", "not_exhaustive_category_ids")


@dataclass(frozen=True, kw_only=True)
class LvisAccumulated(Accumulated):
    """frequencies: r, c or f by class."""

    frequencies: tuple[str, ...] = ()

    def metrics(self) -> dict[str, float | None]:
        """AP, AP50, AP75, APs, APm, APl, AR300, ARs, ARm, ARl, APr, APc, APf; not the 1,203 classes one by one."""
        values = self.summary()
        for frequency in FREQUENCIES:
            classes = [index for index, name in enumerate(self.frequencies) if name == frequency]
            values[f"AP{frequency}"] = self.precision[:, :, classes, 0, -1]
        return self.percent(values)


def accumulate_lvis(
    ground_truth: Path | str | Mapping[str, object],
    detections: Sequence[Mapping[str, object]],
    iou_type: IouType,
    *,
    area: Area = "json",
) -> LvisAccumulated:
    """Match by LVIS's rules, then read `.metrics()` and `.curves()`.

    Args:
        ground_truth: LVIS annotation file, or its content: COCO's format with `frequency` of each category and the
            two lists of each image.
        detections, iou_type, area: as in `reprolib.evaluation.coco.evaluate`.

    Raises:
        EvaluationError: what cannot be evaluated, by file and id.
    """
    truth = clean_ground_truth(ground_truth, iou_type, area)
    check_federated(truth, where="ground truth" if isinstance(ground_truth, Mapping) else str(ground_truth))
    categories = sorted(truth["categories"], key=lambda category: category["id"])
    truth["annotations"] = [entry | {"iscrowd": 0} for entry in truth["annotations"] if entry["area"] > 0]
    best = best_of_image(clean_detections(truth, detections, iou_type), limit=MAX_DETECTIONS)
    results = truth | {"annotations": [entry for entry in best if entry["area"] > 0]}
    evaluation = hotcoco.LVISEval(hotcoco.COCO(truth), hotcoco.COCO(results), iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    return LvisAccumulated(
        precision=evaluation.eval["precision"],
        recall=evaluation.eval["recall"],
        iou_type=iou_type,
        class_names=tuple(str(category["name"]) for category in categories),
        limits=(MAX_DETECTIONS,),
        frequencies=tuple(category["frequency"] for category in categories),
    )


def check_federated(ground_truth: Mapping[str, object], *, where: str) -> None:
    """Raise EvaluationError where a ground truth lacks what LVIS adds to COCO's format; `where` begins the message."""
    for category in ground_truth["categories"]:
        if category.get("frequency") not in FREQUENCIES:
            raise EvaluationError(
                f"{where}: category {category['id']}: frequency must be r, c or f, not {category.get('frequency')!r};"
                " LVIS's own annotation files say it, other data sets are scored by protocol coco"
            )
    for image in ground_truth["images"]:
        for key in FEDERATED:
            if not isinstance(image.get(key), list):
                raise EvaluationError(f"{where}: image {image['id']} has no list {key!r}, as LVIS's own files do")
