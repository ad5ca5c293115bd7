"""Fast NMS (YOLACT: Bolya et al., ICCV 2019): boxes of all classes at once, already removed ones still remove."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MOST = 200  # boxes of a class that take part


class Kept(NamedTuple):
    """Best first."""

    rows: Tensor  # [N] of the boxes given
    labels: Tensor  # [N] in 1..K
    scores: Tensor  # [N]


def fast_nms(boxes: Tensor, scores: Tensor, *, threshold: float = 0.5, most: int = MOST) -> Kept:
    """boxes [R,4] xyxy, scores [R,K] -> those whose IoU with every better box of their class is at most `threshold`.

    The `most` best of each class take part.
    """
    ranked, rows = scores.T.sort(dim=1, descending=True, stable=True)
    ranked, rows = ranked[:, :most], rows[:, :most]
    overlap = pairwise_iou(boxes[rows]).triu_(diagonal=1)
    worst = overlap.amax(1) if overlap.numel() else torch.zeros_like(ranked)
    label, place = torch.where(worst <= threshold)
    order = ranked[label, place].argsort(descending=True, stable=True)
    label, place = label[order], place[order]
    return Kept(rows[label, place], label + 1, ranked[label, place])


def pairwise_iou(boxes: Tensor) -> Tensor:
    """boxes [K,N,4] xyxy -> [K,N,N]."""
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    together = (high - low).clamp_(min=0).prod(-1)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    return together / (areas[:, :, None] + areas[:, None] - together)
