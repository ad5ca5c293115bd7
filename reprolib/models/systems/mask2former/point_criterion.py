"""Mask losses on sampled points (Mask2Former, Cheng et al., CVPR 2022, section 3.3), on masks of full size."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from reprolib.models.input_transform import Batch
from reprolib.models.layers.point_sampling import sample_maps, sample_pixels, uncertain_points
from reprolib.models.losses import dice_loss, mask_cross_entropy
from reprolib.models.queries.assignment import binary_cross_entropy_cost, dice_cost
from reprolib.params import Scale

POINTS = 112 * 112  # per mask, of an input whose smallest anchors have 32 px
ANCHOR = 32


class Truth(NamedTuple):
    """One image's instances. Points in units of the padded batch, times `scale`, are pixels of the masks."""

    masks: Tensor  # [G,H,W] of 0 and 1, of the original size
    scale: Tensor  # [2] (x, y)

    def at(self, instances: Tensor, points: Tensor) -> Tensor:
        """instances [N], points [N,P,2] -> [N,P] in 0..1, 0 in the padding."""
        return sample_pixels(self.masks, instances, points * self.scale)


class PointCriterion:
    """See `MaskCriterion`: binary cross entropy and dice, 5 each, and 2 for classes.

    Costs are compared on uniform points that all masks of an image share; losses are taken where a mask is uncertain.
    points: their number.
    """

    class_weight, mask_weight, dice_weight = 2.0, 5.0, 5.0

    def __init__(self, *, points: int) -> None:
        self.points = points

    def truth(self, target: dict, batch: Batch, index: int) -> Truth:
        height, width = batch.tensors.shape[-2:]
        scale = batch.tensors.new_tensor([width, height]) * batch.tensors.new_tensor(target["to_original"])
        return Truth(target["masks"], scale)

    def cost(self, masks: Tensor, truth: Truth) -> Tensor:
        """[Q,G], in float32 wherever it is called: neighbouring costs differ by little."""
        points = torch.rand((1, self.points, 2), device=masks.device)
        logits = sample_maps(masks[None], points)[0].float()
        instances = torch.arange(len(truth.masks), device=masks.device)
        labels = truth.at(instances, points.expand(len(instances), -1, -1))
        with torch.autocast(logits.device.type, enabled=False):
            entropy, dice = binary_cross_entropy_cost(logits, labels), dice_cost(logits.sigmoid(), labels)
        return self.mask_weight * entropy + self.dice_weight * dice

    def losses(self, masks: Tensor, truth: Truth, instances: Tensor) -> dict[str, Tensor]:
        points = uncertain_points(masks, self.points)
        logits, labels = sample_maps(masks[:, None], points)[:, 0], truth.at(instances, points)
        return {
            "loss_mask": self.mask_weight * mask_cross_entropy(logits, labels).sum(),
            "loss_dice": self.dice_weight * dice_loss(logits.sigmoid(), labels, smooth=1).sum(),
        }


def points_of(scale: Scale) -> int:
    """Points per mask: as published, fewer in thin profiles by how much smaller the area of objects is."""
    return max(1, round(POINTS * (scale.anchor_sizes[0] / ANCHOR) ** 2))
