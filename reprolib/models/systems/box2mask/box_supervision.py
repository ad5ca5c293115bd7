"""Losses of masks that know only boxes (Box2Mask, Li et al., 2022; BoxLevelSet, Li et al., ECCV 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reprolib.models.losses import squared_dice_loss

NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
DILATION, SHARPNESS = 2, 0.3
DICE_EPSILON = 1e-5


def box_masks(boxes: Tensor, size: tuple[int, int], *, image_size: tuple[int, int], unit: float = 1.0) -> Tensor:
    """boxes [G,4] xyxy px of an image_size -> bool [G,*size]: the map's pixels whose centres lie in the box.

    Corners are rounded to a unit of px and belong to it, so that the box grows by one. The pixel in the middle of a box
    is always one of it.
    """
    low, high = (boxes[:, :2] / unit).round() * unit, ((boxes[:, 2:] / unit).round() + 1) * unit
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2

    def along(axis: int) -> Tensor:
        side, stride = size[1 - axis], image_size[1 - axis] / size[1 - axis]
        place = torch.arange(side, device=boxes.device)
        centre, own = (place + 0.5) * stride, (middle[:, axis] / stride).floor().clamp(max=side - 1)
        inside = (centre >= low[:, axis, None]) & (centre <= high[:, axis, None])
        return inside | (place == own[:, None])

    return along(1)[:, :, None] & along(0)[:, None]


def projection_loss(masks: Tensor, boxes: Tensor) -> Tensor:
    """masks [N,h,w] probabilities, boxes [N,h,w] of 0 and 1 -> [N] dice of their maxima over rows and over columns."""
    return sum(squared_dice_loss(masks.amax(dim), boxes.to(masks).amax(dim), epsilon=DICE_EPSILON) for dim in (1, 2))


def level_set_energy(masks: Tensor, feature: Tensor, boxes: Tensor) -> Tensor:
    """How much a feature varies inside and outside of each mask, within its box: [N] (Chan and Vese).

    masks [N,h,w] probabilities; feature [N or 1,C,h,w]; boxes [N,h,w] of 0 and 1. The mean over channels, divided by
    the pixels of the box.
    """
    boxes = boxes.to(masks)
    energy = 0
    for region in (masks * boxes, (1 - masks) * boxes):
        region = region[:, None]
        mean = (feature * region).sum((2, 3)) / region.sum((2, 3)).clamp(min=1e-5)
        energy = energy + ((feature - mean[..., None, None]).square() * region).sum((2, 3)).mean(1)
    return energy / boxes.sum((1, 2)).clamp(min=1)


@torch.no_grad()
def affinity(image: Tensor) -> Tensor:
    """image [C,h,w] -> [8,h,w]: how alike the neighbours at a distance of 2 are, a softmax over them."""
    around = _neighbours(image[None])[0]  # [C,8,h,w]
    spread = around.std(dim=1, keepdim=True)
    distance = (around - image[:, None]).abs() / (spread + 1e-8) / SHARPNESS
    return (-distance.square()).mean(0).softmax(0)


def consistency_loss(masks: Tensor, likeness: Tensor, boxes: Tensor, *, rounds: int) -> Tensor:
    """masks [N,h,w] probabilities, likeness [8,h,w] -> [N] how far each mask is from what alike pixels around say.

    The mean over the box's pixels after so many rounds of averaging.
    """
    smooth, boxes = masks, boxes.to(masks)
    for _ in range(rounds):
        smooth = (_neighbours(smooth[:, None])[:, 0] * likeness).sum(1)
    return ((smooth - masks).abs() * boxes).sum((1, 2)) / boxes.sum((1, 2)).clamp(min=1)


def _neighbours(maps: Tensor) -> Tensor:
    """maps [N,C,h,w] -> [N,C,8,h,w]; beyond the border the last pixel goes on."""
    height, width = maps.shape[-2:]
    padded = F.pad(maps, (DILATION,) * 4, mode="replicate")
    return torch.stack(
        [
            padded[..., DILATION * (1 + dy) : DILATION * (1 + dy) + height, DILATION * (1 + dx) :][..., :width]
            for dy, dx in NEIGHBOURS
        ],
        dim=2,
    )
