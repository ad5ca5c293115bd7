"""Global context block (GCNet: Cao et al., ICCV workshops 2019), timm's, starting as an identity."""

from __future__ import annotations

from timm.layers import GlobalContext
from torch import nn


def global_context(channels: int, *, ratio: float = 1 / 16) -> GlobalContext:
    """A module [B,C,h,w] -> the same: one vector per map, the same for all positions, is added.

    The vector: mean over the positions weighted by a softmax (1x1 to one channel), 1x1 to C * ratio (at least 1),
    LayerNorm, ReLU, 1x1 back to C. That last layer starts at zero.
    """
    block = GlobalContext(channels, fuse_add=True, fuse_scale=False, rd_channels=max(1, round(channels * ratio)))
    nn.init.zeros_(block.mlp_add.fc2.bias)  # timm sets only the weight to zero
    return block
