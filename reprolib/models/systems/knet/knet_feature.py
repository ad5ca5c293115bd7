"""K-Net's localisation pyramid (Zhang et al., NeurIPS 2021): one map of stride 8 for masks, one for classes."""

from __future__ import annotations

import math

from torch import Tensor, nn

from reprolib.models.feature_pyramid import enlarge
from reprolib.models.layers.conv_norm import conv_norm
from reprolib.models.layers.transformer import sine_positions
from reprolib.models.queries.query_stage import PRIOR

STD = 0.01  # of the weights of all convolutions here at first, but of the kernels


def conv_of(channels: int, *, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """See `conv_norm`; a width stays."""
    layers = conv_norm(channels, channels, kernel_size=kernel_size, stride=stride)
    nn.init.normal_(layers[0].weight, std=STD)
    return layers


class LocalisationPyramid(nn.Module):
    """P2..P5, and what follows them unread -> instance and semantic feature, each [B,C,h,w] of P3's size.

    P2 is halved, P4 and P5 are enlarged twofold behind each convolution but the last; P5 knows its places.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.ModuleList(conv_of(channels, kernel_size=3, stride=2 if level == 0 else 1) for _ in range(max(1, level)))
            for level in range(4)
        )
        self.instance, self.semantic = (conv_of(channels, kernel_size=1) for _ in range(2))

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        finest, stride_8, *coarser = features[:4]
        last = coarser[-1]
        position = sine_positions(tuple(last.shape[-2:]), last.shape[1], device=last.device)
        coarser[-1] = last + position.T.unflatten(1, last.shape[-2:]).to(last.dtype)
        size = stride_8.shape[-2:]
        fused = self.levels[1][0](stride_8) + enlarge(self.levels[0][0](finest), size=size)
        sizes = [stride_8.shape[-2:], *(level.shape[-2:] for level in coarser)]
        for number, x in enumerate(coarser, start=1):
            convs = self.levels[number + 1]
            for step, conv in enumerate(convs):
                x = conv(x)
                if step < number:
                    x = enlarge(x, size=sizes[number - step - 1])
            fused = fused + x
        return self.instance(fused), self.semantic(fused)


class KernelHead(nn.Module):
    """Features -> the map F that kernels read, first masks, first kernels and semantic logits (section 3.3).

    queries: number of kernels.
    """

    def __init__(self, channels: int, *, num_classes: int, queries: int) -> None:
        super().__init__()
        self.instance, self.semantic = (conv_of(channels, kernel_size=1) for _ in range(2))
        self.kernels = nn.Conv2d(channels, queries, 1, bias=False)
        self.classes = nn.Conv2d(channels, num_classes, 1)
        nn.init.normal_(self.kernels.weight)
        nn.init.normal_(self.classes.weight, std=STD)
        nn.init.constant_(self.classes.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, instance: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-> F [B,C,h,w], kernels [B,Q,C], mask logits [B,Q,h,w], semantic logits [B,K,h,w]."""
        instance, semantic = self.instance(instance), self.semantic(semantic)
        masks, semantic_logits = self.kernels(instance).float(), self.classes(semantic).float()
        feature = instance + semantic
        kernels = self.kernels.weight.flatten(1) + group_features(masks, feature)
        return feature, kernels, masks, semantic_logits


def group_features(masks: Tensor, feature: Tensor) -> Tensor:
    """Mask logits [B,Q,h,w], feature [B,C,h,w] -> [B,Q,C]: the sum of what lies inside each mask (logit > 0).

    No gradient reaches the masks.
    """
    inside = (masks > 0).flatten(2).to(feature.dtype)
    return inside @ feature.flatten(2).transpose(1, 2)
