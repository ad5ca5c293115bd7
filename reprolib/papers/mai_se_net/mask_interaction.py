"""Mask attention interaction (paper section II.A): what passes from the mask head of one stage to the next."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.layers.non_local import NonLocal
from reprolib.models.two_stage.mask_flow import MaskInformationFlow
from reprolib.papers.mai_se_net.switches import Switches

RATES = (2, 3, 4, 5)
CBAM_RATIO = 1 / 16


class ASPP(nn.Module):
    """Eq. 1: four 3x3 convolutions with rates 2 to 5 side by side, concatenated, reduced by a 1x1 convolution.

    [n,C,m,m] -> [n,C,m,m]. refine: a module on the concatenation [n,4C,m,m], before the reduction.
    """

    def __init__(self, channels: int, *, activation: bool, refine: nn.Module | None = None) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=rate, dilation=rate) for rate in RATES)
        self.refine = refine or nn.Identity()
        self.reduce = nn.Conv2d(len(RATES) * channels, channels, 1)
        self.activate = nn.ReLU() if activation else nn.Identity()
        for layer in (*self.branches, self.reduce):
            initialise(layer)

    def forward(self, x: Tensor) -> Tensor:
        responses = torch.cat([self.activate(branch(x)) for branch in self.branches], dim=1)
        return self.activate(self.reduce(self.refine(responses)))


class CBAM(nn.Module):
    """Convolutional block attention (Woo et al., ECCV 2018): x times channel and position weights, both in (0, 1).

    [n,C,m,m] -> the same. parallel: the position weights are taken from x, not from x already weighted by channel.
    norm: batch norm over the position map. (timm's module has neither choice; with these defaults they are equal.)
    """

    def __init__(self, channels: int, *, norm: bool = True, parallel: bool = False) -> None:
        super().__init__()
        hidden = max(1, round(channels * CBAM_RATIO))
        self.mlp = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1))
        self.spatial = nn.Sequential(
            nn.Conv2d(2, 1, 7, padding=3, bias=False), nn.BatchNorm2d(1) if norm else nn.Identity()
        )
        self.parallel = parallel

    def channel_weights(self, x: Tensor) -> Tensor:
        """x [n,C,m,m] -> [n,C,1,1], from the mean and the maximum of each channel."""
        mean, largest = x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
        return (self.mlp(mean) + self.mlp(largest)).sigmoid()

    def spatial_weights(self, x: Tensor) -> Tensor:
        """x [n,C,m,m] -> [n,1,m,m], from the mean and the maximum at each position."""
        both = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return self.spatial(both).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        weighted = x * self.channel_weights(x)
        return weighted * self.spatial_weights(x if self.parallel else weighted)


class CSAB(nn.Module):
    """Concatenation, shuffle, attention: refined features [n,C,m,m], RoI features [n,C,m,m] -> [n,out_channels,m,m].

    A 3x3 convolution with two groups refines the two sources apart, the shuffle puts their channels in turn, CBAM
    weighs them. out_channels: 2C for `csab_out` widen_first_conv, else C.
    """

    def __init__(self, channels: int, *, switches: Switches) -> None:
        super().__init__()
        width = channels if switches.csab_out == "group_reduce" else 2 * channels
        reduces = switches.csab_out == "conv1x1"
        self.group = nn.Conv2d(2 * channels, width, 3, padding=1, groups=2)
        self.shuffle = nn.ChannelShuffle(2)
        self.attention = CBAM(width, norm=switches.cbam_bn, parallel=switches.cbam_parallel)
        self.reduce = nn.Conv2d(width, channels, 1) if reduces else nn.Identity()
        self.out_channels = channels if reduces else width
        initialise(self.group)
        if reduces:
            initialise(self.reduce)

    def forward(self, refined: Tensor, roi: Tensor) -> Tensor:
        separate = F.relu(self.group(torch.cat([refined, roi], dim=1)))
        return self.reduce(self.attention(self.shuffle(separate)))


class MaskInteraction(nn.Module):
    """One site: previous head's features [n,C,m,m], RoI features [n,C,m,m] -> [n,out_channels,m,m] for the next head.

    components: of `aspp`, `nlb`, `csab`, each also alone. Without CSAB the refined features pass HTC's 1x1
    convolution and are added; with none of the three the site is HTC's own.
    """

    def __init__(self, channels: int, *, components: tuple[str, ...], switches: Switches) -> None:
        super().__init__()
        on_concatenation = switches.nlb_in == "4C"
        width = len(RATES) * channels if on_concatenation else channels
        nlb = None
        if "nlb" in components:
            nlb = NonLocal(width, embedding=max(1, channels // 4), scaled=switches.nlb_scale)
        self.aspp = nn.Identity()
        if "aspp" in components:
            inner = nlb if on_concatenation else None
            self.aspp = ASPP(channels, activation=switches.aspp_act == "relu", refine=inner)
        self.nlb = nn.Identity() if nlb is None or on_concatenation else nlb
        has_csab = "csab" in components
        self.fusion = CSAB(channels, switches=switches) if has_csab else MaskInformationFlow(channels)
        self.out_channels = self.fusion.out_channels

    def forward(self, previous: Tensor, roi: Tensor) -> Tensor:
        return self.fusion(self.nlb(self.aspp(previous)), roi)


def initialise(conv: nn.Conv2d) -> None:
    """Kaiming by fan-in: keeps the responses' size whatever the output width is."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)
