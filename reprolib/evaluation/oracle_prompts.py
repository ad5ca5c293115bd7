"""Automatic results joined by masks prompted with the ground truth's own boxes of what was missed: an oracle.

Insight Any Instance, section IV.F and Table XI. The ground truth is used at test time, so the numbers are no detector's
accuracy: they say what a person who boxes every missed instance would gain. All carry the name `oracle/`.

The paper leaves open what follows.
- Missed is an instance, no crowd, that no detection of its class covers with a mask IoU of 0.5 or more, whatever the
  detection's score: the detections are those that the run is evaluated by.
- The prompt is the box around the instance's mask; an instance without a pixel cannot be prompted.
- The class is the model's, not the ground truth's, and so is the score that ranks the mask among the others.
- Of an image's joined results, the best by score count, as many as the model may detect (100); at equal scores
  detections come first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from pycocotools import mask as pycocotools_mask

from reprolib.evaluation.coco import COCO_SIZES, evaluate
from reprolib.evaluation.coco_inputs import best_of_image, by_image_and_class, clean_detections, clean_ground_truth

MISSED_BELOW = 0.5  # mask IoU


def missed_boxes(
    ground_truth: Path | str | Mapping[str, object], detections: Sequence[Mapping[str, object]]
) -> dict[object, list[list[float]]]:
    """Boxes [x1,y1,x2,y2] of the missed instances by image id, in the order of the annotations.

    Arguments and errors as in `reprolib.evaluation.coco.evaluate`.
    """
    truth = clean_ground_truth(ground_truth, "segm", "json")
    detected = by_image_and_class(clean_detections(truth, detections, "segm"))
    missed = defaultdict(list)
    for annotation in truth["annotations"]:
        mask = annotation["segmentation"]
        if annotation["iscrowd"] or pycocotools_mask.area(mask) == 0:
            continue
        # mask by mask: pycocotools overflows on lists of more than 255 masks under numpy 2
        candidates = detected[annotation["image_id"], annotation["category_id"]]
        ious = (pycocotools_mask.iou([other["segmentation"]], [mask], [0])[0, 0] for other in candidates)
        if not any(iou >= MISSED_BELOW for iou in ious):
            x, y, width, height = pycocotools_mask.toBbox(mask).tolist()
            missed[annotation["image_id"]].append([x, y, x + width, y + height])
    return dict(missed)


def evaluate_oracle(
    ground_truth: Path | str | Mapping[str, object],
    detections: Sequence[Mapping[str, object]],
    prompted: Sequence[Mapping[str, object]],
    *,
    limit: int,
    max_detections: int = 100,
    sizes: Sequence[float] = COCO_SIZES,
) -> dict[str, float | None]:
    """`oracle/segm/<metric>` over all classes, as `reprolib.evaluation.coco.evaluate` defines them, and
    `oracle/prompted`: prompts per 100 instances; all in percent.

    limit: results that count per image. prompted: COCO results of the prompts that `missed_boxes` gives.
    """
    all_results = best_of_image([*detections, *prompted], limit=limit)
    metrics = evaluate(ground_truth, all_results, "segm", max_detections=max_detections, sizes=sizes)
    truth = clean_ground_truth(ground_truth, "segm", "json")
    instances = sum(not annotation["iscrowd"] for annotation in truth["annotations"])
    share = 100 * len(prompted) / instances if instances else None
    return {f"oracle/{name}": value for name, value in metrics.items() if name.count("/") == 1} | {
        "oracle/prompted": share
    }
