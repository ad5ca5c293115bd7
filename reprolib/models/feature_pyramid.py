"""Feature pyramid network (Lin et al., CVPR 2017): P2..P6 from C2..C5."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """1x1 laterals, nearest top-down additions, 3x3 output convolutions, P6 by sub-sampling P5.

    in_channels: widths of C2..C5.
    laterals: modules C_i -> [B,channels,h,w] in place of the plain 1x1 convolutions.
    """

    def __init__(
        self, in_channels: Sequence[int], *, channels: int, laterals: Sequence[nn.Module] | None = None
    ) -> None:
        super().__init__()
        if laterals is None:
            laterals = [xavier_conv(width, channels, kernel_size=1) for width in in_channels]
        if len(laterals) != len(in_channels):
            raise ValueError(f"{len(laterals)} laterals were given for {len(in_channels)} maps")
        self.laterals = nn.ModuleList(laterals)
        self.outputs = nn.ModuleList([xavier_conv(channels, channels, kernel_size=3) for _ in in_channels])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """[C2..C5] -> [P2..P6], each [B,channels,h,w]; P6 has half the size of P5."""
        laterals = [lateral(level) for lateral, level in zip(self.laterals, maps, strict=True)]
        pyramid = top_down(laterals, self.outputs)
        return [*pyramid, subsample(pyramid[-1])]


def top_down(laterals: Sequence[Tensor], outputs: Iterable[nn.Module]) -> list[Tensor]:
    """Add each coarser map, enlarged to the finer one's size, then convolve; finest first."""
    merged = [laterals[-1]]
    for lateral in reversed(laterals[:-1]):
        # To the finer map's own size: a factor of 2 misses it by one where that size is odd.
        merged.insert(0, lateral + F.interpolate(merged[0], size=lateral.shape[-2:], mode="nearest"))
    return [output(level) for output, level in zip(outputs, merged, strict=True)]


def enlarge(x: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Bilinear, corners not aligned: to a finer map's own size, as a factor of 2 misses it where that is odd."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def subsample(level: Tensor) -> Tensor:
    """Every second row and column: [B,C,h,w] -> [B,C,ceil(h/2),ceil(w/2)]."""
    return F.max_pool2d(level, kernel_size=1, stride=2)


def xavier_conv(in_channels: int, out_channels: int, *, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Same-size convolution with bias; uniform Xavier weights as in the published FPN code."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    nn.init.zeros_(conv.bias)
    return conv
