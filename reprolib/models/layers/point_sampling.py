"""Values of maps at points between their pixels, and which points to look at (PointRend, Kirillov et al., CVPR 2020).

Points are (x, y). Where a map or a box is the unit, its corners are (0, 0) and (1, 1) and pixel i of n has its centre
at (i + 0.5) / n. Between centres values are bilinear; beyond the map everything is 0, so that a map fades out over
the last half pixel, as in the reference code.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.on_device import numbers_like


def regular_grid(side: int, *, device: torch.device | None = None) -> Tensor:
    """[side * side, 2]: the centres of side x side cells of the unit square, row by row."""
    return map_points((side, side), device=device)


def map_points(size: tuple[int, int], *, device: torch.device | None = None) -> Tensor:
    """[height * width, 2]: the centres of the pixels of a map of (height, width), row by row, in units of the map."""
    y, x = torch.meshgrid(*((torch.arange(side, device=device) + 0.5) / side for side in size), indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def sample_maps(maps: Tensor, points: Tensor) -> Tensor:
    """maps [N,C,H,W] at points [N,P,2] in units of the map -> [N,C,P], in the points' precision."""
    return F.grid_sample(maps.to(points.dtype), 2 * points[:, None] - 1, align_corners=False)[:, :, 0]


def sample_boxes(feature: Tensor, boxes: list[Tensor], points: Tensor, *, stride: int) -> Tensor:
    """What a feature map shows at points of boxes.

    feature: [B,C,H,W]. boxes: [N,4] xyxy per image in batch pixels, R in all. points: [R,P,2] in units of the boxes.
    stride: batch pixels per pixel of the feature. Returns [R,C,P].
    """
    counts = [len(image_boxes) for image_boxes in boxes]
    size = numbers_like([feature.shape[-1], feature.shape[-2]], points) * stride
    places = in_boxes(points, torch.cat(boxes)) / size
    sampled = [
        sample_maps(image[None], place.flatten(0, 1)[None])[0].unflatten(1, place.shape[:2]).transpose(0, 1)
        for image, place in zip(feature, places.split(counts), strict=True)
    ]
    return torch.cat(sampled)


def in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """points [R,P,2] in units of the boxes [R,4] xyxy -> [R,P,2] in the boxes' pixels."""
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    return low + points * (high - low)


def sample_pixels(maps: Tensor, index: Tensor, points: Tensor) -> Tensor:
    """What one of the maps shows at points in its pixels, without a copy of the map per row.

    maps: [G,H,W] of any type. index: [R] in 0..G-1. points: [R,P,2] px, pixel i having its centre at i + 0.5.
    Returns [R,P] in the points' precision.
    """
    height, width = maps.shape[-2:]
    low = (points - 0.5).floor()
    part = points - 0.5 - low
    low = low.long()
    values = torch.zeros_like(points[..., 0])
    for dx, across in enumerate((1 - part[..., 0], part[..., 0])):
        for dy, down in enumerate((1 - part[..., 1], part[..., 1])):
            x, y = low[..., 0] + dx, low[..., 1] + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            value = maps[index[:, None], y.clamp(0, height - 1), x.clamp(0, width - 1)]
            values = values + value.to(points.dtype) * across * down * inside
    return values


@torch.no_grad()
def uncertain_points(logits: Tensor, count: int, *, oversample: int = 3, share: float = 0.75) -> Tensor:
    """Random points of logit maps [R,H,W], most of them where the logits are near 0: [R,count,2] in units of the maps.

    Of `oversample` x count uniform points the `share` x count with the smallest |logit| stay; uniform ones fill up.
    The uncertainty is that of the interpolated logit: between +1 and -1 it is highest.
    """
    candidates = torch.rand((len(logits), count * oversample, 2), device=logits.device)
    confidence = sample_maps(logits[:, None], candidates)[:, 0].abs()
    kept = confidence.topk(int(count * share), largest=False).indices
    chosen = candidates.gather(1, kept[..., None].expand(-1, -1, 2))
    fresh = torch.rand((len(logits), count - chosen.shape[1], 2), device=logits.device)
    return torch.cat([chosen, fresh], dim=1)


def subdivide(evaluate: Callable[[Tensor], Tensor], first: Tensor, *, steps: int, points: int) -> Tensor:
    """Adaptive subdivision (PointRend, section 3.1): a fine logit map from few evaluations.

    evaluate: points [N,P,2] in units of the maps -> their logits [N,P]. first: [N,s,s], evaluated already. Each step
    doubles the side bilinearly and evaluates anew the `points` pixels of smallest |logit|. Returns
    [N, s * 2^steps, s * 2^steps].
    """
    logits = first
    for _ in range(steps):
        logits = F.interpolate(logits[:, None], scale_factor=2, mode="bilinear", align_corners=False)[:, 0]
        side = logits.shape[-1]
        flat = logits.flatten(1)
        chosen = flat.abs().topk(min(points, side * side), largest=False).indices
        values = evaluate(regular_grid(side, device=logits.device)[chosen])
        logits = flat.scatter(1, chosen, values).unflatten(1, (side, side))
    return logits


class PointGridPooler(nn.Module):
    """P2 and boxes -> [R,C,resolution,resolution]: one bilinear sample at the centre of each cell.

    Inside the map it is RoIAlign with one sample per bin. stride: that of P2; no other level is read.
    """

    def __init__(self, *, resolution: int, stride: int = 4) -> None:
        super().__init__()
        self.resolution, self.stride = resolution, stride

    def forward(self, features: list[Tensor], boxes: list[Tensor]) -> Tensor:
        count = sum(len(image_boxes) for image_boxes in boxes)
        points = regular_grid(self.resolution, device=boxes[0].device).expand(count, -1, -1)
        sampled = sample_boxes(features[0], boxes, points, stride=self.stride)
        return sampled.unflatten(2, (self.resolution, self.resolution))

    def placeholder(self, features: list[Tensor], count: int) -> Tensor:
        """Zeros of the shape that `count` boxes give; for counting what heads cost."""
        return features[0].new_zeros((count, features[0].shape[1], self.resolution, self.resolution))
