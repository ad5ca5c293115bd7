"""Mask losses on all pixels of the network's input (MaskFormer, Cheng et al., NeurIPS 2021, section 4.1)."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from reprolib.models.input_transform import Batch
from reprolib.models.losses import dice_loss
from reprolib.models.mask_resize import STRIDE, masks_in_batch
from reprolib.models.queries.assignment import dice_cost, focal_cost


class Truth(NamedTuple):
    """One image's masks as the batch has them, bool."""

    fine: Tensor  # [G,H,W], pixels of the padded batch
    coarse: Tensor  # [G,H/4,W/4]


class PixelCriterion:
    """See `MaskCriterion`: focal loss 20 and dice 1, and 1 for classes.

    Costs are compared at stride 4; for the losses predictions are enlarged to the input's size.
    """

    class_weight, mask_weight, dice_weight = 1.0, 20.0, 1.0

    def truth(self, target: dict, batch: Batch, index: int) -> Truth:
        (height, width), inside = batch.tensors.shape[-2:], batch.image_sizes[index]
        coarse = tuple(max(1, round(side / STRIDE)) for side in inside)
        return Truth(
            masks_in_batch(target["masks"], inside, (height, width)),
            masks_in_batch(target["masks"], coarse, (height // STRIDE, width // STRIDE)),
        )

    def cost(self, masks: Tensor, truth: Truth) -> Tensor:
        logits, coarse = masks.flatten(1), truth.coarse.flatten(1).float()
        return self.mask_weight * focal_cost(logits, coarse) + self.dice_weight * dice_cost(logits.sigmoid(), coarse)

    def losses(self, masks: Tensor, truth: Truth, instances: Tensor) -> dict[str, Tensor]:
        fine = truth.fine[instances].flatten(1).float()
        size = truth.fine.shape[-2:]
        logits = F.interpolate(masks[:, None], size=size, mode="bilinear", align_corners=False)[:, 0].flatten(1)
        return {
            "loss_mask": self.mask_weight * sigmoid_focal_loss(logits, fine, alpha=0.25, gamma=2).mean(1).sum(),
            "loss_dice": self.dice_weight * dice_loss(logits.sigmoid(), fine, smooth=1).sum(),
        }
