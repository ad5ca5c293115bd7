"""What K-Net's kernels learn (Zhang et al., NeurIPS 2021, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from reprolib.models.losses import focal_class_loss, mask_cross_entropy, squared_dice_loss
from reprolib.models.queries.assignment import Matched, focal_class_cost, hungarian, squared_dice_cost

CLASS_WEIGHT, MASK_WEIGHT, DICE_WEIGHT, SEMANTIC_WEIGHT = 2.0, 1.0, 4.0, 1.0
DICE_EPSILON = 1e-3


@torch.no_grad()
def match(logits: Tensor, instance_masks: Tensor, class_logits: Tensor | None, labels: Tensor) -> Matched:
    """Mask logits [Q,h,w] and instance masks [G,h,w] in 0..1 of one image -> the assignment of least cost.

    class_logits: [Q,K], None where there are no classes yet. The masks' costs are the dice and the share of pixels
    that disagree.
    """
    p, q = logits.sigmoid().flatten(1), instance_masks.flatten(1).to(logits)
    agreement = (p @ q.T + (1 - p) @ (1 - q).T) / p.shape[1]
    cost = DICE_WEIGHT * squared_dice_cost(p, q, epsilon=DICE_EPSILON) - MASK_WEIGHT * agreement
    if class_logits is not None:
        cost = cost + CLASS_WEIGHT * focal_class_cost(class_logits, labels)
    return hungarian(cost)


def mask_losses(logits: list[Tensor], matched: list[Matched], instance_masks: list[Tensor]) -> dict[str, Tensor]:
    """Per image mask logits [Q,h,w], matches and instance masks [G,h,w] -> loss_mask and loss_dice, means."""
    predicted = torch.cat([image[pairs.queries] for image, pairs in zip(logits, matched, strict=True)])
    masks = torch.cat([image[pairs.instances] for image, pairs in zip(instance_masks, matched, strict=True)])
    masks = masks.to(predicted)
    weight = 1 / max(1, len(predicted))
    return {
        "loss_mask": MASK_WEIGHT * weight * mask_cross_entropy(predicted, masks).sum(),
        "loss_dice": DICE_WEIGHT * weight * squared_dice_loss(predicted.sigmoid(), masks, epsilon=DICE_EPSILON).sum(),
    }


def class_loss(logits: Tensor, matched: list[Matched], labels: list[Tensor]) -> Tensor:
    """logits [B,Q,K] -> focal loss, summed and divided by the positives of the batch, weighted."""
    query_labels = torch.zeros(logits.shape[:2], dtype=torch.long, device=logits.device)
    for row, pairs, image_labels in zip(query_labels, matched, labels, strict=True):
        row[pairs.queries] = image_labels[pairs.instances]
    return CLASS_WEIGHT * focal_class_loss(logits.flatten(0, 1), query_labels.flatten(), added=0)


def semantic_loss(logits: Tensor, instance_masks: list[Tensor], labels: list[Tensor]) -> Tensor:
    """logits [B,K,h,w]; per image masks [G,h,w] bool and labels [G] -> focal loss / foreground pixels, weighted.

    The target map is painted from the instances, later ones over earlier ones.
    """
    label_maps = torch.zeros((len(logits), *logits.shape[2:]), dtype=torch.long, device=logits.device)
    for label_map, masks, image_labels in zip(label_maps, instance_masks, labels, strict=True):
        for mask, label in zip(masks, image_labels, strict=True):
            label_map[mask] = label
    return SEMANTIC_WEIGHT * focal_class_loss(logits.permute(0, 2, 3, 1).flatten(0, 2), label_maps.flatten(), added=0)
