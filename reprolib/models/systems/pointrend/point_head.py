"""The two heads of PointRend (Kirillov et al., CVPR 2020): a coarse mask, and logits of single points."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CoarseHead(nn.Module):
    """[R,C,m,m], m even -> logits [R,outputs,m/2,m/2]: a 2x2 convolution of stride 2 and three linear layers."""

    def __init__(self, channels: int, *, hidden: int, outputs: int, resolution: int = 14) -> None:
        super().__init__()
        self.side = resolution // 2
        self.reduce = nn.Conv2d(channels, channels, 2, stride=2)
        self.fc1 = nn.Linear(channels * self.side**2, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.predictor = nn.Linear(hidden, outputs * self.side**2)
        nn.init.kaiming_normal_(self.reduce.weight, mode="fan_out", nonlinearity="relu")
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.normal_(self.predictor.weight, std=0.001)
        for layer in (self.reduce, self.fc1, self.fc2, self.predictor):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x).relu_().flatten(1)
        x = self.fc2(self.fc1(x).relu_()).relu_()
        return self.predictor(x).unflatten(1, (-1, self.side, self.side))


class PointHead(nn.Module):
    """Fine features [R,C,P] and coarse logits [R,outputs,P] of points -> their logits [R,outputs,P].

    Each point on its own: three hidden layers of width C, and every layer sees the coarse logits of all classes again.
    """

    def __init__(self, channels: int, *, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(channels + outputs, channels, 1) for _ in range(3)])
        self.predictor = nn.Conv1d(channels + outputs, outputs, 1)
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        x = fine
        for layer in self.layers:
            x = layer(torch.cat([x, coarse], dim=1)).relu_()
        return self.predictor(torch.cat([x, coarse], dim=1))
