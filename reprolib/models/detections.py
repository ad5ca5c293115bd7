"""From scores and boxes to an image's detections: threshold, NMS per class, the best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image, nms, remove_small_boxes

from reprolib.models.parts import POST_PROCESSING, part
from reprolib.params import Scale


@dataclass(frozen=True, kw_only=True)
class DetectionRule:
    """What counts as a detection."""

    score_threshold: float
    detections: int  # per image
    nms_threshold: float = 0.5


def detection_rule(scale: Scale, *, own_threshold: float = 0.05) -> DetectionRule:
    """The scale's rule. own_threshold: the system's published score threshold, unless the scale sets one."""
    return DetectionRule(score_threshold=scale.score_threshold or own_threshold, detections=scale.detections)


def class_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Rows of the boxes [N,4] that NMS within each group [N] keeps, best first: torchvision's `batched_nms`.

    On a GPU all groups at once, moved apart, however many boxes there are: group by group it waits for each.
    """
    if not boxes.is_cuda or not len(boxes):
        return batched_nms(boxes, scores, groups, threshold)
    apart = groups.to(boxes) * (boxes.max() + 1)
    return nms(boxes + apart[:, None], scores, threshold)


@part(POST_PROCESSING)
def detect(
    scores: Tensor, decode: Callable[[Tensor, Tensor], Tensor], size: tuple[int, int], rule: DetectionRule
) -> dict[str, Tensor]:
    """One image's boxes [N,4], labels [N] in 1..K and scores [N], best first.

    scores: [R,1+K], background first. decode: (rows [M], labels [M]) -> boxes [M,4] of these rows as these
    classes. size: (height, width) to clip to.
    """
    row, label = torch.where(scores[:, 1:] > rule.score_threshold)
    label, score = label + 1, scores[row, label + 1]
    boxes = clip_boxes_to_image(decode(row, label), size)
    keep = remove_small_boxes(boxes, 1e-2)
    boxes, score, label = boxes[keep], score[keep], label[keep]
    keep = class_nms(boxes, score, label, rule.nms_threshold)[: rule.detections]
    return {"boxes": boxes[keep], "labels": label[keep], "scores": score[keep]}
