"""RoIAlign over a pyramid: every box is read from the one level that fits its size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from reprolib.models.roi_align_cpu import roi_align_cpu


class RoIPooler(nn.Module):
    """P2.. and boxes -> [R,C,resolution,resolution]; level by box size (FPN paper, Eq. 1: 224 px reads P4).

    sampling: samples per bin and axis, 0 = as many as the bin has pixels. aligned: with the half-pixel shift.
    Maps beyond `strides` (P6) are not read.
    """

    def __init__(
        self, *, resolution: int, sampling: int, aligned: bool, strides: Sequence[int] = (4, 8, 16, 32)
    ) -> None:
        super().__init__()
        self.resolution, self.sampling, self.aligned, self.strides = (
            resolution,
            sampling,
            aligned,
            tuple(strides),
        )

    def forward(self, features: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """boxes: [N,4] xyxy per image in batch pixels -> [sum of N, C, resolution, resolution], in order."""
        rois = to_rois(boxes)
        levels = self.levels(rois[:, 1:])
        order, parts = [], []
        for level, (feature, stride) in enumerate(zip(features, self.strides, strict=False)):
            rows = torch.where(levels == level)[0]
            if len(rows):
                order.append(rows)
                parts.append(self._align(feature, rois[rows], stride))
        if not parts:
            return self._align(features[0], rois, self.strides[0])
        # Every row is written once, so sorting the rows back is all that is left; often all are of one level.
        return parts[0] if len(parts) == 1 else torch.cat(parts)[torch.cat(order).argsort()]

    def _align(self, feature: Tensor, rois: Tensor, stride: int) -> Tensor:
        align = roi_align_cpu if feature.device.type == "cpu" else roi_align
        # In the boxes' precision: under autocast the maps are bfloat16, which places a box to several pixels only.
        return align(feature.to(rois.dtype), rois, self.resolution, 1 / stride, self.sampling, self.aligned)

    def levels(self, boxes: Tensor) -> Tensor:
        """boxes [N,4] xyxy in pixels -> [N] indices into the strides."""
        finest = torch.tensor(self.strides[0], dtype=torch.float32).log2()
        size = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
        level = torch.floor(4 + torch.log2(size / 224) + 1e-6) - finest.to(boxes.device)
        return level.clamp(0, len(self.strides) - 1).long()


def to_rois(boxes: list[Tensor]) -> Tensor:
    """[N,4] per image -> [sum of N, 5] with the image's index in front."""
    return torch.cat([torch.cat([torch.full_like(b[:, :1], i), b], dim=1) for i, b in enumerate(boxes)])
