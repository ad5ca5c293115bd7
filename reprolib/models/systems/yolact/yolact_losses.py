"""The losses of YOLACT (Bolya et al., ICCV 2019) and their targets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reprolib.models.losses import mask_cross_entropy
from reprolib.models.mask_resize import sample_masks
from reprolib.models.on_device import numbers_like

BOX_WEIGHT, MASK_WEIGHT, SEMANTIC_WEIGHT = 1.5, 6.125, 1.0
NEGATIVES = 3  # per positive
MOST_MASKS = 100  # positives per image whose masks are trained


def class_loss(logits: Tensor, labels: Tensor, *, without_positives: bool) -> Tensor:
    """logits [A,1+K], labels [A] (0 background, -1 ignored) of one image -> cross-entropy, summed.

    Over the positives and three times as many backgrounds, those taken least for background; without positives over
    none, or all where `without_positives`.
    """
    entropy = F.cross_entropy(logits, labels.clamp(min=0), reduction="none")
    positives, background = labels > 0, labels == 0
    count = int(positives.sum())
    negatives = NEGATIVES * count if count or not without_positives else int(background.sum())
    hardest = entropy.detach().masked_fill(~background, -1.0).topk(min(negatives, int(background.sum()))).indices
    return entropy[positives].sum() + entropy[hardest].sum()


def mask_loss(
    prototypes: Tensor, coefficients: Tensor, instance: Tensor, target: dict, *, size: tuple[int, int], rescale: bool
) -> Tensor:
    """Binary cross-entropy of one image's masks inside their boxes, per pixel of the box, summed over positives.

    prototypes [C,h,w], coefficients [P,C] and instance [P] of the positives; target: boxes in px of the input, which
    has `size` (height, width). Of more than 100 positives 100 are drawn; where `rescale`, they stand for all.
    """
    count = len(instance)
    if count > MOST_MASKS:
        drawn = torch.randperm(count, device=instance.device)[:MOST_MASKS]
        coefficients, instance = coefficients[drawn], instance[drawn]
    logits = (coefficients @ prototypes.flatten(1)).unflatten(1, prototypes.shape[1:]).float()
    used, instance = instance.unique(return_inverse=True)
    masks = (sample_masks(target["masks"][used], tuple(logits.shape[-2:])) > 0.5).to(logits)[instance]
    boxes = to_mask_pixels(target["boxes"][used], size, logits)[instance]
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none") * inside_boxes(boxes, logits)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1).clamp(min=1)
    total = (entropy.sum((1, 2)) / areas).sum()
    return total * (count / MOST_MASKS) if rescale and count > MOST_MASKS else total


def semantic_loss(logits: Tensor, target: dict) -> Tensor:
    """logits [K,h,w] of one image -> binary cross-entropy with each class's union of masks, mean over pixels."""
    masks = sample_masks(target["masks"], tuple(logits.shape[-2:])) > 0.5
    unions = torch.zeros_like(logits)
    for mask, label in zip(masks, target["labels"].tolist(), strict=True):
        unions[label - 1].masked_fill_(mask, 1.0)
    return mask_cross_entropy(logits, unions).sum()


def to_mask_pixels(boxes: Tensor, size: tuple[int, int], masks: Tensor) -> Tensor:
    """boxes [N,4] in px of an input of `size` (height, width) -> in pixels of masks [..,h,w]."""
    height, width = masks.shape[-2:]
    return boxes * numbers_like([width / size[1], height / size[0]], boxes).repeat(2)


def inside_boxes(boxes: Tensor, masks: Tensor) -> Tensor:
    """boxes [N,4] in mask pixels -> bool [N,h,w]: pixels that start inside the box grown by one pixel."""
    low, high = boxes[:, :2] - 1, boxes[:, 2:] + 1
    across, down = (
        (place >= low[:, axis, None]) & (place < high[:, axis, None])
        for axis, place in enumerate(torch.arange(masks.shape[dim], device=masks.device) for dim in (-1, -2))
    )
    return down[:, :, None] & across[:, None]
