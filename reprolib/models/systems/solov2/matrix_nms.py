"""NMS without boxes, as in SOLOv2 (Wang et al., NeurIPS 2020): of grid cells, and of masks all at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def points_nms(scores: Tensor) -> Tensor:
    """[B,K,S,S] -> the same, 0 but where a score is the largest of the 2x2 cells that end in its own."""
    best = F.max_pool2d(scores, kernel_size=2, stride=1, padding=1)[:, :, :-1, :-1]
    return scores * (best == scores)


def matrix_nms(masks: Tensor, labels: Tensor, scores: Tensor, *, sigma: float = 2.0) -> Tensor:
    """Scores [N] decayed by what better masks of the same class cover already.

    masks: [N,P] of 0 and 1, best first. The decay of mask j is the least, over the better masks i of its class, of
    exp(-sigma (iou_ij^2 - m_i^2)), with m_i the largest IoU of i with a mask better than itself (section 3.3,
    Gaussian); the best of a class does not decay.
    """
    iou = class_iou(masks, labels).triu_(diagonal=1)
    # Prepend an empty mask, which overlaps nothing: the best mask has it as its "better mask", and N = 0 works too.
    iou = F.pad(iou, (0, 0, 1, 0))
    covered = F.pad(iou.amax(0), (1, 0))
    decay = torch.exp(-sigma * (iou.square() - covered.square()[:, None]))
    better = F.pad((labels[:, None] == labels).triu_(diagonal=1), (0, 0, 1, 0), value=True)
    return scores * decay.masked_fill_(~better, 1.0).amin(0)


def class_iou(masks: Tensor, labels: Tensor) -> Tensor:
    """masks [N,P] of 0 and 1, labels [N] -> [N,N] IoU of masks of the same class, 0 for others and for empty masks.

    On a CPU class by class: the products of all with all would be ten times the work with ten classes in an image. On a
    GPU they take less time than a loop.
    """
    if masks.is_cuda:
        return mask_iou(masks).masked_fill_(labels[:, None] != labels, 0)
    iou = torch.zeros((len(masks), len(masks)), device=masks.device)
    for label in labels.unique().tolist():
        rows = torch.where(labels == label)[0]
        iou[rows[:, None], rows] = mask_iou(masks[rows])
    return iou


def mask_iou(masks: Tensor) -> Tensor:
    """masks [N,P] of 0 and 1 -> [N,N]; 0 for empty ones."""
    masks = masks.float()
    areas, together = masks.sum(1), masks @ masks.T
    return together / (areas[:, None] + areas - together).clamp(min=1)
