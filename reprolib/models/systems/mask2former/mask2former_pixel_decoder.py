"""Mask2Former's pixel decoder (Cheng et al., CVPR 2022, section 3.2.1): deformable attention over three levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reprolib.models.feature_pyramid import enlarge, xavier_conv
from reprolib.models.layers.conv_norm import conv_norm
from reprolib.models.layers.point_sampling import map_points
from reprolib.models.layers.transformer import sine_positions, tokens
from reprolib.models.systems.mask2former.deformable_attention import DeformableEncoderLayer

LAYERS = 6


class DeformablePixelDecoder(nn.Module):
    """[C2..C5] -> the mask feature of stride 4 and the maps of strides 32, 16, 8, each [B,channels,h,w].

    C5, C4 and C3 are projected and attend to each other; then C2 joins the enlarged map of stride 8.
    in_channels: widths of C2..C5.
    """

    def __init__(self, in_channels: Sequence[int], *, channels: int) -> None:
        super().__init__()
        finest, *others = in_channels
        self.projections = nn.ModuleList(
            conv_norm(width, channels, kernel_size=1, bias=True, relu=False) for width in reversed(others)
        )
        self.level_embedding = nn.Parameter(torch.randn(len(others), channels))
        self.layers = nn.ModuleList(
            DeformableEncoderLayer(channels, hidden=4 * channels, levels=len(others)) for _ in range(LAYERS)
        )
        self.lateral = conv_norm(finest, channels, kernel_size=1, relu=False)
        self.output = conv_norm(channels, channels, kernel_size=3)
        self.mask_feature = xavier_conv(channels, channels, kernel_size=1)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        finest, *others = maps
        levels = [project(x) for project, x in zip(self.projections, reversed(others), strict=True)]
        sizes, device = [tuple(level.shape[-2:]) for level in levels], finest.device
        position = torch.cat(
            [
                sine_positions(size, level.shape[1], device=device) + embedding
                for size, level, embedding in zip(sizes, levels, self.level_embedding, strict=True)
            ]
        )
        places = torch.cat([map_points(size, device=device) for size in sizes])
        x = torch.cat([tokens(level) for level in levels], dim=1)
        for layer in self.layers:
            x = layer(x, position=position, places=places, sizes=sizes)
        parts = x.split([height * width for height, width in sizes], dim=1)
        levels = [part.transpose(1, 2).unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]
        fine = self.lateral(finest)
        fine = self.output(fine + enlarge(levels[-1], size=fine.shape[-2:]))
        return [self.mask_feature(fine), *levels]
