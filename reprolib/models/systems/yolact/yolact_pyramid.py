"""The pyramid of YOLACT (Bolya et al., ICCV 2019): P3..P7 from C3..C5."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.feature_pyramid import xavier_conv


class YOLACTPyramid(nn.Module):
    """[C2..C5] -> [P3..P7]: bilinear top-down additions, two levels more by 3x3 convolutions of stride 2.

    in_channels: widths of C2..C5; C2 is not read. as_published: ReLU on P3..P5 and P6 from P5; otherwise, as in
    MMDetection, no ReLU and P6 from C5. Between P6 and P7 there is none in either.
    """

    def __init__(self, in_channels: Sequence[int], *, channels: int, as_published: bool) -> None:
        super().__init__()
        self.as_published = as_published
        self.laterals = nn.ModuleList([xavier_conv(width, channels, kernel_size=1) for width in in_channels[1:]])
        self.outputs = nn.ModuleList([xavier_conv(channels, channels, kernel_size=3) for _ in in_channels[1:]])
        self.p6 = xavier_conv(channels if as_published else in_channels[-1], channels, kernel_size=3, stride=2)
        self.p7 = xavier_conv(channels, channels, kernel_size=3, stride=2)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        merged = [lateral(level) for lateral, level in zip(self.laterals, maps[1:], strict=True)]
        for finer in (1, 0):
            size = merged[finer].shape[-2:]
            coarser = F.interpolate(merged[finer + 1], size=size, mode="bilinear", align_corners=False)
            merged[finer] = merged[finer] + coarser
        levels = [output(level) for output, level in zip(self.outputs, merged, strict=True)]
        if self.as_published:
            levels = [level.relu() for level in levels]
        p6 = self.p6(levels[-1] if self.as_published else maps[-1])
        return [*levels, p6, self.p7(p6)]
