"""The RoI features of SEANet's code: every level read, concatenated, reduced (not in the paper; see card.md)."""

from __future__ import annotations

from torch import Tensor, nn

from reprolib.models.two_stage.roi_pooler import AllLevelPooler, all_level_pooler


class AllLevelConcat(nn.Module):
    """A pooler: P2.., boxes per image -> [R,C,m,m].

    A box is read from all levels; what they give is concatenated, P2 first, and reduced by two 1x1 convolutions
    with bias, without norm or activation. 328,192 parameters at C = 256 and four levels. 1000 boxes at m = 7 hold
    0.2 GB in float32 before the reduction, 128 boxes at m = 14 half of that.

    pooler: gives [R,L,C,m,m]. dead_pair: a second pair, never used: the code's extractors each hold the
    convolutions of both and call their own.
    """

    def __init__(self, *, pooler: AllLevelPooler, channels: int, dead_pair: bool = False) -> None:
        super().__init__()
        self.pooler = pooler
        width = channels * len(pooler.strides)
        self.reduce = _convolutions(width, channels)
        self.unused = _convolutions(width, channels) if dead_pair else None

    def forward(self, features: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """boxes: [N,4] xyxy per image in batch pixels -> [sum of N,C,m,m], in order."""
        return self.fuse(self.pooler(features, boxes))

    def fuse(self, levels: Tensor) -> Tensor:
        """levels [R,L,C,m,m] -> [R,C,m,m]."""
        return self.reduce(levels.flatten(1, 2))

    def placeholder(self, features: list[Tensor], count: int) -> Tensor:
        """What `count` boxes give, from zeros in place of RoIAlign's output; for counting FLOPs."""
        return self.fuse(self.pooler.placeholder(features, count))


def _convolutions(width: int, channels: int) -> nn.Sequential:
    pair = nn.Sequential(nn.Conv2d(width, channels, 1), nn.Conv2d(channels, channels, 1))
    for conv in pair:
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(conv.bias)
    return pair


def all_level_concat(resolution: int, *, channels: int, dialect: str, dead_pair: bool = False) -> AllLevelConcat:
    """The dialect's RoIAlign on P2..P5, reduced to `channels` = the width of the levels."""
    pooler = all_level_pooler(resolution, dialect=dialect)
    return AllLevelConcat(pooler=pooler, channels=channels, dead_pair=dead_pair)
