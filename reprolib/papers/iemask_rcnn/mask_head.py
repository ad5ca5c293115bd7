"""Encoding-decoding mask head (paper section 3.4, Eqs. 16 to 20), as the code has it and as the text has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reprolib.papers.iemask_rcnn.switches import Switches


class EncodingDecodingMaskHead(nn.Module):
    """The head of the authors' code: two levels down, two up, skips concatenated.

    [R, channels, S, S] -> mask logits [R, num_masks, S, S] ([.., 2S, 2S] with `final_up`); S a multiple of 4, 28 as
    published.
    """

    def __init__(self, *, channels: int, num_masks: int, switches: Switches):
        super().__init__()
        conv = _conv_factory(switches)
        self.encoder1 = nn.Sequential(conv(channels, 2 * channels), conv(2 * channels, 2 * channels))
        self.encoder2 = nn.Sequential(conv(2 * channels, 4 * channels), conv(4 * channels, 4 * channels))
        self.decoder1 = conv(4 * channels, 2 * channels)
        self.decoder2 = nn.Sequential(conv(4 * channels, 2 * channels), conv(2 * channels, channels))
        self.decoder3 = conv(2 * channels, channels)
        self.predictor = _predictor(channels, num_masks)
        self.final_up = switches.final_up

    def join(self, decoded: Tensor, skip: Tensor) -> Tensor:
        """Decoder first, then the encoder's map of the same size."""
        return torch.cat([decoded, skip], dim=1)

    def forward(self, roi: Tensor) -> Tensor:
        encoded1 = self.encoder1(functional.max_pool2d(roi, 2))
        encoded2 = self.encoder2(functional.max_pool2d(encoded1, 2))
        decoded1 = _up(self.decoder1(encoded2))
        decoded2 = _up(self.decoder2(self.join(decoded1, encoded1)))
        decoded3 = self.decoder3(self.join(decoded2, roi))
        return self.predictor(_up(decoded3) if self.final_up else decoded3)


class TextMaskHead(EncodingDecodingMaskHead):
    """The head of the paper's text: one convolution at the bottom, skips added (Eqs. 16 to 20).

    [R, channels, S, S] -> mask logits [R, num_masks, 2S, 2S] ([.., S, S] without `final_up`, which is Eq. 20's).
    """

    def __init__(self, *, channels: int, num_masks: int, switches: Switches):
        super().__init__(channels=channels, num_masks=num_masks, switches=switches)
        conv = _conv_factory(switches)
        self.encoder2 = conv(2 * channels, 4 * channels)  # Eq. 17
        self.decoder1 = nn.Sequential(conv(4 * channels, 2 * channels), conv(2 * channels, 2 * channels))  # Eq. 18
        self.decoder2 = nn.Sequential(conv(2 * channels, channels), conv(channels, channels))  # Eq. 19
        self.decoder3 = conv(channels, channels)  # Eq. 20

    def join(self, decoded: Tensor, skip: Tensor) -> Tensor:
        """Eqs. 19 and 20: the sum."""
        return decoded + skip


def build_mask_head(*, channels: int, num_masks: int, switches: Switches) -> nn.Module:
    """The head that the switch `mask_head` names."""
    kind = EncodingDecodingMaskHead if switches.mask_head == "code" else TextMaskHead
    return kind(channels=channels, num_masks=num_masks, switches=switches)


def _conv_factory(switches: Switches):
    def conv(in_channels: int, out_channels: int) -> nn.Sequential:
        # 32 groups as published; in thin networks groups of 8 channels, the size that 256 channels give.
        norm = nn.GroupNorm(min(32, out_channels // 8), out_channels) if switches.group_norm else nn.Identity()
        return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), norm, nn.ReLU())

    return conv


def _predictor(channels: int, num_masks: int) -> nn.Conv2d:
    predictor = nn.Conv2d(channels, num_masks, 1)
    nn.init.normal_(predictor.weight, std=0.001)
    nn.init.zeros_(predictor.bias)
    return predictor


def _up(feature: Tensor) -> Tensor:
    return functional.interpolate(feature, scale_factor=2, mode="bilinear", align_corners=True)
