"""The unified mask feature of SOLOv2 (Wang et al., NeurIPS 2020): one map of stride 4 that all masks are cut from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from reprolib.models.feature_pyramid import enlarge


class UnifiedMaskFeature(nn.Module):
    """P2..P5 [B,in_channels,h,w], and what follows them unread -> [B,out_channels,h,w] of P2's size.

    Each level goes through 3x3 convolutions with group norm and ReLU and is enlarged twofold behind each but P2's; P5
    sees its coordinates unless these are off. The sum goes through a 1x1 convolution. width: 128 as published.
    conv, fuse: make other convolutions than `conv_norm_relu`, called as that.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: int,
        out_channels: int,
        coordinates: bool = True,
        conv: Callable[..., nn.Module] | None = None,
        fuse: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.coordinates = coordinates
        conv, fuse = conv or conv_norm_relu, fuse or conv_norm_relu
        self.levels = nn.ModuleList(
            nn.ModuleList(
                conv((in_channels + 2 * (coordinates and level == 3)) if step == 0 else width, width, kernel_size=3)
                for step in range(max(1, level))
            )
            for level in range(4)
        )
        self.fuse = fuse(width, out_channels, kernel_size=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        fused = self.levels[0][0](features[0])
        for level in (1, 2, 3):
            x = with_coordinates(features[3]) if self.coordinates and level == 3 else features[level]
            for step, conv in enumerate(self.levels[level]):
                x = enlarge(conv(x), size=features[level - step - 1].shape[-2:])
            fused = fused + x
        return self.fuse(fused)


def conv_norm_relu(in_channels: int, out_channels: int, *, kernel_size: int) -> nn.Sequential:
    """Same-size convolution without bias, group norm (32 groups, fewer where the width asks for it), ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    nn.init.normal_(conv.weight, std=0.01)
    return nn.Sequential(conv, nn.GroupNorm(math.gcd(32, out_channels), out_channels), nn.ReLU(inplace=True))


def with_coordinates(x: Tensor) -> Tensor:
    """[B,C,h,w] -> [B,C+2,h,w]: x and y of each cell are appended, from -1 at the first to 1 at the last."""
    height, width = x.shape[-2:]
    across = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype).expand(len(x), 1, height, width)
    down = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype)[:, None].expand(len(x), 1, height, width)
    return torch.cat([x, across, down], dim=1)
