"""The mask head of Boundary-preserving Mask R-CNN (Cheng et al., ECCV 2020, section 3.2) and what it should draw."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BoundaryPreservingHead(nn.Module):
    """A mask and a boundary branch of 3x3 convolutions that hand features to each other.

    Mask features [R,C,m,m], boundary features [R,C,2m,2m] -> mask logits and boundary logits [R,outputs,2m,2m].
    """

    def __init__(self, channels: int, *, outputs: int) -> None:
        super().__init__()
        self.mask_convs = _convs(channels, count=4)
        self.boundary_down = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.mask_to_boundary = nn.Conv2d(channels, channels, 1)
        self.boundary_convs = _convs(channels, count=2)
        self.boundary_to_mask = nn.Conv2d(channels, channels, 1)
        self.mask_final = nn.Conv2d(channels, channels, 3, padding=1)
        self.mask_upsample = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.mask_predictor = nn.Conv2d(channels, outputs, 1)
        self.boundary_upsample = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.boundary_predictor = nn.Conv2d(channels, outputs, 1)
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                if name.endswith("predictor"):
                    nn.init.normal_(layer.weight, std=0.001)
                else:
                    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, mask: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor]:
        mask, boundary = self.fuse(mask, boundary)
        return self.mask_logits(mask), self.boundary_predictor(self.boundary_upsample(boundary).relu_())

    def fuse(self, mask: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor]:
        """-> mask and boundary features [R,C,m,m], each of which has seen the other."""
        mask = self.mask_convs(mask)
        boundary = self.boundary_down(boundary).relu_() + self.mask_to_boundary(mask).relu_()
        boundary = self.boundary_convs(boundary)
        mask = self.mask_final(self.boundary_to_mask(boundary).relu_() + mask).relu_()
        return mask, boundary

    def mask_logits(self, mask: Tensor) -> Tensor:
        """Fused mask features [R,C,m,m] -> logits [R,outputs,2m,2m]."""
        return self.mask_predictor(self.mask_upsample(mask).relu_())


def inner_boundary(masks: Tensor) -> Tensor:
    """masks [R,m,m] of 0 and 1 -> [R,m,m]: 1 in pixels of the mask of whose eight neighbours one is not (section 3.3).

    As the published Laplacian (8 in the middle, -1 around) above 0.1: outside the crop nothing is mask.
    """
    outside = F.max_pool2d(F.pad(1 - masks[:, None], (1, 1, 1, 1), value=1.0), 3, stride=1)[:, 0]
    return masks * outside


def _convs(channels: int, *, count: int) -> nn.Sequential:
    pairs = [(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)) for _ in range(count)]
    return nn.Sequential(*(layer for pair in pairs for layer in pair))
