"""The fully convolutional box head with B-IoU (paper section 3.1 and figure 2a, spec section 2)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class BoxOutputs(NamedTuple):
    """Raw float32 outputs at the P cells of R RoIs, row by row."""

    logits: Tensor  # [R,P,K], one sigmoid per class
    exponents: Tensor  # [R,P,4], logarithms of the distances to the left, top, right and bottom side
    iou: Tensor  # [R,P]


class FullyConvolutionalBoxHead(nn.Module):
    """RoI features [R,channels,m,m] -> `BoxOutputs` with P = m * m.

    Three towers of four convolutions; the IoU branch reads the RoI features beside what the regression tower made
    of them. tower_init: see `tower`. keep_dead_params: also the centre-ness output and the five scales that the code
    builds and never uses.
    """

    def __init__(
        self, channels: int, *, num_classes: int, tower_init: str = "normal", keep_dead_params: bool = False
    ) -> None:
        super().__init__()
        self.class_tower = tower(channels, channels, init=tower_init)
        self.box_tower = tower(channels, channels, init=tower_init)
        self.iou_tower = tower(2 * channels, channels, init=tower_init)
        self.class_output = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.box_output = nn.Conv2d(channels, 4, 3, padding=1)
        self.iou_output = nn.Conv2d(channels, 1, 3, padding=1)  # starts as PyTorch starts it
        for layer in (self.class_output, self.box_output):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.class_output.bias, -math.log(99))  # every class at 0.01, as the focal loss needs
        if keep_dead_params:
            self.unused_centreness = nn.Conv2d(channels, 1, 3, padding=1)
            self.unused_scales = nn.Parameter(torch.ones(5))

    def forward(self, roi_features: Tensor) -> BoxOutputs:
        box_features = self.box_tower(roi_features)
        return BoxOutputs(
            logits=_by_cell(self.class_output(self.class_tower(roi_features))),
            exponents=_by_cell(self.box_output(box_features)),
            iou=_by_cell(self.iou_output(self.iou_tower(torch.cat([roi_features, box_features], dim=1))))[..., 0],
        )


def tower(in_channels: int, channels: int, *, init: str) -> nn.Sequential:
    """Four 3x3 convolutions with group norm and ReLU: [R,in_channels,m,m] -> [R,channels,m,m].

    init: `normal`, a deviation of 0.01 (code), or `kaiming`. What comes out is the same up to the norm's epsilon; but
    a step of an optimiser turns small weights further, too far for short trainings at a high rate.
    """
    layers = []
    for width in (in_channels, channels, channels, channels):
        conv = nn.Conv2d(width, channels, 3, padding=1, bias=False)
        if init == "kaiming":
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        else:
            nn.init.normal_(conv.weight, std=0.01)
        # 32 groups as published; in thin networks groups of 8 channels, the size that 256 channels give.
        layers += [conv, nn.GroupNorm(min(32, max(1, channels // 8)), channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _by_cell(maps: Tensor) -> Tensor:
    """[R,D,m,m] -> [R,m*m,D] in float32."""
    return maps.flatten(2).transpose(1, 2).float()
