"""One prediction for each instance: the assignment of least cost, and what pairs of them cost.

Rows are predictions, columns instances. DETR (Carion et al., ECCV 2020, section 3.1) introduced it to detection.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

WORST = 1e6  # replaces infinite and NaN costs: overflowing predictions are assigned last and do not stop the run


class Matched(NamedTuple):
    """One image's queries that have an instance."""

    queries: Tensor  # [N], rising
    instances: Tensor  # [N]


def hungarian(cost: Tensor) -> Matched:
    """cost [Q,G] -> the assignment of least cost, with N = min(Q, G)."""
    finite = torch.nan_to_num(cost.detach().float(), nan=WORST, posinf=WORST, neginf=-WORST)
    rows, columns = linear_sum_assignment(finite.cpu().numpy())
    return Matched(torch.as_tensor(rows, device=cost.device), torch.as_tensor(columns, device=cost.device))


def binary_cross_entropy_cost(logits: Tensor, masks: Tensor) -> Tensor:
    """logits [Q,P], masks [G,P] in 0..1 -> [Q,G] mean over the P points."""
    return _pairs(F.softplus(-logits), F.softplus(logits), masks) / logits.shape[1]


def focal_cost(logits: Tensor, masks: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """As `binary_cross_entropy_cost`, each point weighted as the focal loss does."""
    p = logits.sigmoid()
    positive = alpha * (1 - p) ** gamma * F.softplus(-logits)
    negative = (1 - alpha) * p**gamma * F.softplus(logits)
    return _pairs(positive, negative, masks) / logits.shape[1]


def _pairs(positive: Tensor, negative: Tensor, masks: Tensor) -> Tensor:
    return positive @ masks.T + negative @ (1 - masks).T


def dice_cost(probabilities: Tensor, masks: Tensor) -> Tensor:
    """[Q,P], [G,P] -> [Q,G] 1 - (2 sum(pq) + 1) / (sum(p) + sum(q) + 1)."""
    together = probabilities @ masks.T
    return 1 - (2 * together + 1) / (probabilities.sum(1)[:, None] + masks.sum(1) + 1)


def squared_dice_cost(probabilities: Tensor, masks: Tensor, *, epsilon: float) -> Tensor:
    """[Q,P], [G,P] -> [Q,G] 1 - 2 sum(pq) / (sum(p^2) + sum(q^2) + 2 epsilon)."""
    together = probabilities @ masks.T
    sums = probabilities.square().sum(1)[:, None] + masks.square().sum(1)
    return 1 - 2 * together / (sums + 2 * epsilon)


def focal_class_cost(logits: Tensor, labels: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """logits [Q,K], labels [G] in 1..K -> [Q,G] focal loss of the class as a positive less that as a negative."""
    logits = logits[:, labels - 1]
    p = logits.sigmoid()
    return alpha * (1 - p) ** gamma * F.softplus(-logits) - (1 - alpha) * p**gamma * F.softplus(logits)
