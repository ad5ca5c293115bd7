"""What SOLOv2 learns (Wang et al., NeurIPS 2020): focal loss on the categories of cells, dice loss on their masks."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from reprolib.models.losses import focal_class_loss, mean_loss, squared_dice_loss

MASK_WEIGHT = 3.0
DICE_EPSILON = 1e-3

# (logits [cells,K], labels [cells] with 0 = background, mask probabilities [P,h,w], target masks [P,h,w] bool) of the
# whole batch, all in float32 -> losses by name.
Criterion = Callable[[Tensor, Tensor, Tensor, Tensor], dict[str, Tensor]]


def solov2_losses(logits: Tensor, labels: Tensor, masks: Tensor, target_masks: Tensor) -> dict[str, Tensor]:
    """Focal loss over all cells per positive cell, and three times the mean dice loss of the positive cells' masks."""
    return {
        "loss_category": focal_class_loss(logits, labels, added=1),
        "loss_mask": MASK_WEIGHT * mean_loss(squared_dice_loss(masks, target_masks, epsilon=DICE_EPSILON)),
    }
