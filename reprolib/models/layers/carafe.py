"""CARAFE, content-aware reassembly of features (Wang et al., ICCV 2019), enlarging a map twice."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

FACTOR = 2
KERNEL = 5  # side of the neighbourhood that a new pixel is reassembled from
ENCODER_KERNEL = 3


class Carafe(nn.Module):
    """[B,C,h,w] -> [B,C,2h,2w]: each new pixel is a convex sum of 5x5 old ones, with weights predicted per pixel.

    compressed: channels from which the weights are predicted, by default C/4 (64 of 256, the published setting).
    All channels share the weights (one group). Outside the map there are zeros. Initialised as published: uniform
    Xavier, then normal with deviation 0.001, so that all 25 weights start close to 1/25.
    """

    def __init__(self, channels: int, *, compressed: int | None = None) -> None:
        super().__init__()
        compressed = compressed or max(1, channels // 4)
        self.compress = nn.Conv2d(channels, compressed, 1)
        self.encode = nn.Conv2d(compressed, KERNEL**2 * FACTOR**2, ENCODER_KERNEL, padding=ENCODER_KERNEL // 2)
        nn.init.xavier_uniform_(self.compress.weight)
        nn.init.normal_(self.encode.weight, std=0.001)
        for layer in (self.compress, self.encode):
            nn.init.zeros_(layer.bias)

    def kernels(self, x: Tensor) -> Tensor:
        """x [B,C,h,w] -> [B,25,4,h,w], summing to 1 over the 25 taps (row by row).

        The third axis holds the four new pixels of an old one: (0,0), (0,1), (1,0), (1,1).
        """
        return self.encode(self.compress(x)).unflatten(1, (KERNEL**2, FACTOR**2)).softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return reassemble(x, self.kernels(x).to(x.dtype))


def reassemble(x: Tensor, kernels: Tensor) -> Tensor:
    """x [B,C,h,w] and kernels [B,25,4,h,w] -> [B,C,2h,2w], the sum over the 25 taps of weight times shifted map.

    Unfolding the neighbourhoods would take 25 times the output's memory (4 GB for 256 channels at 400x400). Here each
    tap is a view of one padded map, so that both passes need a few times the output and no more.
    """
    height, width = x.shape[-2:]
    margin = KERNEL // 2
    padded = F.pad(x.contiguous(), (margin,) * 4)
    total = None
    for tap, weights in enumerate(kernels.unbind(dim=1)):
        row, column = divmod(tap, KERNEL)
        shifted = padded[:, :, None, row : row + height, column : column + width]  # [B,C,1,h,w]
        weights = weights[:, None]  # [B,1,4,h,w]
        # In place: a new tensor per sum would only cost an allocation each; the backward pass needs none of them.
        total = shifted * weights if total is None else total.addcmul_(shifted, weights)
    # Not pixel_shuffle: without maps (no RoIs) its backward pass fails.
    interleaved = total.unflatten(2, (FACTOR, FACTOR)).permute(0, 1, 4, 2, 5, 3)  # [B,C,h,2,w,2]
    return interleaved.flatten(4, 5).flatten(2, 3)
