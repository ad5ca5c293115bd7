"""What K-Net's kernels learn (Zhang et al., NeurIPS 2021, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reprolib.models.queries.assignment import Matched, focal_class_cost, hungarian, squared_dice_cost
from reprolib.models.systems.solov2.solov2_losses import dice_loss, focal_loss

CLASS_WEIGHT, MASK_WEIGHT, DICE_WEIGHT, SEMANTIC_WEIGHT = 2.0, 1.0, 4.0, 1.0


@torch.no_grad()
def match(masks: Tensor, wanted: Tensor, logits: Tensor | None, labels: Tensor) -> Matched:
    """Mask logits [Q,h,w] and wanted masks [G,h,w] in 0..1 of one image -> the assignment of least cost.

    logits: [Q,K], None where there are no classes yet. The masks' costs are the dice and the share of pixels that
    disagree.
    """
    p, q = masks.sigmoid().flatten(1), wanted.flatten(1).to(masks)
    agreement = (p @ q.T + (1 - p) @ (1 - q).T) / p.shape[1]
    cost = DICE_WEIGHT * squared_dice_cost(p, q) - MASK_WEIGHT * agreement
    if logits is not None:
        cost = cost + CLASS_WEIGHT * focal_class_cost(logits, labels)
    return hungarian(cost)


def mask_losses(masks: list[Tensor], matched: list[Matched], wanted: list[Tensor]) -> dict[str, Tensor]:
    """Per image mask logits [Q,h,w], its matches and wanted masks [G,h,w] -> loss_mask and loss_dice, means."""
    own = torch.cat([one[found.queries] for one, found in zip(masks, matched, strict=True)])
    true = torch.cat([one[found.instances] for one, found in zip(wanted, matched, strict=True)]).to(own)
    each = 1 / max(1, len(own))
    entropy = F.binary_cross_entropy_with_logits(own, true, reduction="none").flatten(1).mean(1)
    return {
        "loss_mask": MASK_WEIGHT * each * entropy.sum(),
        "loss_dice": DICE_WEIGHT * each * dice_loss(own.sigmoid(), true).sum(),
    }


def class_loss(logits: Tensor, matched: list[Matched], labels: list[Tensor]) -> Tensor:
    """logits [B,Q,K] -> focal loss, summed and divided by the positives of the batch, weighted."""
    wanted = torch.zeros(logits.shape[:2], dtype=torch.long, device=logits.device)
    for row, found, label in zip(wanted, matched, labels, strict=True):
        row[found.queries] = label[found.instances]
    return CLASS_WEIGHT * focal_loss(logits.flatten(0, 1), wanted.flatten()).sum() / (wanted > 0).sum().clamp(min=1)


def semantic_loss(logits: Tensor, wanted: list[Tensor], labels: list[Tensor]) -> Tensor:
    """logits [B,K,h,w]; per image masks [G,h,w] bool and labels [G] -> focal loss / foreground pixels, weighted.

    The wanted map is painted from the instances, later ones over earlier ones.
    """
    painted = torch.zeros((len(logits), *logits.shape[2:]), dtype=torch.long, device=logits.device)
    for canvas, masks, label in zip(painted, wanted, labels, strict=True):
        for mask, number in zip(masks, label, strict=True):
            canvas[mask] = number
    losses = focal_loss(logits.permute(0, 2, 3, 1).flatten(0, 2), painted.flatten())
    return SEMANTIC_WEIGHT * losses.sum() / (painted > 0).sum().clamp(min=1)
