"""The mask head of CenterMask (Lee, Park, CVPR 2020, section 3.2): Mask R-CNN's with spatial attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.models.two_stage.mask_head import MaskHead


class SpatialAttention(nn.Module):
    """[R,C,m,m] -> the same, each place times a weight in 0..1 from the mean and the most of its channels (Eq. 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)).sigmoid()


class AttentionMaskHead(MaskHead):
    """[R,C,m,m] -> logits [R,outputs,2m,2m]; attention stands between the convolutions and the deconvolution."""

    def __init__(self, channels: int, *, outputs: int) -> None:
        super().__init__(channels, outputs=outputs)
        self.attention = SpatialAttention()

    def features(self, x: Tensor) -> Tensor:
        return self.attention(super().features(x))
