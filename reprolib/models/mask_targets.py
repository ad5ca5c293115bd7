"""Mask targets cut from ground-truth masks of the original size: no mask is ever resized as a whole."""

from __future__ import annotations

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
    per_chunk = max(1, CHUNK // max(1, masks.shape[-2] * masks.shape[-1]))
    used = matched.unique()
    for some in used.split(per_chunk):
        rows = torch.where(torch.isin(matched, some))[0]
        index = torch.searchsorted(some, matched[rows])
        rois = torch.cat([index[:, None].to(boxes), boxes[rows]], dim=1)
        targets[rows] = roi_align(masks[some][:, None].to(boxes), rois, size, aligned=aligned)[:, 0]
    return (targets >= 0.5).to(boxes) if binary else targets
