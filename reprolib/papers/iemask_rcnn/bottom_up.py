"""Bottom-up path with adaptive feature fusion (paper section 3.3, Eqs. 9 to 15)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.papers.iemask_rcnn.switches import Switches


class SqueezeExcitation(nn.Module):
    """Channel gating without biases, as the code has it: [B, channels, H, W] -> the same."""

    def __init__(self, channels: int, *, reduction: int = 16):
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(channels, channels // reduction, bias=False),
            nn.ReLU(),
            nn.Linear(channels // reduction, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, feature: Tensor) -> Tensor:
        return feature * self.gate(feature.mean(dim=(2, 3)))[:, :, None, None]


class FusionWeights(nn.Module):
    """The two weights of adaptive feature fusion, Eqs. 13 to 15.

    path, lateral: [B, channels, H, W] each -> [B, 2, H, W], in (0, 1) and summing to 1 at every position; the first
    belongs to the path from below (the paper numbers them the other way round, the code like this).
    """

    def __init__(self, channels: int, *, group_norm: bool):
        super().__init__()
        width = channels * 3 // 4  # 192 of 256, only in the code
        self.path = _reduction(channels, width, group_norm=group_norm)
        self.lateral = _reduction(channels, width, group_norm=group_norm)
        self.excitation = SqueezeExcitation(2 * width)
        self.score = nn.Conv2d(2 * width, 2, 1)

    def forward(self, path: Tensor, lateral: Tensor) -> Tensor:
        both = torch.cat([self.path(path), self.lateral(lateral)], dim=1)
        return self.score(self.excitation(both)).softmax(dim=1)


class AdaptiveFeatureFusion(nn.Module):
    """One step of the bottom-up path: N_i from N_{i-1} and P_i (Eqs. 10 and 12).

    below: N_{i-1} [B, channels, 2H, 2W]; lateral: P_i [B, channels, H, W] -> N_i [B, channels, H, W].
    Without `adaptive` (the row "w/o AFF") the two are added and all else stays.
    """

    def __init__(self, channels: int, *, adaptive: bool, switches: Switches):
        super().__init__()
        self.down = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.pre = nn.Conv2d(channels, channels, 3, padding=1) if switches.aff_pre_conv else nn.Identity()
        self.weights = FusionWeights(channels, group_norm=switches.group_norm) if adaptive else None
        self.output = nn.Conv2d(channels, channels, 3, padding=1) if switches.aff_output_conv else nn.Identity()
        # A 3x3 convolution with GroupNorm that the code builds and never calls; its reported counts include it.
        self.unused = None
        if adaptive and switches.keep_dead_params:
            self.unused = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), _group_norm(channels))

    def forward(self, below: Tensor, lateral: Tensor) -> Tensor:
        path, lateral = self.down(below), self.pre(lateral)
        if self.weights is None:
            return self.output(path + lateral)
        weights = self.weights(path, lateral)
        return self.output(path * weights[:, :1] + lateral * weights[:, 1:])


class BottomUpPath(nn.Module):
    """N2..N5 from P2..P5 (Eq. 9). One fusion module serves all levels unless `aff_shared` is off."""

    def __init__(self, *, levels: int, channels: int, adaptive: bool, switches: Switches):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1) if switches.n2_conv else nn.Identity()
        steps = levels - 1
        if switches.aff_shared:
            fusion = AdaptiveFeatureFusion(channels, adaptive=adaptive, switches=switches)
            self.fusions = nn.ModuleList([fusion] * steps)
        else:
            self.fusions = nn.ModuleList(
                AdaptiveFeatureFusion(channels, adaptive=adaptive, switches=switches) for _ in range(steps)
            )

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        outputs = [self.first(pyramid[0])]
        for fusion, lateral in zip(self.fusions, pyramid[1:], strict=True):
            outputs.append(fusion(outputs[-1], lateral))
        return outputs


def _group_norm(channels: int) -> nn.GroupNorm:
    # 32 groups at the published widths (192 to 1024); thin networks keep the smallest groups' size, 6 or 8 channels.
    return nn.GroupNorm(32 if channels % 32 == 0 else channels // 6, channels)


def _reduction(channels: int, width: int, *, group_norm: bool) -> nn.Sequential:
    norm = _group_norm(width) if group_norm else nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, width, 1), norm, nn.ReLU())
