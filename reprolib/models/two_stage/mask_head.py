"""The mask head of Mask R-CNN (He et al., ICCV 2017)."""

from __future__ import annotations

from torch import Tensor, nn


class MaskHead(nn.Module):
    """Four 3x3 convolutions, a 2x2 deconvolution, a 1x1 predictor: [R,C,m,m] -> logits [R,outputs,2m,2m].

    in_channels: width of the input where it is not `channels`.
    """

    def __init__(self, channels: int, *, outputs: int, in_channels: int | None = None) -> None:
        super().__init__()
        widths = [in_channels or channels, channels, channels, channels]
        self.convs = nn.ModuleList([nn.Conv2d(width, channels, 3, padding=1) for width in widths])
        self.upsample = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.predictor = nn.Conv2d(channels, outputs, 1)
        for layer in (*self.convs, self.upsample):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """What the four convolutions make of the input: [R,C,m,m]."""
        for conv in self.convs:
            x = conv(x).relu_()
        return x

    def predict(self, features: Tensor) -> Tensor:
        """Features [R,C,m,m] -> logits [R,outputs,2m,2m]."""
        return self.predictor(self.upsample(features).relu_())
