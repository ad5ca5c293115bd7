"""AML, adaptive minimum loss matching (paper section 2.3): a cell with several objects learns the one of least loss."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from reprolib.models.losses import focal_class_loss, focal_loss, mean_loss, squared_dice_loss
from reprolib.models.on_device import numbers_like
from reprolib.models.systems.solov2.solov2_losses import DICE_EPSILON, MASK_WEIGHT, Criterion
from reprolib.models.systems.solov2.solov2_targets import Assign, Cells, CellTargets, dynamic_masks
from reprolib.papers.location_attention.switches import Switches

LEAST_AREA = 1e-6  # px; a mask of less has no centroid


def assignment(switches: Switches) -> Assign:
    """The matching with these switches."""
    return partial(least_loss, switches=switches)


def criterion(switches: Switches) -> Criterion:
    """The training loss with these switches."""
    return partial(aml_losses, switches=switches)


def least_loss(wanted: CellTargets, cells: Cells, *, switches: Switches) -> Tensor:
    """The candidates [G,cells] with one instance left in every cell that has several: that of the least loss."""
    contested = torch.where(wanted.candidates.sum(0) > 1)[0]
    if not len(contested):
        return wanted.candidates
    losses = matching_losses(wanted, cells, contested, switches=switches)
    best = losses.masked_fill(~wanted.candidates[:, contested].T, torch.inf).argmin(1)
    chosen = wanted.candidates.clone()
    chosen[:, contested] = False
    chosen[best, contested] = True
    return chosen


@torch.no_grad()
def matching_losses(wanted: CellTargets, cells: Cells, places: Tensor, *, switches: Switches) -> Tensor:
    """Formula 3 of each of the cells at `places` [n] against each instance: [n,G], in float32.

    The category loss of a cell is the focal loss summed over its classes. The sum of sigmoids can rank two instances
    otherwise than the sum of the losses (`aml_match` linear).
    """
    with torch.autocast(cells.mask_feature.device.type, enabled=False):
        logits, kernels, feature = (x.detach().float() for x in (cells.categories, cells.kernels, cells.mask_feature))
        masks = dynamic_masks(kernels[places], feature).sigmoid()
        mask = mask_losses(masks[:, None], wanted.masks[None], switches=switches)
        count = len(wanted.labels)
        repeated = logits[places].repeat_interleave(count, dim=0)
        category = focal_loss(repeated, wanted.labels.repeat(len(places))).sum(1).unflatten(0, (-1, count))
        return joined(category, mask, form=switches.aml_match)


def aml_losses(
    logits: Tensor, labels: Tensor, masks: Tensor, wanted: Tensor, *, switches: Switches
) -> dict[str, Tensor]:
    """The losses that are trained, see `solov2_losses`: focal and formula 1, or formula 3 of the two, in [1, 2)."""
    if switches.aml_dice == "solov2":
        per_mask = squared_dice_loss(masks, wanted, epsilon=DICE_EPSILON)
    else:
        per_mask = mask_losses(masks, wanted, switches=switches)
    category, mask = focal_class_loss(logits, labels, added=1), MASK_WEIGHT * mean_loss(per_mask)
    if switches.aml_train == "sigmoid":
        category, mask = category.sigmoid(), mask.sigmoid()
    return {"loss_category": category, "loss_mask": mask}


def joined(category: Tensor, mask: Tensor, *, form: str) -> Tensor:
    """Formula 3, sigmoid(category) + sigmoid(3 mask), or without the sigmoids (`linear`)."""
    mask = MASK_WEIGHT * mask
    return category.sigmoid() + mask.sigmoid() if form == "sigmoid" else category + mask


def mask_losses(masks: Tensor, wanted: Tensor, *, switches: Switches) -> Tensor:
    """Formula 1 without its mean: masks [...,h,w] probabilities, wanted [...,h,w] -> their broadcast [...].

    1 - (2 sum(mg) + 1) / (sum m + sum g + 1) + epsilon.
    """
    shapes = Shapes.of(masks, wanted.to(masks))
    dice = (2 * shapes.overlap + 1) / (shapes.mask_area + shapes.wanted_area + 1)
    return 1 - dice + epsilon(shapes, units=switches.eps_units, clip=switches.eps_clip)


class Shapes(NamedTuple):
    """What the loss reads of masks and wanted masks; the leading dimensions broadcast against each other."""

    overlap: Tensor  # [...] sum(mg)
    mask_area: Tensor  # [...] sum m
    wanted_area: Tensor  # [...] sum g
    offset: Tensor  # [...,2] between the centroids, x and y in px; 0 where either mask is empty
    size: tuple[int, int]  # (height, width) in px

    @classmethod
    def of(cls, masks: Tensor, wanted: Tensor) -> Shapes:
        """masks, wanted [...,h,w] in 0..1; no [...,h,w] of the broadcast shape is made."""
        mask_area, wanted_area = masks.sum((-2, -1)), wanted.sum((-2, -1))
        some = (mask_area > LEAST_AREA) & (wanted_area > LEAST_AREA)
        offset = centroids(masks, mask_area) - centroids(wanted, wanted_area)
        overlap = torch.einsum("...hw,...hw->...", masks, wanted)
        return cls(overlap, mask_area, wanted_area, torch.where(some[..., None], offset, 0), tuple(masks.shape[-2:]))


def epsilon(shapes: Shapes, *, units: str, clip: float) -> Tensor:
    """Formula 2: squared distance of the centroids / (|sum(mg)| + 1), at most `clip` unless that is 0.

    units: `feature_px`, pixels of the mask feature, or `normalised`, shares of its sides.
    """
    offset = shapes.offset
    if units == "normalised":
        offset = offset / numbers_like(shapes.size[::-1], offset)
    found = offset.square().sum(-1) / (shapes.overlap.abs() + 1)
    return found.clamp(max=clip) if clip else found


def centroids(masks: Tensor, areas: Tensor) -> Tensor:
    """masks [...,h,w] of the given sums -> [...,2] their centres of mass, x and y in px."""
    height, width = masks.shape[-2:]
    across = torch.arange(width, device=masks.device, dtype=masks.dtype) + 0.5
    down = torch.arange(height, device=masks.device, dtype=masks.dtype) + 0.5
    moments = torch.stack([masks.sum(-2) @ across, masks.sum(-1) @ down], dim=-1)
    return moments / areas.clamp(min=LEAST_AREA)[..., None]
