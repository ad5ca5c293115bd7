"""SCNet's feature relay: what the box branch knows of a box, handed to the mask branch (AAAI 2021, section 3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FeatureRelay(nn.Module):
    """The box head's vectors [R,hidden] -> maps [R,channels,2m,2m] that are added to the mask head's input.

    One fully connected layer to channels x m x m without activation, then bilinear to twice the size with the
    corners aligned. resolution: m.
    """

    def __init__(self, hidden: int, *, channels: int, resolution: int = 7) -> None:
        super().__init__()
        self.channels, self.resolution = channels, resolution
        self.fc = nn.Linear(hidden, channels * resolution**2)
        nn.init.kaiming_normal_(self.fc.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        maps = self.fc(vectors).unflatten(1, (self.channels, self.resolution, self.resolution))
        return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=True)
