"""From the scores of FCOS's locations (Tian et al., ICCV 2019) to an image's detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from reprolib.models.detections import DetectionRule, class_nms


class Selected(NamedTuple):
    """The locations of one image that are detections, best first."""

    rows: Tensor  # [N] locations
    boxes: Tensor  # [N,4] xyxy px, inside the image
    labels: Tensor  # [N] in 1..K
    scores: Tensor  # [N]


@torch.no_grad()
def select(
    classes: Tensor,
    quality: Tensor,
    decode: Callable[[Tensor], Tensor],
    *,
    counts: Sequence[int],
    per_level: int,
    size: tuple[int, int],
    rule: DetectionRule,
) -> Selected:
    """One image's detections.

    classes [L,K] and quality [L] in 0..1: a score is their product; the threshold is of the class alone. decode: rows
    [N] -> boxes [N,4], what NMS sees. counts: locations of each level, of which the `per_level` best pairs of location
    and class are looked at. size: (height, width) to clip to.
    """
    scores = classes * quality[:, None]
    picked = []
    start = 0
    for count in counts:
        row, label = torch.where(classes[start : start + count] > rule.score_threshold)
        row = row + start
        if len(row) > per_level:
            best = scores[row, label].topk(per_level).indices
            row, label = row[best], label[best]
        picked.append(torch.stack([row, label]))
        start += count
    row, label = torch.cat(picked, dim=1)
    boxes, score = clip_boxes_to_image(decode(row), size), scores[row, label]
    large = (boxes[:, 2:] - boxes[:, :2] >= 1e-2).all(1)
    row, label, boxes, score = row[large], label[large], boxes[large], score[large]
    kept = class_nms(boxes, score, label, rule.nms_threshold)[: rule.detections]
    return Selected(row[kept], boxes[kept], label[kept] + 1, score[kept])
