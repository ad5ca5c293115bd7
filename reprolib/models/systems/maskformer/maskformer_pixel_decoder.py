"""MaskFormer's pixel decoder (Cheng et al., NeurIPS 2021, appendix A): a pyramid on an encoded C5."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.feature_pyramid import xavier_conv
from reprolib.models.layers.conv_norm import conv_norm
from reprolib.models.layers.transformer import AttentionBlock, FeedForwardBlock, sine_positions, tokens

LAYERS = 6


class EncodedPyramid(nn.Module):
    """[C2..C5] -> the mask feature of stride 4 and C5 encoded, each [B,channels,h,w].

    C5 goes through DETR's encoder, then down a pyramid in which every sum is convolved before it is enlarged.
    in_channels: widths of C2..C5.
    """

    def __init__(self, in_channels: Sequence[int], *, channels: int, dropout: float) -> None:
        super().__init__()
        self.projection = xavier_conv(in_channels[-1], channels, kernel_size=1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                AttentionBlock(channels, dropout=dropout),
                FeedForwardBlock(channels, hidden=8 * channels, dropout=dropout),
            )
            for _ in range(LAYERS)
        )
        self.laterals = nn.ModuleList(
            conv_norm(width, channels, kernel_size=1, relu=False) for width in in_channels[:-1]
        )
        self.outputs = nn.ModuleList(conv_norm(channels, channels, kernel_size=3) for _ in in_channels)
        self.mask_feature = xavier_conv(channels, channels, kernel_size=3)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        x = self.projection(maps[-1])
        size, position = x.shape[-2:], sine_positions(tuple(x.shape[-2:]), x.shape[1], device=x.device)
        sequence = tokens(x)
        for attention, feed_forward in self.layers:
            sequence = feed_forward(attention(sequence, position=position))
        encoded = sequence.transpose(1, 2).unflatten(2, size)
        merged = self.outputs[-1](encoded)
        steps = zip(self.laterals, self.outputs[:-1], maps[:-1], strict=True)
        for lateral, output, level in reversed(list(steps)):
            fine = lateral(level)
            merged = output(fine + F.interpolate(merged, size=fine.shape[-2:], mode="nearest"))
        return [self.mask_feature(merged), encoded]
