"""RoIAlign over P3..P5 by the share of the image that a box covers (CenterMask: Lee, Park, CVPR 2020, Eq. 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reprolib.models.two_stage.roi_pooler import RoIPooler, to_rois

STRIDES = (8, 16, 32)


class SizedMaps(NamedTuple):
    """The maps that boxes are read from, and (height, width) px of each image inside the padded batch."""

    maps: list[Tensor]
    image_sizes: Sequence[tuple[int, int]]


class AreaRatioPooler(RoIPooler):
    """`SizedMaps` of P3.. and boxes -> [R,C,resolution,resolution]; P6 and P7 are not read.

    A box of the whole image is read from P5, of half of it from P4, of a quarter or less from P3. by_area: off, the
    level is that of the FPN paper's rule.
    """

    def __init__(self, *, resolution: int, sampling: int, aligned: bool, by_area: bool = True) -> None:
        super().__init__(resolution=resolution, sampling=sampling, aligned=aligned, strides=STRIDES)
        self.by_area = by_area

    def forward(self, features: SizedMaps, boxes: list[Tensor]) -> Tensor:
        if not self.by_area:
            return super().forward(features.maps, boxes)
        levels = [self.levels_in(box, size) for box, size in zip(boxes, features.image_sizes, strict=True)]
        return self._read(features.maps, to_rois(boxes), torch.cat(levels))

    def levels_in(self, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """boxes [N,4] xyxy px in an image of `size` (height, width) px -> [N] indices into the strides."""
        coarsest = len(self.strides) - 1
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1).clamp(min=1e-6)
        # Rounding must not lift a quarter of the image to the next level.
        level = torch.ceil(coarsest + torch.log2(areas / math.prod(size)) - 1e-6)
        return level.clamp(0, coarsest).long()

    def placeholder(self, features: SizedMaps, count: int) -> Tensor:
        return super().placeholder(features.maps, count)
