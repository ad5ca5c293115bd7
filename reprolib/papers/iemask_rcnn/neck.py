"""Information-enhanced FPN (paper section 3.2) with the bottom-up path (section 3.3) on top."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reprolib.models.feature_pyramid import subsample, top_down, xavier_conv
from reprolib.papers.iemask_rcnn.bottom_up import BottomUpPath
from reprolib.papers.iemask_rcnn.switches import Switches


class ChannelEnhancement(nn.Module):
    """CEM, Eqs. 3 to 5: gates the channels of C_i by their global average, then reduces them to the pyramid's width.

    [B, in_channels, H, W] -> [B, channels, H, W]; the gate is in (0, 1).
    """

    def __init__(self, in_channels: int, *, channels: int, reduction: int = 16):
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, in_channels // reduction, 1)
        self.expand = nn.Conv2d(in_channels // reduction, in_channels, 1)
        # The authors' code disables Xavier for the laterals, by all appearances by accident (card.md).
        self.project = xavier_conv(in_channels, channels, kernel_size=1)

    def gate(self, feature: Tensor) -> Tensor:
        """Channel weights [B, in_channels, 1, 1] of Eq. 4."""
        pooled = feature.mean(dim=(2, 3), keepdim=True)
        return torch.sigmoid(self.expand(functional.relu(self.reduce(pooled))))

    def forward(self, feature: Tensor) -> Tensor:
        return self.project(self.gate(feature) * feature)


class GlobalInformation(nn.Module):
    """GIM, Eqs. 6 to 8: a global descriptor of C5, the same at every position.

    [B, in_channels, H, W] -> [B, channels, 1, 1]. The paper copies the descriptor to H x W before its 1x1
    convolution; broadcasting the result of that convolution is the same and cheaper. There is no activation between
    the layers, neither in the text nor in the code, so the whole module is one linear map of C5. The widths are only
    in the code.
    """

    def __init__(self, in_channels: int, *, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 4 * channels, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(4 * channels, 2 * channels, 5, stride=2, padding=2)
        self.project = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, feature: Tensor) -> Tensor:
        pooled = self.conv2(self.conv1(feature)).mean(dim=(2, 3), keepdim=True)
        return self.project(pooled)


class InformationEnhancedFPN(nn.Module):
    """Feature pyramid whose laterals may be CEM (on C3 to C5) and whose P5 may hold GIM (Eqs. 1 and 2).

    list of C2..C5, [B, in_channels[i], H_i, W_i] -> list of N2..N6 (P2..P6 without the bottom-up path),
    [B, channels, H_i, W_i]; the sixth is the fifth subsampled by 2.
    """

    def __init__(self, in_channels: list[int], *, channels: int, components: tuple[str, ...], switches: Switches):
        super().__init__()
        self.laterals = nn.ModuleList(
            ChannelEnhancement(width, channels=channels)
            if "cem" in components and level > 0
            else xavier_conv(width, channels, kernel_size=1)
            for level, width in enumerate(in_channels)
        )
        self.outputs = nn.ModuleList(xavier_conv(channels, channels, kernel_size=3) for _ in in_channels)
        self.global_information = GlobalInformation(in_channels[-1], channels=channels) if "gim" in components else None
        concatenates = switches.gim_merge == "concat_conv"
        # In the code's run without GIM the merging convolution stays in the counted model.
        has_merge = concatenates and (self.global_information is not None or switches.keep_dead_params)
        self.merge = nn.Conv2d(2 * channels, channels, 3, padding=1) if has_merge else None
        self.bottom_up = None
        if "bottomup" in components:
            self.bottom_up = BottomUpPath(
                levels=len(in_channels), channels=channels, adaptive="aff" in components, switches=switches
            )

    def merged_top(self, feature: Tensor) -> Tensor:
        """P5 before its output convolution, [B, channels, H5, W5], from C5."""
        lateral = self.laterals[-1](feature)
        if self.global_information is None:
            return lateral
        descriptor = self.global_information(feature)
        if self.merge is None:
            return lateral + descriptor
        return self.merge(torch.cat([descriptor.expand_as(lateral), lateral], dim=1))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        laterals = [lateral(c) for lateral, c in zip(self.laterals[:-1], features[:-1], strict=True)]
        pyramid = top_down([*laterals, self.merged_top(features[-1])], self.outputs)
        if self.bottom_up is not None:
            pyramid = self.bottom_up(pyramid)
        return [*pyramid, subsample(pyramid[-1])]
