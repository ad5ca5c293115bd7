"""Locations of FCOS (Tian et al., ICCV 2019) and which instance each learns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

STRIDES = (8, 16, 32, 64, 128)
# px, range of the largest distance from a location to the sides of its box. Fixed in all profiles, as the strides are.
RANGES = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, math.inf))
RADIUS = 1.5  # strides from the centre of an instance to each side


class Locations(NamedTuple):
    """Cells of all levels, one level after the other."""

    points: Tensor  # [L,2] x, y in px: their centres
    strides: Tensor  # [L] px
    low: Tensor  # [L] px, see `RANGES`
    high: Tensor  # [L]


def make_locations(map_sizes: Sequence[tuple[int, int]], *, device: torch.device) -> Locations:
    """Of maps of these (height, width), P3..P7."""
    points, level_values = [], []
    for (height, width), stride, distance_range in zip(map_sizes, STRIDES, RANGES, strict=True):
        y, x = ((torch.arange(side, device=device) + 0.5) * stride for side in (height, width))
        grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
        points.append(grid.reshape(-1, 2))
        level_values.append(torch.tensor([stride, *distance_range], device=device).expand(height * width, 3))
    return Locations(torch.cat(points), *torch.cat(level_values).unbind(1))


class Positives(NamedTuple):
    """The locations of one image that learn an instance."""

    rows: Tensor  # [P] of the locations
    instances: Tensor  # [P] in 0..G-1
    labels: Tensor  # [P] in 1..K
    points: Tensor  # [P,2] px
    sides: Tensor  # [P,4] px to the sides of the instance's box


@torch.no_grad()
def find_positives(locations: Locations, target: dict, *, centres: Tensor | None = None) -> Positives:
    """What the locations learn of an image's `boxes` [G,4] px and `labels` [G].

    centres: [G,2] px, near which an instance is learnt; NaN where it is not. By default the centres of the boxes.
    """
    boxes = target["boxes"]
    if centres is None:
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    instances = assign(locations, boxes, centres)
    rows = torch.where(instances >= 0)[0]
    instances, points = instances[rows], locations.points[rows]
    return Positives(rows, instances, target["labels"][instances], points, to_sides(points, boxes[instances]))


@torch.no_grad()
def assign(locations: Locations, boxes: Tensor, centres: Tensor) -> Tensor:
    """boxes [G,4] xyxy and centres [G,2] px -> [L] the instance that each location learns, -1 = none.

    A location learns an instance where it lies within 1.5 strides of its centre and inside its box, and the
    largest distance to a side is in its level's range; of several the one of the smallest box. An instance whose centre
    is NaN is not learnt.
    """
    if not len(boxes):
        return torch.full_like(locations.strides, -1, dtype=torch.long)
    reach = RADIUS * locations.strides[:, None, None]
    low, high = torch.maximum(boxes[:, :2], centres - reach), torch.minimum(boxes[:, 2:], centres + reach)
    place = locations.points[:, None]
    inside = ((place > low) & (place < high)).all(2)
    furthest = to_sides(locations.points[:, None], boxes).amax(2)
    fits = (furthest >= locations.low[:, None]) & (furthest <= locations.high[:, None])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    least, instance = torch.where(inside & fits, areas, math.inf).min(1)
    return instance.masked_fill(least.isinf(), -1)


def to_sides(points: Tensor, boxes: Tensor) -> Tensor:
    """points [...,2], boxes [...,4] xyxy -> [...,4] distances to the left, top, right and bottom side."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def from_sides(points: Tensor, sides: Tensor) -> Tensor:
    """points [...,2], distances [...,4] -> boxes [...,4] xyxy."""
    return torch.cat([points - sides[..., :2], points + sides[..., 2:]], dim=-1)


def centreness(sides: Tensor) -> Tensor:
    """Distances [...,4] of locations inside their boxes -> [...] in 0..1, 1 in the middle (Eq. 3)."""
    across, down = sides[..., 0::2], sides[..., 1::2]
    shares = across.amin(-1) / across.amax(-1) * (down.amin(-1) / down.amax(-1))
    return shares.clamp(min=0).sqrt()
