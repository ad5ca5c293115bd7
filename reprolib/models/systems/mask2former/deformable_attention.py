"""Multi-scale deformable attention (Deformable DETR, Zhu et al., ICLR 2021, section 4.1) in plain torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.layers.transformer import FeedForwardBlock, heads_of


class DeformableAttention(nn.Module):
    """Every query reads a few places of each level near its own: [B,Q,C] -> [B,Q,C] (equation 3).

    Places (offsets from the query's own, in pixels of the level) and their weights are linear in the query; between
    pixels values are bilinear, beyond a map they are 0. Sampling is in float32 under autocast too: bfloat16 knows
    places to several pixels only.
    """

    def __init__(self, channels: int, *, levels: int = 3, points: int = 4) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads_of(channels), levels, points
        places = self.heads * levels * points
        self.offsets, self.weights = nn.Linear(channels, 2 * places), nn.Linear(channels, places)
        self.value, self.output = nn.Linear(channels, channels), nn.Linear(channels, channels)
        for linear in (self.offsets, self.weights):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        with torch.no_grad():
            self.offsets.bias.copy_(self._first_offsets().flatten())
        for linear in (self.value, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def _first_offsets(self) -> Tensor:
        """[heads,levels,points,2]: each head looks into its own direction, point p at a distance of p pixels."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=1)
        directions = directions / directions.abs().amax(1, keepdim=True)
        steps = torch.arange(1, self.points + 1)
        return (directions[:, None, None] * steps[:, None]).expand(-1, self.levels, -1, -1)

    def forward(self, query: Tensor, places: Tensor, values: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """query [B,Q,C]; places [Q,2] (x, y) in units of the maps; values [B,S,C] of all levels; sizes: theirs."""
        batch, count = query.shape[:2]
        value, offsets, weights = self.value(values), self.offsets(query), self.weights(query)
        offsets = offsets.float().view(batch, count, self.heads, self.levels, self.points, 2)
        weights = weights.float().view(batch, count, self.heads, -1).softmax(-1)
        weights = weights.view(batch, count, self.heads, self.levels, self.points)
        heads = value.float().unflatten(2, (self.heads, -1))
        attended = torch.zeros((), device=query.device)
        levels = heads.split([height * width for height, width in sizes], dim=1)
        for level, (maps, (height, width)) in enumerate(zip(levels, sizes, strict=True)):
            maps = maps.permute(0, 2, 3, 1).reshape(batch * self.heads, -1, height, width)
            shift = offsets[:, :, :, level] / offsets.new_tensor([width, height])
            where = 2 * (places[:, None, None] + shift) - 1
            where = where.transpose(1, 2).reshape(batch * self.heads, count, self.points, 2)
            seen = F.grid_sample(maps, where, mode="bilinear", padding_mode="zeros", align_corners=False)
            weight = weights[:, :, :, level].transpose(1, 2).reshape(batch * self.heads, 1, count, self.points)
            attended = attended + (seen * weight).sum(3)  # level by level: all levels at once need more memory
        return self.output(attended.view(batch, -1, count).transpose(1, 2))


class DeformableEncoderLayer(nn.Module):
    """Every pixel of all levels looks at places around itself, then a feed-forward network: [B,S,C] -> [B,S,C]."""

    def __init__(self, channels: int, *, hidden: int, levels: int = 3, points: int = 4) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels, levels=levels, points=points)
        self.norm = nn.LayerNorm(channels)
        self.feed_forward = FeedForwardBlock(channels, hidden=hidden)

    def forward(self, x: Tensor, *, position: Tensor, places: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """position [S,C], added to the query alone; places [S,2] of the pixels' centres in units of the maps."""
        x = self.norm(x + self.attention(x + position, places, x, sizes))
        return self.feed_forward(x)
