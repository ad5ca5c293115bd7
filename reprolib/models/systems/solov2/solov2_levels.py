"""The levels of SOLOv2 (Wang et al., NeurIPS 2020): which grid looks at which map for objects of which size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from reprolib.models.switch_checks import check_choice
from reprolib.params import Scale

ANCHOR = 32  # px, the first of `scale.anchor_sizes` as published: objects of a thin profile are smaller by as much
MOST_CELLS = 8 / 7  # cells of a grid per cell of its map and axis; the published most, of the light form's fourth level


@dataclass(frozen=True, kw_only=True)
class Level:
    """One grid. Sizes are square roots of box areas in px of the network's input, both ends included."""

    stride: int  # px, of the map that the grid is resized from
    grid: int  # cells per side
    smallest: float
    largest: float
    noise: float  # pixels of stride 4: a mask of so many or fewer is none


@dataclass(frozen=True, kw_only=True)
class Form:
    """A published setting. Widths are shares of the pyramid's 256 channels."""

    ranges: tuple[tuple[float, float], ...]
    convs: int  # 3x3 convolutions of each branch
    width: float  # of the branches
    kernel: float  # length of a cell's kernel, and width of the unified mask feature
    short_side: int = 0  # the most px of the input, 0 = as large as is asked for
    long_side: int = 0


STRIDES = (8, 8, 16, 32, 32)
GRIDS = (40, 36, 24, 16, 12)
FORMS = {
    "full": Form(
        ranges=((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048)),
        convs=4,
        width=2.0,
        kernel=1.0,
    ),
    "light_448": Form(
        ranges=((1, 56), (28, 112), (56, 224), (112, 448), (224, 896)),
        convs=2,
        width=1.0,
        kernel=0.5,
        short_side=448,
        long_side=768,
    ),
}


def find_form(name: str) -> Form:
    """The setting called `name`; raises ValueError naming the known ones."""
    check_choice("solo_form", name, FORMS)
    return FORMS[name]


def levels_of(form: Form, *, scale: Scale, short_side: int) -> tuple[Level, ...]:
    """The five levels, as published where the scale is; a thin profile has smaller objects and inputs.

    Ranges, and areas that are noise (as many pixels as the stride, published), shrink with `scale.anchor_sizes`, which
    say how much smaller objects are. A grid has at most 8/7 cells for
    each cell of its map: at a short side of 448 px and above that changes no published grid.
    """
    smaller = scale.anchor_sizes[0] / ANCHOR
    return tuple(
        Level(
            stride=stride,
            grid=max(1, min(grid, round(MOST_CELLS * short_side / stride))),
            smallest=low * smaller,
            largest=high * smaller,
            noise=stride * smaller**2,
        )
        for stride, grid, (low, high) in zip(STRIDES, GRIDS, form.ranges, strict=True)
    )


def level_maps(features: Sequence[Tensor]) -> list[Tensor]:
    """P2..P6 -> the maps of the five levels: P2 at half its size, P6 at that of P5, the others as they are."""
    finest, *middle, coarsest = features
    halved = F.interpolate(finest, scale_factor=0.5, mode="bilinear", align_corners=False, recompute_scale_factor=True)
    enlarged = F.interpolate(coarsest, size=middle[-1].shape[-2:], mode="bilinear", align_corners=False)
    return [halved, *middle, enlarged]
