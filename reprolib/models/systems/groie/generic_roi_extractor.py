"""GRoIE's RoI extractor (Rossi et al., ICPR 2020): every level read, convolved, summed, then attended to."""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor, nn

from reprolib.models.two_stage.roi_pooler import AllLevelPooler

HEADS = 6
KEY_STRIDE = 2  # keys and values are read at every second row and column
LONGEST = 1000  # wavelength, in cells, that the encodings of an offset approach


class GenericRoIExtractor(nn.Module):
    """A pooler: P2.. and boxes -> [R,C,m,m].

    RoIAlign on all levels, one 5x5 convolution with ReLU that the levels share, their sum, attention.
    pooler: gives [R,L,C,m,m]. At C = 256 1,896,961 parameters and, in the 5x5 convolution alone, 0.321 G
    multiply-adds a box at m = 7, 1.285 G at m = 14. Specification: systems_two_stage.md, section 6.
    """

    def __init__(self, *, pooler: AllLevelPooler, channels: int) -> None:
        super().__init__()
        self.pooler = pooler
        self.pre = nn.Conv2d(channels, channels, 5, padding=2)
        nn.init.kaiming_normal_(self.pre.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.pre.bias)
        self.attention = RelativePositionAttention(channels)

    def forward(self, features: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """boxes: [N,4] xyxy per image in batch pixels -> [sum of N,C,m,m], in order."""
        return self.aggregate(self.pooler(features, boxes))

    def aggregate(self, levels: Tensor) -> Tensor:
        """levels [R,L,C,m,m] -> [R,C,m,m]; the order of the levels does not matter."""
        # Level by level: no more than one level's activations are held at a time where no gradient is needed.
        return self.attention(reduce(torch.add, (self.pre(level).relu_() for level in levels.unbind(1))))

    def placeholder(self, features: list[Tensor], count: int) -> Tensor:
        """What `count` boxes give, from zeros in place of RoIAlign's output; for counting FLOPs."""
        return self.aggregate(self.pooler.placeholder(features, count))


class RelativePositionAttention(nn.Module):
    """Generalised attention "0100" (Zhu et al., ICCV 2019): what a cell reads hangs on its content and on offsets only.

    x [R,C,h,w] -> x + gamma * attention(x), the identity at the start. The weight of key (j, i) for query (y, x) is
    the softmax over all keys of q . e_down(y - 2j) + q . e_across(x - 2i), e being linear in sines and cosines of the
    offset. `HEADS` heads of floor(C / 6) channels, at least 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = HEADS * max(1, channels // HEADS)
        encoding = 2 * max(1, channels // 4)  # sine and cosine of each frequency: 128 numbers at 256 channels
        self.query = nn.Conv2d(channels, inner, 1, bias=False)
        self.value = nn.Conv2d(channels, inner, 1, bias=False)
        self.down = nn.Linear(encoding, inner, bias=False)
        self.across = nn.Linear(encoding, inner, bias=False)
        self.project = nn.Conv2d(inner, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))
        for layer in (self.query, self.value, self.down, self.across, self.project):
            nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).unflatten(1, (HEADS, -1))
        value = self.value(x[:, :, ::KEY_STRIDE, ::KEY_STRIDE]).unflatten(1, (HEADS, -1))
        # The softmax of a sum over rows and columns is the product of a softmax over rows and one over columns.
        # Keys come before queries: the long axis is then the one that lies together in memory.
        rows = torch.einsum("rndyx,yjnd->rnjyx", query, embed_offsets(self.down, x.shape[2])).softmax(2)
        columns = torch.einsum("rndyx,xind->rniyx", query, embed_offsets(self.across, x.shape[3])).softmax(2)
        weights = rows[:, :, :, None] * columns[:, :, None]
        read = torch.einsum("rndji,rnjiyx->rndyx", value, weights.to(value.dtype))
        return self.gamma * self.project(read.flatten(1, 2)) + x


def embed_offsets(layer: nn.Linear, length: int) -> Tensor:
    """Offsets of `length` queries to their keys on one axis -> [length,keys,HEADS,width], divided by sqrt 2."""
    encoded = encode_offsets(length, frequencies=layer.in_features // 2, like=layer.weight)
    return layer(encoded).unflatten(-1, (HEADS, -1)) / math.sqrt(2)


def encode_offsets(length: int, *, frequencies: int, like: Tensor) -> Tensor:
    """Sines, then cosines of query minus key: [length,ceil(length / 2),2 * frequencies]; type and device of `like`."""
    place = torch.arange(length, dtype=like.dtype, device=like.device)
    number = torch.arange(frequencies, dtype=like.dtype, device=like.device)
    angle = (place[:, None] - place[::KEY_STRIDE])[..., None] / LONGEST ** (number / frequencies)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
