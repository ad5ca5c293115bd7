"""Mask targets cut from ground-truth masks of the original size: no mask is ever resized as a whole."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torchvision.ops import roi_align

CHUNK = 1 << 26  # mask pixels held as float at a time: 256 MB


@torch.no_grad()
def cut_masks(masks: Tensor, boxes: Tensor, matched: Tensor, *, size: int, aligned: bool, binary: bool) -> Tensor:
    """What each box sees of its ground-truth mask.

    masks: [G,H,W] of 0 and 1, any type. boxes: [R,4] xyxy in the pixels of the masks. matched: [R] in 0..G-1.
    Returns [R,size,size] float: the mask's average in each cell, or with `binary` whether they reach 0.5.
    """
    targets = boxes.new_zeros((len(boxes), size, size))
    for some, index, rows in in_chunks(masks, matched, pixels=CHUNK):
        rois = torch.cat([index[:, None].to(boxes), boxes[rows]], dim=1)
        targets[rows] = roi_align(some[:, None].to(boxes), rois, size, aligned=aligned)[:, 0]
    return (targets >= 0.5).to(boxes) if binary else targets


def in_chunks(masks: Tensor, matched: Tensor, *, pixels: int) -> Iterator[tuple[Tensor, Tensor, Tensor | slice]]:
    """The masks [G,H,W] that rows want, `matched` [R] in 0..G-1, so many that they have at most `pixels` together.

    Gives masks, the number among them that each of some rows wants, and these rows. A GPU takes all masks where they
    fit, needed or not: the host would wait for the list of those that are.
    """
    each = max(1, masks.shape[-2] * masks.shape[-1])
    if masks.is_cuda and masks.shape[0] * each <= pixels:
        yield masks, matched, slice(None)
        return
    for some in matched.unique().split(max(1, pixels // each)):
        rows = torch.where(torch.isin(matched, some))[0]
        yield masks[some], torch.searchsorted(some, matched[rows]), rows
