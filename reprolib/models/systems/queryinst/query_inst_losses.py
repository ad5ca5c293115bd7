"""What QueryInst's queries learn (Fang et al., ICCV 2021): instances assigned by class and box, stage by stage."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import generalized_box_iou, generalized_box_iou_loss

from reprolib.models.losses import focal_loss, squared_dice_loss
from reprolib.models.queries.assignment import Matched, focal_class_cost, hungarian

CLASS_WEIGHT, BOX_WEIGHT, GIOU_WEIGHT, MASK_WEIGHT = 2.0, 5.0, 2.0, 8.0
DICE_EPSILON = 1e-3


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, target: dict, size: tuple[int, int]) -> Matched:
    """logits [Q,K], boxes [Q,4] xyxy px of one image -> the assignment of least cost; size: (height, width) px.

    The distance of boxes is that of their corners in parts of the image, as in the loss.
    """
    instance_boxes, units = target["boxes"].to(boxes), unit_of(boxes, size)
    corners = torch.cdist(boxes / units, instance_boxes / units, 1)
    cost = CLASS_WEIGHT * focal_class_cost(logits, target["labels"]) + BOX_WEIGHT * corners
    return hungarian(cost - GIOU_WEIGHT * generalized_box_iou(boxes, instance_boxes))


def stage_losses(
    logits: Tensor, boxes: Tensor, matched: list[Matched], targets: list[dict], sizes: list[tuple[int, int]]
) -> dict[str, Tensor]:
    """One stage's loss_class, loss_box and loss_giou, each summed and divided by the instances of the batch.

    logits [B,Q,K], boxes [B,Q,4]; the distance of boxes is that of their corners in parts of the image.
    """
    labels = torch.zeros(logits.shape[:2], dtype=torch.long, device=logits.device)
    corner, overlap = boxes.sum() * 0, boxes.sum() * 0
    for index, (pairs, target, size) in enumerate(zip(matched, targets, sizes, strict=True)):
        labels[index, pairs.queries] = target["labels"][pairs.instances]
        predicted, instance_boxes = boxes[index, pairs.queries], target["boxes"].to(boxes)[pairs.instances]
        corner = corner + ((predicted - instance_boxes) / unit_of(boxes, size)).abs().sum()
        overlap = overlap + generalized_box_iou_loss(predicted, instance_boxes, reduction="sum")
    each = 1 / max(1, sum(len(pairs.queries) for pairs in matched))
    return {
        "loss_class": CLASS_WEIGHT * each * focal_loss(logits.flatten(0, 1), labels.flatten()).sum(),
        "loss_box": BOX_WEIGHT * each * corner,
        "loss_giou": GIOU_WEIGHT * each * overlap,
    }


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """logits [N,m,m] of the instances' classes, masks [N,m,m] in 0..1 -> mean dice loss, weighted."""
    return MASK_WEIGHT * squared_dice_loss(logits.sigmoid(), masks, epsilon=DICE_EPSILON).mean()


def unit_of(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """[4]: what is 1 in x, y, x and y for an image of (height, width)."""
    height, width = size
    return boxes.new_tensor([width, height, width, height])
