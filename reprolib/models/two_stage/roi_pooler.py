"""RoIAlign over a pyramid: every box is read from the one level that fits its size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from reprolib.models.dialects import find_dialect
from reprolib.models.on_device import rows_where
from reprolib.models.two_stage.roi_align_cpu import roi_align_cpu


class RoIPooler(nn.Module):
    """P2.. and boxes -> [R,C,resolution,resolution]; level by box size (FPN paper, Eq. 1: 224 px reads P4).

    sampling: samples per bin and axis, 0 = as many as the bin has pixels. aligned: with the half-pixel shift.
    Maps beyond `strides` (P6) are not read. finest_scale: boxes under twice this size, in px, read the finest map
    (default 14 times its stride, the FPN paper's rule).
    """

    def __init__(
        self,
        *,
        resolution: int,
        sampling: int,
        aligned: bool,
        strides: Sequence[int] = (4, 8, 16, 32),
        finest_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.resolution, self.sampling, self.aligned = resolution, sampling, aligned
        self.strides = tuple(strides)
        self.finest_scale = finest_scale or 14 * self.strides[0]

    def forward(self, features: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """boxes: [N,4] xyxy per image in batch pixels -> [sum of N, C, resolution, resolution], in order."""
        rois = to_rois(boxes)
        return self._read(features, rois, self.levels(rois[:, 1:]))

    def _read(self, features: list[Tensor], rois: Tensor, levels: Tensor) -> Tensor:
        """rois [R,5], levels [R] indices into the strides."""
        if len(self.strides) == 1 or not len(rois):
            return self._align(features[0], rois, self.strides[0])
        rows = rows_where([levels == level for level in range(len(self.strides))])
        levels = zip(features, self.strides, rows, strict=False)
        pooled = [self._align(feature, rois[chosen], stride) for feature, stride, chosen in levels if len(chosen)]
        return torch.cat(pooled)[torch.cat(rows).argsort()]

    def _align(self, feature: Tensor, rois: Tensor, stride: int) -> Tensor:
        align = roi_align_cpu if feature.device.type == "cpu" else roi_align
        # In the boxes' precision: under autocast the maps are bfloat16, which places a box to several pixels only.
        return align(feature.to(rois.dtype), rois, self.resolution, 1 / stride, self.sampling, self.aligned)

    def levels(self, boxes: Tensor) -> Tensor:
        """boxes [N,4] xyxy in pixels -> [N] indices into the strides."""
        size = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
        level = torch.floor(torch.log2(size / self.finest_scale) + 1e-6)
        return level.clamp(0, len(self.strides) - 1).long()

    def placeholder(self, features: list[Tensor], count: int) -> Tensor:
        """Zeros of the shape that `count` boxes give; for counting what heads cost."""
        return features[0].new_zeros((count, features[0].shape[1], self.resolution, self.resolution))


class AllLevelPooler(RoIPooler):
    """P2.. and boxes -> [R,levels,C,resolution,resolution]: every box is read from every level of `strides`."""

    def forward(self, features: list[Tensor], boxes: list[Tensor]) -> Tensor:
        rois = to_rois(boxes)
        levels = zip(features, self.strides, strict=False)
        return torch.stack([self._align(feature, rois, stride) for feature, stride in levels], dim=1)

    def placeholder(self, features: list[Tensor], count: int) -> Tensor:
        return torch.stack([super().placeholder(features, count)] * len(self.strides), dim=1)


def roi_pooler(
    resolution: int,
    *,
    dialect: str,
    strides: Sequence[int] = (4, 8, 16, 32),
    finest_scale: float | None = None,
) -> RoIPooler:
    """The dialect's RoIAlign, every box from one level."""
    bundle = find_dialect(dialect)
    return RoIPooler(
        resolution=resolution,
        sampling=bundle.roi_sampling,
        aligned=bundle.roi_aligned,
        strides=strides,
        finest_scale=finest_scale,
    )


def all_level_pooler(resolution: int, *, dialect: str, strides: Sequence[int] = (4, 8, 16, 32)) -> AllLevelPooler:
    """The dialect's RoIAlign, every box from every level."""
    bundle = find_dialect(dialect)
    return AllLevelPooler(
        resolution=resolution, sampling=bundle.roi_sampling, aligned=bundle.roi_aligned, strides=strides
    )


def to_rois(boxes: list[Tensor]) -> Tensor:
    """[N,4] per image -> [sum of N, 5] with the image's index in front."""
    return torch.cat([torch.cat([torch.full_like(b[:, :1], i), b], dim=1) for i, b in enumerate(boxes)])
