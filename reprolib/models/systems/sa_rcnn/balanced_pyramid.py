"""Balanced feature pyramid (Libra R-CNN: Pang et al., CVPR 2019): all levels share one refined semantic map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.layers.non_local import NonLocal


class BalancedPyramid(nn.Module):
    """Gathers the levels at the size of one of them, refines their mean, adds it back to every level.

    The refinement is an embedded Gaussian non-local block of full width that starts as an identity.
    gather_at: index of the level whose size is used (2 = P4).
    """

    def __init__(self, channels: int, *, gather_at: int = 2) -> None:
        super().__init__()
        self.gather_at = gather_at
        self.refine = NonLocal(channels, embedding=channels)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """[P2..P6], each [B,channels,h,w] and half as large as the one before, rounded up -> the same shapes."""
        size = levels[self.gather_at].shape[-2:]
        gathered = [resize(level, size, halvings=self.gather_at - i) for i, level in enumerate(levels)]
        refined = self.refine(torch.stack(gathered).mean(0))
        return [
            level + resize(refined, level.shape[-2:], halvings=i - self.gather_at) for i, level in enumerate(levels)
        ]


def resize(level: Tensor, size: tuple[int, int], *, halvings: int) -> Tensor:
    """[B,C,h,w] -> [B,C,*size]: the largest values where it is halved, repeated values where it grows.

    halvings: how often `size` is half the level's, rounded up; 0 or less where it is as large or larger.
    """
    if halvings > 0:
        # Not adaptive pooling, which gives the same where sizes divide: it has no deterministic gradient on GPUs.
        return F.max_pool2d(level, 2**halvings, ceil_mode=True)
    return F.interpolate(level, size=size, mode="nearest")
