"""The edge of a mask as a target, and the weighted loss of predicted edges (paper, Eq. 2; code of the authors)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reprolib.models.losses import mean_binary_cross_entropy
from reprolib.papers.seanet.switches import CHOICES

CODE_WEIGHT = 5.0  # what Eq. 2 gives where 2% of the pixels are edge


@torch.no_grad()
def edge_labels(masks: Tensor, *, thickness: int = 1, border_counts: bool = True) -> Tensor:
    """The inner boundary of masks [R,h,w] of 0 and 1: [R,h,w] of 0 and 1 in the masks' type.

    A pixel is edge where the mask holds it and not all of its 4 neighbours: the mask less its erosion by a cross,
    `thickness` times. border_counts: what lies outside the map is background, so that a mask that the map cuts has
    an edge there too.
    """
    height, width = masks.shape[1:]
    outside = 1 - masks
    for _ in range(thickness):
        padded = F.pad(outside, (1, 1, 1, 1), value=float(border_counts))
        cross = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
        outside = torch.stack([padded[:, y : y + height, x : x + width] for y, x in cross]).amax(0)
    return masks * outside


def edge_weights(labels: Tensor, *, scope: str) -> Tensor:
    """The loss's weight of every pixel of labels [R,h,w]: 1 where there is no edge, at edges Eq. 2.

    scope: formula_roi, 1 / ln(1.2 + share of edge pixels) of each RoI; formula_batch, of all RoIs together; const5,
    the code's constant. Raises ValueError for another.
    """
    if scope == "const5":
        weight = labels.new_full((), CODE_WEIGHT)
    elif scope in ("formula_roi", "formula_batch"):
        share = labels.mean((1, 2), keepdim=True) if scope == "formula_roi" else labels.mean()
        weight = 1 / torch.log(1.2 + share)
    else:
        raise ValueError(f"edge_weight must be one of {', '.join(CHOICES['edge_weight'])}, not {scope!r}")
    return torch.where(labels > 0, weight, 1.0)


def edge_loss(logits: Tensor, labels: Tensor, *, scope: str) -> Tensor:
    """Mean over all pixels of weight times binary cross-entropy of logits with labels, both [R,h,w]; 0 without RoIs."""
    return mean_binary_cross_entropy(logits, labels, weights=edge_weights(labels, scope=scope))
