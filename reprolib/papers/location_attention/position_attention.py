"""Position attention (paper section 2.1, figure 3): every position of a map gathers from all others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.papers.location_attention.switches import Switches

REDUCTION = 8  # C to C1


class PositionAttention(nn.Module):
    """[B,C,h,w] -> the same.

    P, A, M: 1x1 convolutions to C1 = C / 8, reshaped to C1 x N. PAM: what each position takes from all,
    softmax over j of P_i . A_j, times M_j. T2: a 1x1 convolution of PAM to C2 = C - C1. T3 = [theta T1, T2] with the
    learned number theta, 0 at first; T1 is M as a map, the only reduced one that the text has. T3 has C channels again.

    With the theta of the text and no more, T3 begins as C1 channels of averaged values, and blocks in a row leave
    nothing to learn from; `pam_outer_residual` adds the input. The N x N products are never stored: fused attention.
    """

    def __init__(self, channels: int, *, switches: Switches) -> None:
        super().__init__()
        reduced = max(1, channels // REDUCTION)
        self.p = nn.Conv2d(channels, reduced, 1)
        self.a = None if switches.pam_shared_reduce else nn.Conv2d(channels, reduced, 1)
        self.m = None if switches.pam_shared_reduce else nn.Conv2d(channels, reduced, 1)
        own = switches.t1_source == "own_conv"
        self.t1 = nn.Conv2d(channels, channels // 2, 1) if own else None
        kept = channels // 2 if own else reduced
        self.t2 = nn.Conv2d(reduced, channels - kept, 1)
        self.theta = nn.Parameter(torch.zeros(()))
        self.theta_on_t1 = switches.theta_on == "T1"
        self.residual = switches.pam_outer_residual

    def forward(self, x: Tensor) -> Tensor:
        p, a, m = self.reduced(x)
        queries, keys, values = (map_.flatten(2).transpose(1, 2)[:, None] for map_ in (p, a, m))
        gathered = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        t1 = m if self.t1 is None else self.t1(x)
        t2 = self.t2(gathered[:, 0].transpose(1, 2).unflatten(2, x.shape[-2:]))
        t3 = torch.cat([self.theta * t1, t2] if self.theta_on_t1 else [t1, self.theta * t2], dim=1)
        return x + t3 if self.residual else t3

    def reduced(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [B,C,h,w] -> P, A, M, each [B,C1,h,w]."""
        p = self.p(x)
        return (p, p, p) if self.a is None else (p, self.a(x), self.m(x))

    def attention(self, x: Tensor) -> Tensor:
        """x [B,C,h,w] -> [B,hw,hw]; row i holds what position i takes from every position, and sums to 1."""
        p, a, _ = (map_.flatten(2) for map_ in self.reduced(x))
        return (p.transpose(1, 2) @ a).softmax(dim=-1)
