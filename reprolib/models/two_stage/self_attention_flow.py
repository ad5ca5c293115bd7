"""What passes between mask heads in FL-CSE-RoIE and in one reading of EMIN: features that attended to themselves.

Zhang and Zhang, 2022; both publications could not be read, see `card.toml`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.models.layers.non_local import NonLocal
from reprolib.models.switch_checks import check_choice
from reprolib.models.two_stage.mask_flow import MaskFlow
from reprolib.models.two_stage.mask_head import MaskHead

FUSIONS = ("add", "concat")


class SelfAttentionFlow(nn.Module):
    """One site of a `MaskFlow`: previous features [R,C,m,m], RoI features [R,C,m,m] -> [R,C,m,m].

    A non-local block refines the previous features. fusion: `add` them to the RoI features, or `concat` them and
    reduce by a 1x1 convolution. Raises ValueError for another fusion.
    """

    def __init__(self, channels: int, *, fusion: str) -> None:
        super().__init__()
        check_choice("fusion", fusion, FUSIONS)
        self.out_channels = channels
        self.attention = NonLocal(channels)
        self.reduce = nn.Conv2d(2 * channels, channels, 1) if fusion == "concat" else None
        if self.reduce is not None:
            nn.init.kaiming_normal_(self.reduce.weight, nonlinearity="relu")
            nn.init.zeros_(self.reduce.bias)

    def forward(self, previous: Tensor, roi: Tensor) -> Tensor:
        refined = self.attention(previous)
        return roi + refined if self.reduce is None else self.reduce(torch.cat([refined, roi], dim=1))


def self_attention_flow(heads: list[MaskHead], channels: int, *, fusion: str) -> MaskFlow:
    """The mask heads of all stages with a site of its own between neighbours."""
    return MaskFlow(heads, [SelfAttentionFlow(channels, fusion=fusion) for _ in heads[1:]])
