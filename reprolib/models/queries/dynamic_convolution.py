"""Convolutions whose weights a query gives (Sparse R-CNN, Sun et al., CVPR 2021; QueryInst, Fang et al., ICCV 2021)."""

from __future__ import annotations

from torch import Tensor, nn

NARROW = 4  # the inner width is this part of the channels: 64 of 256


class DynamicConvolution(nn.Module):
    """RoI features [R,C,m,m] and their queries [R,C] -> [R,C,m,m]: two 1x1 convolutions of the query's own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = channels // NARROW
        self.weights = nn.Linear(channels, 2 * channels * self.inner)
        self.first_norm, self.second_norm = nn.LayerNorm(self.inner), nn.LayerNorm(channels)
        nn.init.xavier_uniform_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)

    def forward(self, features: Tensor, queries: Tensor) -> Tensor:
        size = features.shape[2:]
        first, second = self.weights(queries).chunk(2, dim=1)
        x = features.flatten(2).transpose(1, 2)
        x = self.first_norm(x @ first.unflatten(1, (-1, self.inner))).relu()
        x = self.second_norm(x @ second.unflatten(1, (self.inner, -1))).relu()
        return x.transpose(1, 2).unflatten(2, tuple(size))
