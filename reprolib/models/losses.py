"""Losses that several systems use, each written once.

Constants in which publications differ are arguments without a default. What torch or torchvision compute to the same
bits is taken from there: `F.smooth_l1_loss`, `sigmoid_focal_loss`, `generalized_box_iou_loss`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss


def focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """logits [...,K], labels [...] in 0..K, 0 = background -> [...,K], one sigmoid focal loss per class.

    alpha 0.25, gamma 2 (RetinaNet: Lin et al., ICCV 2017).
    """
    targets = F.one_hot(labels, logits.shape[-1] + 1)[..., 1:].to(logits)
    return sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=2)


def focal_class_loss(logits: Tensor, labels: Tensor, *, added: int) -> Tensor:
    """logits [...,K], labels [...] in 0..K, 0 = background -> the sum of `focal_loss` / (positives + added), a scalar.

    added: 1 in SOLOv2, the number of images in FCOS, 0 in K-Net. The divisor is at least 1.
    """
    return focal_loss(logits, labels).sum() / ((labels > 0).sum() + added).clamp(min=1)


def dice_loss(probabilities: Tensor, masks: Tensor, *, smooth: float) -> Tensor:
    """probabilities [N,...], masks [N,...] in 0..1 -> [N] 1 - (2 sum(pq) + smooth) / (sum(p) + sum(q) + smooth).

    The linear form, as in MaskFormer (Cheng et al., NeurIPS 2021).
    """
    p, q = probabilities.flatten(1), masks.flatten(1)
    return 1 - (2 * (p * q).sum(1) + smooth) / (p.sum(1) + q.sum(1) + smooth)


def squared_dice_loss(probabilities: Tensor, masks: Tensor, *, epsilon: float) -> Tensor:
    """probabilities [N,...], masks [N,...] in 0..1 -> [N] 1 - 2 sum(pq) / (sum(p^2) + sum(q^2) + 2 epsilon).

    The form of V-Net (Milletari et al., 3DV 2016) and SOLO (Wang et al., ECCV 2020). 1 where p and q have nothing in
    common.
    """
    p, q = probabilities.flatten(1), masks.flatten(1).to(probabilities)
    return 1 - 2 * (p * q).sum(1) / (p.square().sum(1) + q.square().sum(1) + 2 * epsilon)


def mask_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """logits [N,...], masks [N,...] in 0..1 -> [N] binary cross-entropy, the mean over the pixels of each mask."""
    return F.binary_cross_entropy_with_logits(logits, masks, reduction="none").flatten(1).mean(1)


def mean_binary_cross_entropy(logits: Tensor, targets: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """logits, targets in 0..1, weights: [N,...] -> the mean over all values; 0, with zero gradients, where N = 0."""
    if not len(logits):
        return logits.sum() * 0
    return F.binary_cross_entropy_with_logits(logits, targets, weight=weights)


def side_iou_loss(sides: Tensor, target_sides: Tensor) -> Tensor:
    """-log IoU [P] of two boxes, each [P,4] distances from one location to the left, top, right and bottom side.

    UnitBox (Yu et al., ACM MM 2016).
    """
    shared = _area(torch.minimum(sides, target_sides))
    iou = shared / (_area(sides) + _area(target_sides) - shared)
    return -iou.clamp(min=1e-6).log()


def _area(sides: Tensor) -> Tensor:
    return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])


def mean_loss(losses: Tensor) -> Tensor:
    """[N] -> their mean; 0, with zero gradients, where N = 0."""
    return losses.sum() / max(1, len(losses))


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """losses, weights [N] -> sum(losses * weights) / sum(weights); 0, with zero gradients, where N = 0."""
    return (losses * weights).sum() / weights.sum().clamp(min=1e-6)
