"""Feature pyramid of HRNetV2 (Sun et al., 2019, arXiv:1904.04514; spec section 7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.feature_pyramid import xavier_conv
from reprolib.models.switch_checks import check_choice

POOLS = {"avg": F.avg_pool2d, "max": F.max_pool2d}


class HighResolutionPyramid(nn.Module):
    """HRFPN: all maps joined at stride 4, reduced by a 1x1 convolution, pooled down to five levels; no top-down path.

    in_channels: widths of C2..C5. hrfpn_pool: `avg` (the default of the public code) or `max`.
    Raises ValueError for any other pooling.
    """

    def __init__(self, in_channels: Sequence[int], *, channels: int, hrfpn_pool: str = "avg") -> None:
        super().__init__()
        check_choice("hrfpn_pool", hrfpn_pool, POOLS)
        self.pool = POOLS[hrfpn_pool]
        self.reduction = xavier_conv(sum(in_channels), channels, kernel_size=1)
        self.outputs = nn.ModuleList([xavier_conv(channels, channels, kernel_size=3) for _ in range(5)])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """[C2..C5] -> [P2..P6], each [B,channels,h,w], at strides 4 to 64."""
        return [output(level) for output, level in zip(self.outputs, self.levels(maps), strict=True)]

    def levels(self, maps: list[Tensor]) -> list[Tensor]:
        """[C2..C5] -> the five maps before their 3x3 convolutions: the reduced one and its poolings."""
        size = maps[0].shape[-2:]
        enlarged = [F.interpolate(level, size=size, mode="bilinear", align_corners=False) for level in maps[1:]]
        finest = self.reduction(torch.cat([maps[0], *enlarged], dim=1))
        # P6 of an input that is no multiple of 64 has a last row of half windows, as a FPN's P6 has: averaged over
        # what is inside the map. Dropping it (mmdetection) leaves an input of 32 pixels without P6.
        return [finest, *(self.pool(finest, 2**i, stride=2**i, ceil_mode=True) for i in range(1, 5))]
