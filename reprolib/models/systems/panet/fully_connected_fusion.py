"""Mask head with fully connected fusion (PANet, Liu et al., CVPR 2018, section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from reprolib.models.two_stage.mask_head import MaskHead


class FullyConnectedFusionHead(MaskHead):
    """Mask R-CNN's head and, from its third convolution on, a fully connected branch with a view of the whole box.

    [R,C,m,m] -> logits [R,outputs,2m,2m]. The branch (3x3 C -> C, 3x3 C -> C/2, FC -> 4 m^2) gives one map without
    classes, which is added to the logits of every class.
    resolution: m. relu: a ReLU on that map, so that it only ever raises logits; so in the authors' code.
    first: False leaves out the first convolution, where adaptive feature pooling has done it.
    Specification: systems_two_stage.md, section 5; the branch has 20,554,896 parameters at C = 256, m = 14.
    """

    def __init__(
        self, channels: int, *, outputs: int, resolution: int = 14, relu: bool = True, first: bool = True
    ) -> None:
        super().__init__(channels, outputs=outputs)
        if not first:
            del self.convs[0]
        half = max(1, channels // 2)
        self.fusion_convs = nn.ModuleList(
            [nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, half, 3, padding=1)]
        )
        for conv in self.fusion_convs:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias)
        self.fusion_fc = nn.Linear(half * resolution**2, 4 * resolution**2)
        nn.init.normal_(self.fusion_fc.weight, std=0.01)
        nn.init.zeros_(self.fusion_fc.bias)
        self.fusion_size = 2 * resolution
        self.fusion_relu = relu

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs[:-1]:
            x = conv(x).relu_()
        return self.predict(self.convs[-1](x).relu_()) + self.shared_map(x)

    def shared_map(self, features: Tensor) -> Tensor:
        """What the third convolution gives, [R,C,m,m] -> [R,1,2m,2m], the branch's map."""
        for conv in self.fusion_convs:
            features = conv(features).relu_()
        flat = self.fusion_fc(features.flatten(1))
        if self.fusion_relu:
            flat = flat.relu_()
        return flat.unflatten(1, (1, self.fusion_size, self.fusion_size))
