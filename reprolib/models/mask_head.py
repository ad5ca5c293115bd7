"""The mask head of Mask R-CNN (He et al., ICCV 2017)."""

from __future__ import annotations

from torch import Tensor, nn


class MaskHead(nn.Module):
    """Four 3x3 convolutions, a 2x2 deconvolution, a 1x1 predictor: [R,C,m,m] -> logits [R,outputs,2m,2m]."""

    def __init__(self, channels: int, *, outputs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4)])
        self.upsample = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.predictor = nn.Conv2d(channels, outputs, 1)
        for layer in (*self.convs, self.upsample):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x).relu_()
        return self.predictor(self.upsample(x).relu_())
