"""Masks of a quarter of the network's input, brought to the image's size; and the boxes around masks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

STRIDE = 4  # px of the network's input per pixel of the masks given


@torch.no_grad()
def rescale_masks(masks: Tensor, image_size: tuple[int, int], original_size: tuple[int, int]) -> Tensor:
    """masks [N,h,w] probabilities at stride 4 of the padded input -> bool [N,*original_size].

    As if every mask were enlarged fourfold, cut to `image_size` (what is not padding), resized to the original size
    (both bilinear, corners not aligned) and compared with 0.5. What lies outside the pixels above 0.5 cannot
    get there by interpolation, so only the rectangle around them is computed: a tenth of the time, same masks.
    """
    result = torch.zeros((len(masks), *original_size), dtype=torch.bool, device=masks.device)
    down, across = (
        _axis(length, inside, original, device=masks.device)
        for length, inside, original in zip(masks.shape[-2:], image_size, original_size, strict=True)
    )
    above = masks > 0.5
    rows, columns = down.touched(above.any(2)).tolist(), across.touched(above.any(1)).tolist()
    for mask, (y0, y1, top, bottom), (x0, x1, left, right), out in zip(masks, rows, columns, result, strict=True):
        if y1 > y0 and x1 > x0:
            part = down.weights[y0:y1, top:bottom] @ mask[top:bottom, left:right]
            out[y0:y1, x0:x1] = part @ across.weights[x0:x1, left:right].T > 0.5
    return result


def mask_boxes(masks: Tensor) -> tuple[Tensor, Tensor]:
    """masks bool [N,H,W] -> boxes [N,4] xyxy px just around them, and [N] bool: there is a pixel, so a box."""
    (x0, x1), (y0, y1) = _extent(masks.any(1)), _extent(masks.any(2))
    return torch.stack([x0, y0, x1, y1], dim=1).float(), x1 > x0


class _Axis(NamedTuple):
    """Interpolation along one axis as a matrix; each new pixel reads the old ones from `first` up to `last`."""

    weights: Tensor  # [new,old]
    first: Tensor  # [new], rising
    last: Tensor  # [new], rising, exclusive

    def touched(self, above: Tensor) -> Tensor:
        """above bool [N,old] -> [N,4]: new pixels, from and to, that read any of them; old ones that these read."""
        start, end = _extent(above)
        begin = torch.searchsorted(self.last, start, right=True)
        stop = torch.searchsorted(self.first, end, right=False).maximum(begin)
        some = (end > start) & (stop > begin)
        stop = torch.where(some, stop, begin)
        inside = begin.clamp(max=len(self.first) - 1), (stop - 1).clamp(min=0)
        return torch.stack([begin, stop, self.first[inside[0]], self.last[inside[1]]], dim=1)


def _axis(length: int, inside: int, original: int, *, device: torch.device) -> _Axis:
    weights = _bilinear(length, STRIDE * length, device=device)[:inside]
    if inside != original:
        weights = _bilinear(inside, original, device=device) @ weights
    place = torch.arange(length, device=device)
    read = weights > 0
    first = torch.where(read, place, length).amin(1)
    return _Axis(weights, first, torch.where(read, place, -1).amax(1) + 1)


def _bilinear(old: int, new: int, *, device: torch.device) -> Tensor:
    """[new,old]: how much each old pixel counts in a new one."""
    place = ((torch.arange(new, device=device) + 0.5) * (old / new) - 0.5).clamp(0, old - 1)
    return (1 - (place[:, None] - torch.arange(old, device=device)).abs()).clamp(min=0)


def _extent(some: Tensor) -> tuple[Tensor, Tensor]:
    """some bool [N,L] -> first true place [N] and the one behind the last [N], equal where there is none."""
    length = some.shape[1]
    first = some.int().argmax(1)
    last = length - some.flip(1).int().argmax(1)
    return first, torch.where(some.any(1), last, first)
