"""The pyramid of FCOS (Tian et al., ICCV 2019): P3..P7 from C3..C5."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from reprolib.models.feature_pyramid import top_down, xavier_conv


class FCOSPyramid(nn.Module):
    """[C2..C5] -> [P3..P7]: a FPN without P2, then P6 from P5 and P7 from ReLU(P6) by 3x3 convolutions of stride 2.

    in_channels: widths of C2..C5; C2 is not read.
    """

    def __init__(self, in_channels: Sequence[int], *, channels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList([xavier_conv(width, channels, kernel_size=1) for width in in_channels[1:]])
        self.outputs = nn.ModuleList([xavier_conv(channels, channels, kernel_size=3) for _ in in_channels[1:]])
        self.p6, self.p7 = (xavier_conv(channels, channels, kernel_size=3, stride=2) for _ in range(2))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        laterals = [lateral(level) for lateral, level in zip(self.laterals, maps[1:], strict=True)]
        pyramid = top_down(laterals, self.outputs)
        p6 = self.p6(pyramid[-1])
        return [*pyramid, p6, self.p7(p6.relu())]
