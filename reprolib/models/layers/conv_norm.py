"""Convolutions with group norm, as the query-based systems have them."""

from __future__ import annotations

import math

from torch import nn


def conv_norm(
    in_channels: int, out_channels: int, *, kernel_size: int, stride: int = 1, bias: bool = False, relu: bool = True
) -> nn.Sequential:
    """Same-size (or strided) convolution, group norm of 32 groups (fewer where the width asks for it), ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=bias)
    nn.init.xavier_uniform_(conv.weight)
    if bias:
        nn.init.zeros_(conv.bias)
    layers = [conv, nn.GroupNorm(math.gcd(32, out_channels), out_channels)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))
