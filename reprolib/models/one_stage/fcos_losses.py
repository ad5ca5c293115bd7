"""The losses of FCOS (Tian et al., ICCV 2019) that the systems on it share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reprolib.models.losses import focal_loss


def class_loss(logits: Tensor, labels: Tensor, *, images: int) -> Tensor:
    """logits [R,K], labels [R] in 0..K, 0 = background -> focal loss, summed, / (positives + images)."""
    return focal_loss(logits, labels).sum() / ((labels > 0).sum() + images)


def centreness_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """logits, wanted [P] of the positives -> mean binary cross-entropy; 0 without any."""
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / max(1, len(wanted))


def weighted(losses: Tensor, weights: Tensor) -> Tensor:
    """losses, weights [P] -> sum of both's products / sum of the weights; 0 without any."""
    return (losses * weights).sum() / weights.sum().clamp(min=1e-6)


def iou_loss(sides: Tensor, wanted: Tensor) -> Tensor:
    """Distances [P,4] to the sides of a box, both from one location -> [P] -log IoU (UnitBox: Yu et al., 2016)."""
    together = _area(torch.minimum(sides, wanted))
    iou = together / (_area(sides) + _area(wanted) - together)
    return -iou.clamp(min=1e-6).log()


def _area(sides: Tensor) -> Tensor:
    return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])
