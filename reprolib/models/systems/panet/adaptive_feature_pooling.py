"""Adaptive feature pooling (PANet, Liu et al., CVPR 2018, section 3.2): a box is read from all levels at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor, nn

from reprolib.models.switch_checks import check_choice
from reprolib.models.two_stage.roi_pooler import AllLevelPooler

FUSIONS = {"max": torch.maximum, "sum": torch.add}


class AdaptiveFeaturePooling(nn.Module):
    """Every box from every level, a head's first layer on each, the levels fused element by element, ReLU.

    A pooler that holds the first layer of the head behind it: what is left to that head are its later layers.
    pooler: gives [R,L,C,m,m]. layer: makes the first layer, [R,C,m,m] -> [R,...], without activation.
    first: `per_level` (authors' code), a layer for each level, or `shared` (a detectron2 port), one for all.
    fuse: `max` (the paper's best) or `sum`. Under `max` the ReLU gives the same on either side of the fusion.
    Raises ValueError for other values. Specification: systems_two_stage.md, section 5.
    """

    def __init__(
        self,
        *,
        pooler: AllLevelPooler,
        layer: Callable[[], nn.Module],
        first: str = "per_level",
        fuse: str = "max",
    ) -> None:
        super().__init__()
        check_choice("afp_first", first, ("per_level", "shared"))
        check_choice("afp_fuse", fuse, FUSIONS)
        self.pooler, self.fuse = pooler, fuse
        self.layers = nn.ModuleList([layer() for _ in range(len(pooler.strides) if first == "per_level" else 1)])

    def forward(self, features: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """N2.., boxes [N,4] per image in batch pixels -> [sum of N,...], what `layer` gives."""
        return self.fused(self.pooler(features, boxes))

    def fused(self, levels: Tensor) -> Tensor:
        """levels [R,L,C,m,m] -> [R,...]."""
        # Level by level: RoIAlign on a CPU gives each level the memory layout that convolutions there are fast in.
        maps = [self.layers[index % len(self.layers)](level) for index, level in enumerate(levels.unbind(1))]
        return reduce(FUSIONS[self.fuse], maps).relu_()

    def placeholder(self, features: list[Tensor], count: int) -> Tensor:
        """What `count` boxes give, from zeros in place of RoIAlign's output; for counting FLOPs."""
        return self.fused(self.pooler.placeholder(features, count))


def first_convolution(channels: int) -> nn.Conv2d:
    """A mask head's first layer: [R,channels,m,m] -> the same shape."""
    conv = nn.Conv2d(channels, channels, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(conv.bias)
    return conv


def first_linear(channels: int, *, resolution: int, hidden: int) -> nn.Sequential:
    """A box head's first layer: [R,channels,resolution,resolution] -> [R,hidden]."""
    return nn.Sequential(nn.Flatten(), _linear(channels * resolution**2, hidden))


def later_linear(hidden: int) -> nn.Sequential:
    """The rest of a two-layer box head: [R,hidden] -> [R,hidden]."""
    return nn.Sequential(_linear(hidden, hidden), nn.ReLU())


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_uniform_(layer.weight, a=1)
    nn.init.zeros_(layer.bias)
    return layer
