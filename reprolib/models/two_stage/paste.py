"""Predicted masks of a box's size back into the image, as booleans and only inside the box."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reprolib.models.mask_resize import TOGETHER
from reprolib.models.parts import POST_PROCESSING, part


@part(POST_PROCESSING)
@torch.no_grad()
def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int], *, exact: bool = True) -> Tensor:
    """masks: [N,m,m] probabilities; boxes: [N,4] xyxy px; size: (height, width) -> bool [N,height,width].

    exact: every pixel centre inside a box is interpolated at its place in the mask (detectron2, mmdetection).
    Otherwise the mask is resized to the box rounded to whole pixels (torchvision's pasting > 0.5, to the bit).
    """
    pasted = torch.zeros((len(masks), *size), dtype=torch.bool, device=masks.device)
    exactly = _paste_together if masks.is_cuda else _paste_exact
    paste = exactly if exact else _paste_rounded
    if len(masks):
        paste(masks.float(), boxes.float(), pasted)
    return pasted


def _paste_exact(masks: Tensor, boxes: Tensor, pasted: Tensor) -> None:
    height, width = pasted.shape[1:]
    resolution = masks.shape[-1]
    low, high = boxes[:, :2].floor().long(), boxes[:, 2:].ceil().long()
    for mask, box, (x0, y0), (x1, y1), out in zip(masks, boxes, low.tolist(), high.tolist(), pasted, strict=True):
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if x1 <= x0 or y1 <= y0:
            continue
        across = _weights(x0, x1, box[0], box[2], resolution)
        down = _weights(y0, y1, box[1], box[3], resolution)
        out[y0:y1, x0:x1] = down @ mask @ across.T > 0.5


def _paste_together(masks: Tensor, boxes: Tensor, pasted: Tensor) -> None:
    """As `_paste_exact`, which would ask a GPU mask by mask; every mask over the whole image."""
    height, width = pasted.shape[1:]
    step = max(1, TOGETHER // (height * width))
    for some, box, out in zip(masks.split(step), boxes.split(step), pasted.split(step), strict=True):
        across, down = (
            _all_weights(side, box[:, axis, None], box[:, axis + 2, None], masks.shape[-1])
            for axis, side in enumerate((width, height))
        )
        torch.gt(down @ some @ across.transpose(1, 2), 0.5, out=out)


def _all_weights(length: int, start: Tensor, end: Tensor, resolution: int) -> Tensor:
    """start, end [N,1] -> [N,length,resolution]: `_weights` of the pixels that a box touches, 0 for all others."""
    pixels = torch.arange(length, device=start.device)
    touched = (pixels >= start.floor()) & (pixels < end.ceil())
    return _shares(pixels + 0.5, start, end, resolution) * touched[..., None]


def _weights(first: int, last: int, start: Tensor, end: Tensor, resolution: int) -> Tensor:
    """[last-first, resolution]: the share of each mask cell in each pixel centre; zero outside the mask."""
    return _shares(torch.arange(first, last, device=start.device) + 0.5, start, end, resolution)


def _shares(centres: Tensor, start: Tensor, end: Tensor, resolution: int) -> Tensor:
    place = (centres - start) / (end - start).clamp(min=1e-6) * resolution - 0.5
    cells = torch.arange(resolution, device=start.device)
    return (1 - (place[..., None] - cells).abs()).clamp(min=0)


def _paste_rounded(masks: Tensor, boxes: Tensor, pasted: Tensor) -> None:
    height, width = pasted.shape[1:]
    resolution = masks.shape[-1]
    # Pad the mask by one empty cell and grow the box by as much, so that interpolation falls to 0 at the border.
    masks = F.pad(masks, (1, 1, 1, 1))
    grow = (resolution + 2) / resolution
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    grown = torch.cat([centre - half * grow, centre + half * grow], dim=1).long().tolist()
    for mask, (left, top, right, bottom), out in zip(masks, grown, pasted, strict=True):
        full = max(bottom - top + 1, 1), max(right - left + 1, 1)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right + 1, width), min(bottom + 1, height)
        if x1 <= x0 or y1 <= y0:
            continue
        resized = F.interpolate(mask[None, None], size=full, mode="bilinear", align_corners=False)[0, 0]
        out[y0:y1, x0:x1] = resized[y0 - top : y1 - top, x0 - left : x1 - left] > 0.5
