"""The losses of SOLOv2 (Wang et al., NeurIPS 2020): focal on the categories of cells, dice on their masks."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

MASK_WEIGHT = 3.0

# (logits [cells,K], labels [cells] with 0 = background, mask probabilities [P,h,w], wanted masks [P,h,w] bool) of the
# whole batch, all in float32 -> losses by name.
Criterion = Callable[[Tensor, Tensor, Tensor, Tensor], dict[str, Tensor]]


def solov2_losses(logits: Tensor, labels: Tensor, masks: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Focal loss over all cells per positive one, and three times the mean dice loss of the positives' masks."""
    return {
        "loss_category": category_loss(logits, labels),
        "loss_mask": MASK_WEIGHT * mean_over(dice_loss(masks, wanted)),
    }


def category_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """logits [cells,K], labels [cells] in 0..K, 0 = background -> focal loss, summed, / (positive cells + 1)."""
    return focal_loss(logits, labels).sum() / ((labels > 0).sum() + 1)


def focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The focal loss (alpha 0.25, gamma 2, sigmoid) of each cell and class: [cells,K]."""
    wanted = F.one_hot(labels, logits.shape[1] + 1)[:, 1:].to(logits)
    return sigmoid_focal_loss(logits, wanted, alpha=0.25, gamma=2)


def dice_loss(masks: Tensor, wanted: Tensor) -> Tensor:
    """masks [P,h,w] probabilities, wanted [P,h,w] in 0..1 -> [P] 1 - 2 sum(pq) / (sum(p^2) + sum(q^2) + 0.002).

    0 for equal masks, but for the constant; 1 where they have nothing in common.
    """
    p, q = masks.flatten(1), wanted.flatten(1).to(masks)
    return 1 - 2 * (p * q).sum(1) / (p.square().sum(1) + q.square().sum(1) + 2e-3)


def mean_over(losses: Tensor) -> Tensor:
    """[P] -> their mean; 0, with zero gradients, where there are none."""
    return losses.sum() / max(1, len(losses))
