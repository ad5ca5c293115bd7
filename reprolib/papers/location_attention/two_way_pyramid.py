"""TWFPN, the two-way feature pyramid (paper section 2.2), in PANet's form."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from reprolib.models.feature_pyramid import subsample
from reprolib.models.systems.panet.path_aggregation import PathAggregationPyramid
from reprolib.papers.location_attention.switches import Switches


class TwoWayPyramid(PathAggregationPyramid):
    """[C2..C5] -> five maps for the branches, then the four of the mask feature: P5, N4, N3, N2; [B,channels,h,w] each.

    P2..P6: a feature pyramid's. N2 = P2; N_{i+1} = conv3x3(conv3x3, stride 2 (N_i) + P_{i+1}); N6 is every second pixel
    of N5. The branches read N2..N6, or P2..P6, and then no N5 is made; the mask feature's last three may be P's.
    """

    def __init__(self, in_channels: Sequence[int], *, channels: int, switches: Switches) -> None:
        super().__init__(in_channels, channels=channels, chain="post_conv", relu=switches.twfpn_relu)
        self.for_branches, self.for_masks = switches.head_inputs, switches.csmf_levels_from
        if self.for_branches == "P":
            self.downs, self.outputs = self.downs[:-1], self.outputs[:-1]

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        top_down = self.pyramid(maps)
        bottom_up = self.bottom_up(top_down[: len(self.downs) + 1])
        branches = [*bottom_up, subsample(bottom_up[-1])] if self.for_branches == "N" else top_down
        joined = bottom_up if self.for_masks == "N" else top_down
        return [*branches, top_down[3], *joined[2::-1]]
