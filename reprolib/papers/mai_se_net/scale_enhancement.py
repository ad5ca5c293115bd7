"""Scale enhancement (paper section II.B): an extra bottom level, balanced levels, global context."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.feature_pyramid import FeaturePyramid, subsample, top_down
from reprolib.models.layers.carafe import Carafe
from reprolib.models.layers.global_context import global_context
from reprolib.papers.mai_se_net.switches import Switches

BALANCED_STRIDE = 8  # "at the middle P3 level"


def pyramid_strides(components: Sequence[str]) -> tuple[int, ...]:
    """Strides of the levels that RoIs are read from: P1..P5 with CARAFEB, else P2..P5."""
    return (2, 4, 8, 16, 32) if "carafeb" in components else (4, 8, 16, 32)


class FeatureBalance(nn.Module):
    """FBO, Eq. 3: the mean of all levels at stride 8; finer ones max-pooled, coarser ones enlarged.

    levels [B,C,h_i,w_i] at `strides` -> [B,C,h,w] at stride 8. It has no parameters.
    up: nearest | bilinear. residual: p1_only | all | none, the raw levels that `recover` adds.
    """

    def __init__(self, strides: Sequence[int], *, up: str, residual: str) -> None:
        super().__init__()
        self.strides, self.up, self.residual = tuple(strides), up, residual

    def forward(self, levels: list[Tensor]) -> Tensor:
        middle = levels[self.strides.index(BALANCED_STRIDE)]
        resized = [
            self.resize(level, source=stride, target=BALANCED_STRIDE, like=middle)
            for level, stride in zip(levels, self.strides, strict=True)
        ]
        return sum(resized) / len(resized)

    def recover(self, balanced: Tensor, levels: list[Tensor]) -> list[Tensor]:
        """The opposite of Eq. 3: balanced [B,C,h,w] at stride 8 -> B levels of the sizes and strides of `levels`."""
        recovered = []
        for level, stride in zip(levels, self.strides, strict=True):
            resized = self.resize(balanced, source=BALANCED_STRIDE, target=stride, like=level)
            is_p1 = stride == 2
            adds = self.residual == "all" or (self.residual == "p1_only" and is_p1)
            recovered.append(resized + level if adds else resized)
        return recovered

    def resize(self, x: Tensor, *, source: int, target: int, like: Tensor) -> Tensor:
        """x at stride `source` -> the size of `like`, a map at stride `target`."""
        if source < target:
            # Odd sizes are rounded up, as strided convolutions round them.
            return F.max_pool2d(x, target // source, ceil_mode=True)
        if source == target:
            return x
        corners = None if self.up == "nearest" else False
        return F.interpolate(x, size=like.shape[-2:], mode=self.up, align_corners=corners)


class ScaleEnhancementPyramid(FeaturePyramid):
    """A feature pyramid with `carafeb`, `fbo` and `gcb`, each also alone: [C2..C5] -> levels [B,channels,h,w].

    Levels are B1..B5 (strides 2 to 32) with CARAFEB, otherwise B2..B5; behind them B6, every second pixel of B5,
    without CARAFEB or with `keep_b6`. GCB refines the balanced map; without FBO there is one per level.
    strides: of the levels without B6.
    """

    def __init__(
        self, in_channels: Sequence[int], *, channels: int, components: Sequence[str], switches: Switches
    ) -> None:
        super().__init__(in_channels, channels=channels)
        self.strides = pyramid_strides(components)
        self.carafe = Carafe(channels) if "carafeb" in components else None
        self.enlarges_merged = switches.p1_source == "P2_merged"
        self.has_b6 = self.carafe is None or switches.keep_b6
        self.balance = None
        if "fbo" in components:
            self.balance = FeatureBalance(self.strides, up=switches.fbo_up, residual=switches.se_residual)
        places = (1 if self.balance else len(self.strides)) if "gcb" in components else 0
        self.contexts = nn.ModuleList(global_context(channels, ratio=switches.gcb_ratio) for _ in range(places))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        levels = self.raw_levels(maps)
        if self.balance is not None:
            balanced = self.balance(levels)
            for context in self.contexts:
                balanced = context(balanced)
            levels = self.balance.recover(balanced, levels)
        elif self.contexts:
            levels = [context(level) for context, level in zip(self.contexts, levels, strict=True)]
        return [*levels, subsample(levels[-1])] if self.has_b6 else levels

    def raw_levels(self, maps: list[Tensor]) -> list[Tensor]:
        """[C2..C5] -> P1..P5, without P1 where there is no CARAFEB."""
        laterals = [lateral(level) for lateral, level in zip(self.laterals, maps, strict=True)]
        merged = top_down(laterals, [nn.Identity()] * len(laterals))
        levels = [output(level) for output, level in zip(self.outputs, merged, strict=True)]
        if self.carafe is None:
            return levels
        return [self.carafe(merged[0] if self.enlarges_merged else levels[0]), *levels]
