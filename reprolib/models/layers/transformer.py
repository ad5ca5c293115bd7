"""Layers of transformers (Vaswani et al., NeurIPS 2017) as detectors use them: post-norm, batch first.

Positions are added to queries and keys of every attention and not to values (DETR, Carion et al., ECCV 2020).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = 8


class Attention(nn.Module):
    """Multi-head attention: query [B,Q,C], key and value [B,S,C] -> [B,Q,C].

    One matrix projects all three, its initial values drawn for it as a whole. heads: fewer where the width asks for it.
    allowed: bool, broadcasts to [B,heads,Q,S]; True where a query may look. A query that may look nowhere gives NaN.
    """

    def __init__(self, channels: int, *, dropout: float = 0.0, heads: int = HEADS) -> None:
        super().__init__()
        self.heads, self.dropout = heads_of(channels, heads), dropout
        self.weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.bias = nn.Parameter(torch.zeros(3 * channels))
        self.output = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.weight)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *, allowed: Tensor | None = None) -> Tensor:
        projections = zip((query, key, value), self.weight.chunk(3), self.bias.chunk(3), strict=True)
        heads = [F.linear(*projection).unflatten(2, (self.heads, -1)).transpose(1, 2) for projection in projections]
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(*heads, attn_mask=allowed, dropout_p=dropout)
        return self.output(attended.transpose(1, 2).flatten(2))


class AttentionBlock(nn.Module):
    """LayerNorm(x + attention): x [B,Q,C] looks at itself or, where it is given, at a memory [B,S,C]."""

    def __init__(self, channels: int, *, dropout: float = 0.0, heads: int = HEADS) -> None:
        super().__init__()
        self.attention = Attention(channels, dropout=dropout, heads=heads)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)

    def forward(
        self,
        x: Tensor,
        *,
        position: Tensor | None = None,
        memory: Tensor | None = None,
        memory_position: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """position, memory_position: broadcast to x and memory. allowed: see `Attention`."""
        query = placed(x, position)
        key, value = (query, x) if memory is None else (placed(memory, memory_position), memory)
        return self.norm(x + self.dropout(self.attention(query, key, value, allowed=allowed)))


class FeedForwardBlock(nn.Module):
    """LayerNorm(x + linear(ReLU(linear(x)))): [...,C] -> [...,C]."""

    def __init__(self, channels: int, *, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.expand, self.reduce = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)
        for linear in (self.expand, self.reduce):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(F.relu(self.expand(x)))
        return self.norm(x + self.dropout(self.reduce(hidden)))


class DecoderLayer(nn.Module):
    """Queries [B,Q,C] look at a memory [B,S,C] and at each other, and go through a feed-forward network.

    memory_first: the look at the memory comes before that at each other (Mask2Former, section 3.2.2), else after
    (DETR). hidden: width of the feed-forward network.
    """

    def __init__(self, channels: int, *, hidden: int, dropout: float = 0.0, memory_first: bool = False) -> None:
        super().__init__()
        self.memory_first = memory_first
        self.self_attention = AttentionBlock(channels, dropout=dropout)
        self.cross_attention = AttentionBlock(channels, dropout=dropout)
        self.feed_forward = FeedForwardBlock(channels, hidden=hidden, dropout=dropout)

    def forward(
        self,
        x: Tensor,
        *,
        position: Tensor,
        memory: Tensor,
        memory_position: Tensor,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """position [B or 1,Q,C] of the queries, memory_position [S,C]; allowed: see `Attention`."""
        look = {"memory": memory, "memory_position": memory_position, "allowed": allowed}
        if self.memory_first:
            x = self.self_attention(self.cross_attention(x, position=position, **look), position=position)
        else:
            x = self.cross_attention(self.self_attention(x, position=position), position=position, **look)
        return self.feed_forward(x)


def placed(x: Tensor, position: Tensor | None) -> Tensor:
    """x and its position, where it has one."""
    return x if position is None else x + position


def heads_of(channels: int, heads: int = HEADS) -> int:
    """`heads`, or as many as divide a thin profile's width."""
    return math.gcd(heads, channels)


def perceptron(channels: int, *, out_channels: int, layers: int = 3) -> nn.Sequential:
    """Linear layers with ReLU between them: [...,channels] -> [...,out_channels]."""
    parts: list[nn.Module] = []
    for _ in range(layers - 1):
        parts += [nn.Linear(channels, channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts, nn.Linear(channels, out_channels))


def sine_positions(size: tuple[int, int], channels: int, *, device: torch.device | None = None) -> Tensor:
    """Sine encoding (DETR, appendix A.4) of a map of (height, width): [height * width, channels], row by row.

    The first half of the channels is of y, the second of x; places count from 1 / length to 1 times 2 pi, and periods
    rise to 10,000. Raises ValueError where channels are not divisible by 4.
    """
    if channels % 4:
        raise ValueError(f"scale: `channels` must be divisible by 4 for sine positions, but it is {channels}")
    pairs = channels // 4
    periods = 10_000 ** (torch.arange(pairs, device=device) / pairs)
    down, across = (
        torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
        for angles in (
            (torch.arange(1, length + 1, device=device) / length * 2 * math.pi)[:, None] / periods for length in size
        )
    )
    height, width = size
    grid = down[:, None].expand(-1, width, -1), across[None].expand(height, -1, -1)
    return torch.cat(grid, dim=2).flatten(0, 1)


def tokens(x: Tensor) -> Tensor:
    """A map [B,C,h,w] -> [B,h*w,C], row by row."""
    return x.flatten(2).transpose(1, 2)
