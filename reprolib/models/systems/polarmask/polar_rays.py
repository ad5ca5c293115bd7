"""Masks as distances along rays, as PolarMask has them (Xie et al., CVPR 2020): targets, loss, polygons."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reprolib.models.on_device import numbers_like

RAYS = 36
TRIED = (0, 1, -1, 2, -2, 3, -3)  # offsets in degrees from a ray; the first with a point of the outline is used
NOTHING = 1e-6  # px, length of a ray without such a point


@torch.no_grad()
def rays_to(outline: Tensor, points: Tensor, *, count: int = RAYS) -> Tensor:
    """Distances [P,count] px from points [P,2] to an outline's points [N,2] along rays (section 3.2, algorithm 1).

    Ray i leaves at i * 360 / count degrees, from the direction of y towards that of x. The furthest point of the same
    whole degree counts, else of a degree next to it, up to three on either side.
    """
    x, y = (outline - points[:, None]).unbind(-1)
    degree = (torch.atan2(x, y).rad2deg() % 360).long().clamp(max=359)
    furthest = x.new_zeros((len(points), 360)).scatter_reduce(1, degree, torch.hypot(x, y), "amax")
    tried = (
        torch.arange(count, device=points.device) * (360 // count) + torch.tensor(TRIED, device=points.device)[:, None]
    )
    lengths = furthest[:, tried % 360]  # [P,tries,count]
    first = (lengths > 0).int().argmax(1, keepdim=True)
    return lengths.gather(1, first)[:, 0].clamp(min=NOTHING)


def polar_centreness(rays: Tensor) -> Tensor:
    """[P,rays] -> [P] in 0..1: root of the shortest over the longest (Eq. 1)."""
    return (rays.amin(1) / rays.amax(1)).sqrt()


def polar_iou_loss(rays: Tensor, target_rays: Tensor) -> Tensor:
    """[P,rays] px, both -> [P] log of the sum of the longer over that of the shorter of each pair (Eq. 7)."""
    return (torch.maximum(rays, target_rays).sum(1) / torch.minimum(rays, target_rays).sum(1).clamp(min=NOTHING)).log()


def polygons_of(points: Tensor, rays: Tensor, *, size: tuple[int, int]) -> Tensor:
    """points [N,2] and rays [N,R] px -> corners [N,R,2], each moved into an image of `size` (height, width)."""
    corners = points[:, None] + rays[..., None] * directions(rays.shape[1], like=rays)
    return torch.minimum(corners.clamp(min=0), numbers_like([size[1], size[0]], corners))


def directions(count: int, *, like: Tensor) -> Tensor:
    """[count,2] x, y of length 1: where the rays leave to."""
    angle = torch.arange(count, device=like.device) * (2 * math.pi / count)
    return torch.stack([angle.sin(), angle.cos()], dim=1)
