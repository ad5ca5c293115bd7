"""What the cells of SOLOv2 learn (Wang et al., NeurIPS 2020): instances whose centre region they lie in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reprolib.models.mask_resize import masks_in_batch
from reprolib.models.on_device import numbers_like
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.solov2.solov2_levels import Level

CENTRE = 0.2  # side of the centre region, as a share of the box's side
COLLISIONS = ("both_masks", "last_wins")


class CellTargets(NamedTuple):
    """An image's instances and the cells that may learn them; cells of all levels, one level after the other."""

    candidates: Tensor  # [G,cells] bool: the cell lies in the instance's centre region, on a level of its size
    labels: Tensor  # [G] in 1..K
    masks: Tensor  # [G,h,w] bool, in pixels of the mask feature; nothing in the padding


class Cells(NamedTuple):
    """The predictions of one image at the cells of all levels, in the same order; with gradients."""

    categories: Tensor  # [cells,K] logits
    kernels: Tensor  # [cells,E]
    mask_feature: Tensor  # [E,h,w]


def dynamic_masks(kernels: Tensor, mask_feature: Tensor) -> Tensor:
    """kernels [N,E], mask_feature [E,h,w] -> mask logits [N,h,w]: a 1x1 convolution of the map per kernel."""
    return (kernels @ mask_feature.flatten(1)).unflatten(1, mask_feature.shape[1:])


# Decides which of several instances a cell learns: returns `candidates` [G,cells] with some set to False; no gradients.
Assign = Callable[[CellTargets, Cells], Tensor]


def both_masks(targets: CellTargets, cells: Cells) -> Tensor:
    """The rule of the published code: a cell's category is its last instance's, its kernel learns all their masks."""
    return targets.candidates


def last_wins(targets: CellTargets, cells: Cells) -> Tensor:
    """A cell learns its last instance alone."""
    last = last_instance(targets.candidates)
    rows = torch.arange(1, 1 + len(targets.candidates), device=last.device)
    return rows[:, None] == last


def find_collision(name: str) -> Assign:
    """The rule called `name`; raises ValueError naming the known ones."""
    check_choice("collision", name, COLLISIONS)
    return both_masks if name == "both_masks" else last_wins


def last_instance(assigned: Tensor) -> Tensor:
    """assigned [G,cells] bool -> [cells] number from 1 of the last instance of each cell, 0 where there is none."""
    numbers = torch.arange(1, 1 + len(assigned), device=assigned.device)
    none = assigned.new_zeros((1, assigned.shape[1]), dtype=torch.long)
    return torch.cat([none, assigned * numbers[:, None]]).amax(0)


def cell_labels(assigned: Tensor, labels: Tensor) -> Tensor:
    """assigned [G,cells] bool, labels [G] -> [cells] label of each cell's last instance, 0 = background."""
    return torch.cat([labels.new_zeros(1), labels])[last_instance(assigned)]


@torch.no_grad()
def instance_targets(
    target: dict, levels: Sequence[Level], *, image_size: tuple[int, int], mask_size: tuple[int, int]
) -> CellTargets:
    """The truth of one image.

    target: as `InputTransform` gives it, boxes in px of the batch and masks of the original size. image_size: (height,
    width) inside the padded batch. mask_size: (height, width) of the mask feature, a quarter of the padded batch; grids
    lie over the whole of it.
    """
    boxes, masks = target["boxes"], target["masks"]
    x, y = target["to_original"]
    centres = mass_centres(masks) / numbers_like([x, y], boxes)
    padded = 4 * mask_size[0], 4 * mask_size[1]
    inside = round(image_size[0] / 4), round(image_size[1] / 4)
    resized = masks_in_batch(masks, inside, mask_size)
    seen = [centre_cells(boxes, centres, level, size=padded).flatten(1) for level in levels]
    return CellTargets(candidates=torch.cat(seen, dim=1), labels=target["labels"], masks=resized)


def centre_cells(boxes: Tensor, centres: Tensor, level: Level, *, size: tuple[int, int]) -> Tensor:
    """Cells of one grid that learn an instance: [G,grid,grid] bool, none where the level is not for its size.

    boxes [G,4] xyxy and centres [G,2] (x, y) in px; size: (height, width) in px that the grid covers. Cells touch a
    region of 0.2 times the box's sides around the centre, and are the centre's own or its neighbours. No cell learns an
    instance without pixels, whose centre is NaN.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    fits = sides.prod(1).sqrt()
    fits = (fits >= level.smallest) & (fits <= level.largest)
    cell = numbers_like([size[1], size[0]], boxes) / level.grid
    own, reach = (centres / cell).floor(), CENTRE / 2 * sides
    first = ((centres - reach) / cell).floor().maximum(own - 1)
    last = ((centres + reach) / cell).floor().minimum(own + 1)
    place = torch.arange(level.grid, device=boxes.device)
    across, down = ((place >= first[:, axis, None]) & (place <= last[:, axis, None]) for axis in (0, 1))
    return down[:, :, None] & across[:, None] & fits[:, None, None]


def mass_centres(masks: Tensor) -> Tensor:
    """masks [G,H,W] of 0 and 1 -> [G,2] mean x and y of their pixels' centres, NaN for an empty mask."""
    height, width = masks.shape[-2:]
    columns, rows = masks.sum(1, dtype=torch.float32), masks.sum(2, dtype=torch.float32)
    across = torch.arange(width, device=masks.device) + 0.5
    down = torch.arange(height, device=masks.device) + 0.5
    return torch.stack([columns @ across, rows @ down], dim=1) / rows.sum(1, keepdim=True)
