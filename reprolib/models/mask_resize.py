"""Whole masks from one resolution to another, and the boxes around masks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

STRIDE = 4  # px of the network's input per pixel of masks that are enlarged first
TOGETHER = 2**26  # mask pixels that are resized at the same time: 256 MB


@torch.no_grad()
def rescale_masks(
    masks: Tensor, original_size: tuple[int, int], *, image_size: tuple[int, int] | None = None
) -> Tensor:
    """masks [N,h,w] probabilities of the network's input -> bool [N,*original_size].

    As if every mask were resized to the original size (bilinear, corners not aligned) and compared with 0.5; where
    `image_size`, what is not padding of the input, is given, first enlarged fourfold and cut to it. What lies outside
    the pixels above 0.5 cannot get there by interpolation, so only the rectangle around them is computed: same masks, a
    tenth of the time. A GPU, which takes longer to be asked mask by mask, computes all of them at once.
    """
    result = torch.zeros((len(masks), *original_size), dtype=torch.bool, device=masks.device)
    down, across = (
        _axis(length, inside, original, device=masks.device)
        for length, inside, original in zip(masks.shape[-2:], image_size or (None, None), original_size, strict=True)
    )
    above = masks > 0.5
    rows, columns = down.touched(_any(above, 2)), across.touched(_any(above, 1))
    resize = _resize_together if masks.is_cuda else _resize_rectangles
    resize(masks, (down.weights, across.weights), (rows, columns), result)
    return result


def _resize_rectangles(
    masks: Tensor, weights: tuple[Tensor, Tensor], touched: tuple[Tensor, Tensor], result: Tensor
) -> None:
    """weights, touched [N,4]: of the two axes, see `_Axis`. result bool [N,H,W], filled."""
    down, across = weights
    rows, columns = (axis.tolist() for axis in touched)
    for mask, (y0, y1, top, bottom), (x0, x1, left, right), out in zip(masks, rows, columns, result, strict=True):
        if y1 > y0 and x1 > x0:
            part = down[y0:y1, top:bottom] @ mask[top:bottom, left:right]
            out[y0:y1, x0:x1] = part @ across[x0:x1, left:right].T > 0.5


def _resize_together(
    masks: Tensor, weights: tuple[Tensor, Tensor], touched: tuple[Tensor, Tensor], result: Tensor
) -> None:
    """As `_resize_rectangles`; what it leaves out is cleared, where rounding might lift an exact 0.5."""
    down, across = weights
    rows, columns = (
        (place >= axis[:, :1]) & (place < axis[:, 1:2])
        for place, axis in zip(
            (torch.arange(len(matrix), device=matrix.device) for matrix in weights), touched, strict=True
        )
    )
    step = max(1, TOGETHER // (len(down) * len(across)))
    for some, out, high, wide in zip(*(part.split(step) for part in (masks, result, rows, columns)), strict=True):
        torch.logical_and(down @ some @ across.T > 0.5, high[:, :, None] & wide[:, None], out=out)


def mask_boxes(masks: Tensor) -> tuple[Tensor, Tensor]:
    """masks bool [N,H,W] -> boxes [N,4] xyxy px just around them, and [N] bool: there is a pixel, so a box."""
    (x0, x1), (y0, y1) = _extent(_any(masks, 1)), _extent(_any(masks, 2))
    return torch.stack([x0, y0, x1, y1], dim=1).float(), x1 > x0


@torch.no_grad()
def sample_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """masks [G,H,W] of 0 and 1 -> [G,*size] in 0..1, bilinear at the new pixels' centres.

    Reads the four neighbours alone: no mask becomes floating point as a whole.
    """
    (top, bottom, down), (left, right, across) = (
        _neighbours(old, new, masks.device) for old, new in zip(masks.shape[-2:], size, strict=True)
    )
    upper, lower = (
        torch.lerp(masks[:, rows][:, :, left].float(), masks[:, rows][:, :, right].float(), across)
        for rows in (top, bottom)
    )
    return torch.lerp(upper, lower, down[:, None])


def masks_in_batch(masks: Tensor, inside: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """masks [G,H,W] of an image -> bool [G,*size], resized to `inside`, (height, width), and padded as the batch is."""
    resized = torch.zeros((len(masks), *size), dtype=torch.bool, device=masks.device)
    resized[:, : inside[0], : inside[1]] = sample_masks(masks, inside) >= 0.5
    return resized


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


def _axis(length: int, inside: int | None, original: int, *, device: torch.device) -> _Axis:
    weights = torch.eye(length, device=device)
    if inside is not None:
        weights = _enlarged(weights, STRIDE * length)[:inside]
    if len(weights) != original:
        weights = _enlarged(weights, original)
    place = torch.arange(length, device=device)
    read = weights > 0
    first = torch.where(read, place, length).amin(1)
    return _Axis(weights, first, torch.where(read, place, -1).amax(1) + 1)


def _enlarged(rows: Tensor, count: int) -> Tensor:
    """[old,C] -> [count,C], bilinear along the first axis."""
    before, behind, share = _neighbours(len(rows), count, rows.device)
    return rows[before] * (1 - share[:, None]) + rows[behind] * share[:, None]


def _neighbours(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Per new pixel of one axis: the old one before and behind its centre, and the latter's share."""
    place = ((torch.arange(new, device=device) + 0.5) * (old / new) - 0.5).clamp(0, old - 1)
    before = place.floor().long()
    return before, (before + 1).clamp(max=old - 1), place - before


def _any(masks: Tensor, dim: int) -> Tensor:
    """masks bool -> bool without that dimension. On a CPU `any` reads one value at a time, the largest byte many."""
    return masks.view(torch.uint8).amax(dim).bool()


def _extent(some: Tensor) -> tuple[Tensor, Tensor]:
    """some bool [N,L] -> first true place [N] and the one behind the last [N], equal where there is none."""
    length = some.shape[1]
    first = some.int().argmax(1)
    last = length - some.flip(1).int().argmax(1)
    return first, torch.where(some.any(1), last, first)
