"""SOTR's twin transformer (Guo et al., ICCV 2021, section 3.2): attention along columns and rows of a map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.layers.transformer import heads_of, sine_positions

LAYERS = 12


class LineAttention(nn.Module):
    """Tokens of lines [N,S,C] look at those of their own line: -> [N,S,C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = heads_of(channels)
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(channels, 2 * channels, bias=False)
        self.output = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.query(x), *self.key_value(x).chunk(2, dim=2)
        heads = [part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts]
        return self.output(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class TwinLayer(nn.Module):
    """[B,C,h,w] -> the same: x + a columns(x) + b rows(x), then x + c first(x) + d second(x), without norms.

    The factors start at 0 (ReZero: Bachlechner et al., 2020), so that a layer starts as the identity. Both terms of a
    sum read the same x.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.columns, self.rows = (LineAttention(channels) for _ in range(2))
        self.first, self.second = (_convolutions(channels) for _ in range(2))
        self.factors = nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        columns, rows, first, second = self.factors
        x = x + columns * _along(self.columns, x.transpose(2, 3)).transpose(2, 3) + rows * _along(self.rows, x)
        return x + first * self.first(x) + second * self.second(x)


class TwinTransformer(nn.Module):
    """[B,C,h,w] -> [B,C,h,w] of any size.

    positions: a sine encoding is added first. double_width: layers see the map twice side by side, and the halves of
    what they give are averaged; the convolutions see the seam.
    """

    def __init__(
        self, channels: int, *, layers: int = LAYERS, positions: bool = False, double_width: bool = False
    ) -> None:
        super().__init__()
        self.positions, self.double_width = positions, double_width
        self.layers = nn.Sequential(*(TwinLayer(channels) for _ in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        if self.positions:
            size = tuple(x.shape[-2:])
            x = x + sine_positions(size, x.shape[1], device=x.device).T.unflatten(1, size).to(x.dtype)
        if not self.double_width:
            return self.layers(x)
        return sum(self.layers(torch.cat([x, x], dim=3)).chunk(2, dim=3)) / 2


def _along(attention: LineAttention, x: Tensor) -> Tensor:
    """Each row of [B,C,h,w] as a line of tokens."""
    lines = x.permute(0, 2, 3, 1)
    return attention(lines.flatten(0, 1)).unflatten(0, lines.shape[:2]).permute(0, 3, 1, 2)


def _convolutions(channels: int) -> nn.Sequential:
    convs = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)]
    return nn.Sequential(convs[0], nn.LeakyReLU(0.01), convs[1])
