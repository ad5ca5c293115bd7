"""Polygons to masks."""

from __future__ import annotations

import torch
from torch import Tensor

TOGETHER = 2**25  # mask pixels that are filled at the same time


@torch.no_grad()
def fill_polygons(polygons: Tensor, size: tuple[int, int]) -> Tensor:
    """polygons [N,V,2] of x, y in px -> bool [N,*size]: pixels whose centre lies inside, by the even-odd rule."""
    height, width = size
    filled = torch.zeros((len(polygons), height, width), dtype=torch.bool, device=polygons.device)
    step = max(1, TOGETHER // max(1, height * width))
    for some, out in zip(polygons.split(step), filled.split(step), strict=True):
        out.copy_(_fill(some, height, width))
    return filled


def _fill(polygons: Tensor, height: int, width: int) -> Tensor:
    """Every edge turns, in each row that it crosses, all pixels right of it from outside to inside or back."""
    x, y = polygons[..., None].unbind(2)  # [N,V,1]
    next_x, next_y = (torch.roll(corners, -1, dims=1) for corners in (x, y))
    rows = torch.arange(height, device=polygons.device) + 0.5
    crossed = (y <= rows) != (next_y <= rows)  # [N,V,H]
    share = (rows - y) / torch.where(crossed, next_y - y, 1.0)
    first = (x + share * (next_x - x) - 0.5).ceil().clamp(0, width).long()
    turns = torch.zeros((len(polygons), height, width + 1), dtype=torch.int32, device=polygons.device)
    turns.scatter_add_(2, first.transpose(1, 2), crossed.transpose(1, 2).to(turns.dtype))
    return turns.cumsum(2, dtype=torch.int32)[..., :width] % 2 == 1
