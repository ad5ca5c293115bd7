"""Where a box head's cells lie in the image, what each should find there, and boxes as distances from a point.

Spec section 2.1 and 2.2; paper section 3.1. P is the number of cells of a RoI, row by row (49 of 7x7).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from reprolib.models.two_stage.samples import Samples


def locations(boxes: Tensor, *, size: int, floor: bool = False) -> Tensor:
    """Centres (x, y) of the size x size cells of each box, Eq. 1: boxes [R,4] xyxy -> [R,P,2].

    floor: as the code has it, rounded down to whole pixels, boxes under a pixel widened to one.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    if floor:
        sides = sides.clamp(min=1)
    centres = (torch.arange(size, dtype=boxes.dtype, device=boxes.device) + 0.5) / size
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    points = boxes[:, None, :2] + sides[:, None] * torch.stack([x, y], dim=-1).flatten(0, 1)
    return points.floor() if floor else points


def encode(points: Tensor, boxes: Tensor) -> Tensor:
    """points [...,2], boxes [...,4] xyxy -> distances [...,4] to the left, top, right and bottom side.

    All are positive exactly where the point lies strictly inside.
    """
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def decode(points: Tensor, distances: Tensor) -> Tensor:
    """The inverse of `encode`: points [...,2], distances [...,4] -> boxes [...,4] xyxy."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


class LocationTargets(NamedTuple):
    """What the cells of the sampled boxes of a batch should find."""

    labels: Tensor  # [R,P], 0 = background, else 1..K
    boxes: Tensor  # [R,P,4] xyxy in batch pixels, of the location's instance; without meaning at background


def location_targets(points: Tensor, samples: Samples, targets: list[dict], *, any_instance: bool) -> LocationTargets:
    """points: [R,P,2], of all images' samples. A location is positive strictly inside an instance's box.

    any_instance: of whichever instance, the smallest where there are several (paper's text), also in boxes that are
    background; otherwise only of the one that the box is matched with (code).
    """
    counts = [len(labels) for labels in samples.labels]
    rows = zip(points.split(counts), samples.labels, samples.matched, targets, strict=True)
    parts = []
    for point, labels, matched, target in rows:
        truth = target["boxes"].to(points)
        if not len(truth):
            nothing = torch.zeros_like(point[..., 0], dtype=torch.long)
            parts.append((nothing, point.new_zeros((*nothing.shape, 4))))
        elif any_instance:
            parts.append(_smallest_instance(point, truth, target["labels"]))
        else:
            parts.append(_matched_instance(point, truth[matched], labels))
    return LocationTargets(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _matched_instance(points: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """points [S,P,2], each RoI's instance [S,4] and class [S], 0 = background."""
    boxes = boxes[:, None].expand(-1, points.shape[1], -1)
    return torch.where(_inside(points, boxes), labels[:, None], 0), boxes


def _smallest_instance(points: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """points [S,P,2], the image's instances [G,4] and their classes [G]."""
    inside = _inside(points[:, :, None], boxes)  # [S,P,G]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=-1)
    smallest = torch.where(inside, area, torch.inf).argmin(dim=-1)
    return torch.where(inside.any(dim=-1), labels[smallest], 0), boxes[smallest]


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    """points [...,2], boxes [...,4] -> bool [...]."""
    return ((points > boxes[..., :2]) & (points < boxes[..., 2:])).all(dim=-1)
