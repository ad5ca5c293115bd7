"""CSMF, cross-stage mask feature fusion (paper section 2.2, figure 4): the map that the dynamic kernels read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.models.feature_pyramid import enlarge
from reprolib.models.systems.solov2.unified_mask_feature import conv_norm_relu, with_coordinates
from reprolib.papers.location_attention.switches import Switches


class CrossStageMaskFeature(nn.Module):
    """Features whose last four are P5, N4, N3, N2 (see `TwoWayPyramid`) -> M [B,out_channels,h,w] of N2's size.

    P5 with its coordinates is convolved, enlarged, and joined with N4, N3, N2 in turn by concatenation and a 3x3
    convolution; it also guides the finest map by a 1x1 convolution enlarged eightfold. A group norm and a ReLU follow
    every convolution. width: 128 as published SOLOv2's.
    """

    def __init__(self, channels: int, *, width: int, out_channels: int, switches: Switches) -> None:
        super().__init__()
        self.start = conv_norm_relu(channels + 2, width, kernel_size=3)
        self.joins = nn.ModuleList(conv_norm_relu(width + channels, width, kernel_size=3) for _ in range(3))
        self.guide = conv_norm_relu(channels + 2, width, kernel_size=1)
        self.fuse = switches.guide
        fused = 2 * width if self.fuse == "concat" else width
        self.output = conv_norm_relu(fused, out_channels, kernel_size=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        coarsest, *levels = features[-4:]
        p5 = with_coordinates(coarsest)
        x = self.start(p5)
        for level, join in zip(levels, self.joins, strict=True):
            x = join(torch.cat([enlarge(x, size=level.shape[-2:]), level], dim=1))
        guide = enlarge(self.guide(p5), size=x.shape[-2:])
        if self.fuse == "add":
            return self.output(x + guide)
        return self.output(x * guide.sigmoid() if self.fuse == "mul_sigmoid" else torch.cat([x, guide], dim=1))
