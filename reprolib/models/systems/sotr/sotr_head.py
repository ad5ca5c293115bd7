"""SOTR's head (Guo et al., ICCV 2021): SOLOv2's, with a transformer in the place of its branches."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.one_stage.fcos_tower import PRIOR
from reprolib.models.systems.solov2.solov2_head import SOLOv2Head


class TransformerBranches(nn.Module):
    """One level's map [B,C,h,w] -> categories [B,K,S,S] and kernels [B,E,S,S]; the same weights for all levels."""

    def __init__(self, transformer: nn.Module, channels: int, *, num_classes: int, kernel: int) -> None:
        super().__init__()
        self.transformer = transformer
        self.category, self.kernel = nn.Linear(channels, num_classes), nn.Linear(channels, kernel)
        nn.init.constant_(self.category.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, x: Tensor, grid: int) -> tuple[Tensor, Tensor]:
        x = F.interpolate(x, size=(grid, grid), mode="bilinear", align_corners=False)
        cells = self.transformer(x).permute(0, 2, 3, 1)
        return self.category(cells).permute(0, 3, 1, 2), self.kernel(cells).permute(0, 3, 1, 2)


class SOTRHead(SOLOv2Head):
    """A `SOLOv2Head` of `TransformerBranches`; the mask feature reads what the transformer makes of P5."""

    def mask_maps(self, features: list[Tensor]) -> list[Tensor]:
        *finer, coarsest = features[:4]
        return [*finer, self.branches.transformer(coarsest)]
