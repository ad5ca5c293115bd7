"""One kernel update of K-Net (Zhang et al., NeurIPS 2021, section 3.2): kernels learn from what their masks hold."""

from __future__ import annotations

import math

from torch import Tensor, nn

from reprolib.models.layers.transformer import AttentionBlock, FeedForwardBlock
from reprolib.models.queries.query_stage import PRIOR, linear_norm_relu
from reprolib.models.systems.knet.knet_feature import group_features


class AdaptiveUpdate(nn.Module):
    """Group features and kernels, each [B,Q,C] -> new kernels [B,Q,C] by two gates (equations 5 to 7)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group, self.kernel = (_linear(channels, 2 * channels) for _ in range(2))
        self.gates = nn.ModuleList(_linear(channels, channels) for _ in range(2))
        self.gate_norms, self.norms = (nn.ModuleList(nn.LayerNorm(channels) for _ in range(2)) for _ in range(2))
        self.fuse = nn.Sequential(_linear(channels, channels), nn.LayerNorm(channels), nn.ReLU(inplace=True))

    def forward(self, group: Tensor, kernels: Tensor) -> Tensor:
        (group_in, group_out), (kernel_in, kernel_out) = self.group(group).chunk(2, 2), self.kernel(kernels).chunk(2, 2)
        both = group_in * kernel_in
        gates = (norm(gate(both)).sigmoid() for gate, norm in zip(self.gates, self.gate_norms, strict=True))
        parts = (norm(x) for x, norm in zip((kernel_out, group_out), self.norms, strict=True))
        return self.fuse(sum(gate * x for gate, x in zip(gates, parts, strict=True)))


class KernelUpdate(nn.Module):
    """F [B,C,h,w], kernels [B,Q,C], masks [B,Q,h,w] -> new kernels, class logits [B,Q,K], mask logits [B,Q,h,w]."""

    def __init__(self, channels: int, *, num_classes: int) -> None:
        super().__init__()
        self.transform = nn.Conv2d(channels, channels, 1)
        self.update = AdaptiveUpdate(channels)
        self.attention = AttentionBlock(channels)
        self.feed_forward = FeedForwardBlock(channels, hidden=8 * channels)
        self.class_layers, self.classes = linear_norm_relu(channels), nn.Linear(channels, num_classes)
        self.mask_layers, self.masks = linear_norm_relu(channels), _linear(channels, channels)
        nn.init.xavier_uniform_(self.classes.weight)
        nn.init.constant_(self.classes.bias, -math.log((1 - PRIOR) / PRIOR))
        nn.init.xavier_uniform_(self.transform.weight)
        nn.init.zeros_(self.transform.bias)

    def forward(self, feature: Tensor, kernels: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        feature = self.transform(feature)
        kernels = self.update(group_features(masks, feature), kernels)
        kernels = self.feed_forward(self.attention(kernels))
        classes = self.classes(self.class_layers(kernels))
        mask_logits = self.masks(self.mask_layers(kernels)) @ feature.flatten(2)
        return kernels, classes.float(), mask_logits.float().unflatten(2, feature.shape[-2:])


def _linear(channels: int, out_channels: int) -> nn.Linear:
    linear = nn.Linear(channels, out_channels)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
