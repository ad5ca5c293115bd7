"""Convolutions with an identity path around them, as SCNet stacks them (Vu, Kang and Yoo, AAAI 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from reprolib.models.two_stage.mask_head import MaskHead


class ResidualPair(nn.Module):
    """y = x + conv2(relu(conv1(x))), two 3x3 convolutions with bias: [B,channels,h,w] -> the same shape.

    Neither norm nor an activation after the sum (spec section 4, as in the authors' code).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x).relu_())


class ResidualMaskHead(MaskHead):
    """Mask R-CNN's mask head with six residual pairs in place of four convolutions: twelve convolutions deep.

    [R,channels,m,m] -> logits [R,outputs,2m,2m].
    """

    def __init__(self, channels: int, *, outputs: int) -> None:
        super().__init__(channels, outputs=outputs)
        self.convs = nn.ModuleList([ResidualPair(channels) for _ in range(6)])

    def features(self, x: Tensor) -> Tensor:
        """What the residual pairs make of the input: [R,channels,m,m]."""
        for pair in self.convs:
            x = pair(x)
        return x
