"""The outer border of an instance's largest part, as points, and the centroid of the polygon through them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

SHORTEST = 64  # px, least shorter side of a mask whose border is read, so that border points lie close together
MOST = 8  # largest factor by which a mask is enlarged for that
EIGHT = np.ones((3, 3), dtype=bool)  # pixels that touch at a corner belong together


class Outline(NamedTuple):
    """In px of the mask, pixel (0, 0) reaching from 0 to 1."""

    points: Tensor  # [N,2] x, y: centres of the border's pixels; none for an empty mask
    centre: Tensor  # [2] centroid of the polygon through them; NaN for an empty mask


@torch.no_grad()
def outlines(masks: Tensor) -> list[Outline]:
    """masks [G,H,W] of 0 and 1 -> the outline of each one's largest part, holes filled. Computed on the CPU."""
    return [_outline(mask, like=masks) for mask in masks.cpu().numpy().astype(bool)]


def _outline(mask: np.ndarray, *, like: Tensor) -> Outline:
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return Outline(torch.zeros((0, 2), device=like.device), torch.full((2,), torch.nan, device=like.device))
    top, left = rows[0], columns[0]
    region = ndimage.binary_fill_holes(mask[top : rows[-1] + 1, left : columns[-1] + 1])
    parts, count = ndimage.label(region, structure=EIGHT)
    if count > 1:
        region = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    times = min(MOST, -(-SHORTEST // min(region.shape)))
    region = region.repeat(times, 0).repeat(times, 1)
    y, x = np.nonzero(region & ~ndimage.binary_erosion(region))
    corner = torch.tensor([left, top], dtype=torch.float32)
    points = torch.from_numpy(np.stack([x, y], axis=1)).float()
    places = (((pixels + 0.5) / times + corner).to(like.device) for pixels in (points, polygon_centroid(region)))
    return Outline(*places)


def polygon_centroid(region: np.ndarray) -> Tensor:
    """region [H,W] bool without holes -> x, y of the centroid of the polygon through the centres of its border pixels.

    Four neighbouring pixels make a square of it, three a triangle. In units of pixels from the first one's centre;
    the mean of the pixels where the polygon has no area.
    """
    region = region.astype(np.int64)
    corners = region[:-1, :-1], region[:-1, 1:], region[1:, :-1], region[1:, 1:]
    count = sum(corners)
    area = np.where(count >= 3, (count - 2) / 2, 0.0)  # 1 of squares, 1/2 of triangles
    if not area.sum():
        y, x = np.nonzero(region)
        return torch.tensor([x.mean(), y.mean()], dtype=torch.float32)
    down, across = np.indices(count.shape)
    share = area / np.maximum(count, 1)
    x = (share * (across * count + corners[1] + corners[3])).sum() / area.sum()
    y = (share * (down * count + corners[2] + corners[3])).sum() / area.sum()
    return torch.tensor([x, y], dtype=torch.float32)
