"""Losses of the fully convolutional box head (paper section 3.3, spec section 2.3).

All are scalars, and zero with a zero gradient where there is nothing to learn from.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST = 1e-6
TINY = 1e-7  # px^2, what torchvision's GIoU adds to areas that it divides by


def paired_giou(boxes: Tensor, others: Tensor) -> Tensor:
    """boxes and others [N,4] xyxy -> the generalised IoU [N] in -1..1 of each pair; differentiable."""
    low, high = torch.max(boxes[:, :2], others[:, :2]), torch.min(boxes[:, 2:], others[:, 2:])
    # Chosen, not clamped: boxes that only touch get no gradient from what they share.
    shared = torch.where((high > low).all(1), (high - low).prod(1), 0)
    either = sum((box[:, 2:] - box[:, :2]).prod(1) for box in (boxes, others)) - shared
    sides = torch.max(boxes[:, 2:], others[:, 2:]) - torch.min(boxes[:, :2], others[:, :2])
    around = sides.prod(1)
    return shared / (either + TINY) - (around - either) / (around + TINY)


def paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """boxes and others [N,4] xyxy -> the IoU [N] in 0..1 of each pair; differentiable."""
    sides = torch.min(boxes[:, 2:], others[:, 2:]) - torch.max(boxes[:, :2], others[:, :2])
    shared = sides.clamp(min=0).prod(dim=-1)
    areas = [(box[:, 2:] - box[:, :2]).prod(dim=-1) for box in (boxes, others)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=SMALLEST)


def box_loss(boxes: Tensor, wanted: Tensor, *, clamp: str) -> Tensor:
    """Mean of -ln((GIoU + 1) / 2), Eq. 5, over positive locations' boxes and instances [N,4].

    clamp: what stays above 1e-6, `half` for the logarithm's argument or, as in the code, `giou` for GIoU itself; the
    loss is then at most ln 2, and boxes of negative GIoU learn nothing.
    """
    if not len(boxes):
        return boxes.sum() * 0
    giou = paired_giou(boxes, wanted)
    if clamp == "giou":
        giou = giou.clamp(min=SMALLEST)
    return -((giou + 1) / 2).clamp(min=SMALLEST).log().mean()


def iou_targets(boxes: Tensor, wanted: Tensor, *, kind: str) -> Tensor:
    """What the IoU branch should say of predicted boxes [N,4] and their instances [N,4]: [N].

    kind: giou (-1..1, the paper), clamped_giou (0..1; the code up to its lower end of 1e-6) or iou.
    """
    if kind == "iou":
        return paired_iou(boxes, wanted)
    giou = paired_giou(boxes, wanted)
    return giou.clamp(0, 1) if kind == "clamped_giou" else giou


def iou_loss(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of the IoU [N] predicted at positive locations."""
    return F.mse_loss(predicted, wanted) if len(predicted) else predicted.sum() * 0
