"""RoIAlign for CPUs: the same numbers as torchvision's kernel, several times faster, backward too.

Every output cell is a weighted sum of feature vectors, which is what `embedding_bag` computes: pixels are the rows
of its table, bilinear weights its per-sample weights. torchvision's kernel walks channel by channel on one thread.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def roi_align_cpu(feature: Tensor, rois: Tensor, resolution: int, scale: float, sampling: int, aligned: bool) -> Tensor:
    """feature [B,C,H,W], rois [R,5] (image index, xyxy px) -> [R,C,resolution,resolution], laid out channels last.

    scale: feature pixels per image pixel. sampling: samples per bin and axis, 0 = as many as the bin has pixels,
    rounded up. aligned: shift by half a feature pixel. The results are those of `torchvision.ops.roi_align`.
    """
    channels, height, width = feature.shape[1:]
    if not len(rois):
        return feature.new_zeros((0, channels, resolution, resolution))
    indices, weights, sizes, order = [], [], [], []
    with torch.no_grad():
        start = rois[:, 1:3].float() * scale - 0.5 * aligned
        size = rois[:, 3:5].float() * scale - 0.5 * aligned - start
        if not aligned:
            size = size.clamp(min=1)
        counts = torch.full_like(size, sampling) if sampling else (size / resolution).ceil().clamp(min=0)
        most = counts.amax(1).clamp(min=1).long()
        for samples in most.unique().tolist():  # boxes with equally many samples make one dense block
            rows = torch.where(most == samples)[0]
            bins = start[rows], size[rows] / resolution, counts[rows]
            x, across = _axis(*(part[:, 0] for part in bins), resolution, samples, width)
            y, down = _axis(*(part[:, 1] for part in bins), resolution, samples, height)
            image = rois[rows, 0].long().view(-1, 1, 1, 1, 1) * (height * width)
            indices.append((image + y[:, :, None, :, None] * width + x[:, None, :, None, :]).flatten())
            weights.append((down[:, :, None, :, None] * across[:, None, :, None, :]).flatten())
            sizes.append(torch.full((len(rows) * resolution**2,), (2 * samples) ** 2))
            order.append(rows)
        offsets = torch.cat(sizes).cumsum(0).roll(1)
        offsets[0] = 0
    table = feature.permute(0, 2, 3, 1).reshape(-1, channels)
    bags = F.embedding_bag(
        torch.cat(indices), table, offsets, mode="sum", per_sample_weights=torch.cat(weights).to(table.dtype)
    )
    pooled = bags.view(-1, resolution, resolution, channels)
    if len(order) > 1:
        pooled = pooled[torch.cat(order).argsort()]
    return pooled.permute(0, 3, 1, 2)


def _axis(
    start: Tensor, bin_size: Tensor, counts: Tensor, bins: int, samples: int, length: int
) -> tuple[Tensor, Tensor]:
    """Pixel indices and weights [R,bins,2*samples] along one axis; samples beyond a box's own count weigh nothing."""
    number = torch.arange(samples)
    within = (number + 0.5) / counts.clamp(min=1)[:, None]  # [R,samples], in bins
    place = start[:, None, None] + bin_size[:, None, None] * (torch.arange(bins)[:, None] + within[:, None])
    share = (number < counts[:, None]) / counts.clamp(min=1)[:, None]
    share = share[:, None] * ((place >= -1) & (place <= length))
    place = place.clamp(0, length - 1)
    low = place.floor()
    high = (low + 1).clamp(max=length - 1)
    far = place - low
    return torch.cat([low, high], -1).long(), torch.cat([(1 - far) * share, far * share], -1)
