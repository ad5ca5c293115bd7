"""What the branches of FCOS (Tian et al., ICCV 2019) are made of: towers shared by all levels, and last layers."""

from __future__ import annotations

import math

from torch import Tensor, nn

LEVELS = 5
CONVS = 4
IN_GROUP = 8  # channels of a group: 32 groups of 256 channels are published
PRIOR = 0.01  # probability of each class before training


class Tower(nn.Sequential):
    """[B,C,h,w] -> the same: four 3x3 convolutions, each with group norm and ReLU.

    Groups keep their width in thin profiles: P7 may have one cell, and one channel of it would be normed away.
    """

    def __init__(self, channels: int, *, bias: bool) -> None:
        layers: list[nn.Module] = []
        for _ in range(CONVS):
            groups = math.gcd(channels, max(1, channels // IN_GROUP))
            layers += [conv3x3(channels, channels, bias=bias), nn.GroupNorm(groups, channels), nn.ReLU(inplace=True)]
        super().__init__(*layers)


def conv3x3(in_channels: int, out_channels: int, *, bias: bool = True) -> nn.Conv2d:
    """Same-size convolution; weights of standard deviation 0.01, no offset."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
    nn.init.normal_(conv.weight, std=0.01)
    if bias:
        nn.init.zeros_(conv.bias)
    return conv


def class_conv(channels: int, *, num_classes: int) -> nn.Conv2d:
    """[B,C,h,w] -> class logits [B,K,h,w], each class at 0.01 to begin with."""
    conv = conv3x3(channels, num_classes)
    nn.init.constant_(conv.bias, -math.log((1 - PRIOR) / PRIOR))
    return conv


def per_location(level: Tensor) -> Tensor:
    """[B,C,h,w] -> [B,h*w,C] in float32."""
    return level.flatten(2).transpose(1, 2).float()
