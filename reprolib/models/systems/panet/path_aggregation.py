"""Bottom-up path augmentation on a feature pyramid (PANet, Liu et al., CVPR 2018, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from reprolib.models.feature_pyramid import FeaturePyramid, subsample, xavier_conv
from reprolib.models.switch_checks import check_choice

CHAINS = ("post_conv", "pre_conv")


class PathAggregationPyramid(nn.Module):
    """A feature pyramid P2..P5, then a path of strided convolutions back down to N2..N6 (PAFPN).

    N2 = P2; S_{i+1} = conv3x3, stride 2 (source) + P_{i+1}; N_{i+1} = conv3x3(S_{i+1}); N6 sub-samples N5.
    chain: what each step starts from. `post_conv` (paper, authors): N_i, the convolved map; `pre_conv`
    (mmdetection): the sum S_i, so that the path meets one convolution per step.
    relu: a ReLU behind both convolutions (paper); mmdetection has none.
    Raises ValueError for another chain. Specification: systems_two_stage.md, section 5.
    """

    def __init__(
        self, in_channels: Sequence[int], *, channels: int, chain: str = "post_conv", relu: bool = True
    ) -> None:
        super().__init__()
        check_choice("pa_chain", chain, CHAINS)
        self.chain = chain
        self.pyramid = FeaturePyramid(in_channels, channels=channels)
        steps = range(len(in_channels) - 1)
        self.downs = nn.ModuleList([xavier_conv(channels, channels, kernel_size=3, stride=2) for _ in steps])
        self.outputs = nn.ModuleList([xavier_conv(channels, channels, kernel_size=3) for _ in steps])
        self.activation = nn.ReLU() if relu else nn.Identity()

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """[C2..C5] -> [N2..N6], each [B,channels,h,w]; N6 has half the size of N5."""
        levels = self.bottom_up(self.pyramid(maps)[:-1])
        return [*levels, subsample(levels[-1])]

    def bottom_up(self, pyramid: list[Tensor]) -> list[Tensor]:
        """[P2..P5] -> [N2..N5] of the same sizes."""
        levels = [pyramid[0]]
        source = pyramid[0]
        for down, output, lateral in zip(self.downs, self.outputs, pyramid[1:], strict=True):
            merged = self.activation(down(source)) + lateral
            levels.append(self.activation(output(merged)))
            source = levels[-1] if self.chain == "post_conv" else merged
        return levels
