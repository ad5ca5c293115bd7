"""One stage of QueryInst (Fang et al., ICCV 2021, section 3): queries, their boxes, classes and masks."""

from __future__ import annotations

import math

from torch import Tensor, nn

from reprolib.models.layers.transformer import AttentionBlock, FeedForwardBlock
from reprolib.models.queries.dynamic_convolution import DynamicConvolution

POOLED = 7  # cells of a box per side, for its class and its regression
PRIOR = 0.01  # probability of each class at first


class QueryStage(nn.Module):
    """Queries look at each other, then each at its own box, and say its class and how it moves (figure 2)."""

    def __init__(self, channels: int, *, num_classes: int) -> None:
        super().__init__()
        self.attention = AttentionBlock(channels)
        self.interaction = DynamicConvolution(channels)
        self.project = nn.Sequential(
            nn.Linear(channels * POOLED**2, channels), nn.LayerNorm(channels), nn.ReLU(inplace=True)
        )
        self.norm = nn.LayerNorm(channels)
        self.feed_forward = FeedForwardBlock(channels, hidden=8 * channels)
        self.class_layers, self.classes = linear_norm_relu(channels), nn.Linear(channels, num_classes)
        self.box_layers = nn.Sequential(*(linear_norm_relu(channels) for _ in range(3)))
        self.deltas = nn.Linear(channels, 4)
        for linear in (self.project[0], self.classes, self.deltas):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        nn.init.constant_(self.classes.bias, -math.log((1 - PRIOR) / PRIOR))

    def attend(self, queries: Tensor) -> Tensor:
        """Queries [B,Q,C] after they have looked at each other, which the stage's mask head reads too."""
        return self.attention(queries)

    def forward(self, attended: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """attended [B,Q,C], features [B*Q,C,7,7] of the boxes -> queries [B,Q,C], logits [B,Q,K], deltas [B,Q,4]."""
        seen = self.interaction(features, attended.flatten(0, 1))
        seen = self.project(seen.transpose(1, 2).transpose(2, 3).flatten(1)).view_as(attended)
        queries = self.feed_forward(self.norm(attended + seen))
        logits, deltas = self.classes(self.class_layers(queries)), self.deltas(self.box_layers(queries))
        return queries, logits.float(), deltas.float()


class QueryMaskHead(nn.Module):
    """RoI features [R,C,m,m] and attended queries [R,C] -> mask logits [R,K,2m,2m].

    norm: from a width to a norm.
    """

    def __init__(self, channels: int, *, num_classes: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.interaction = DynamicConvolution(channels)
        self.convs = nn.Sequential(*(self._block(channels, norm) for _ in range(4)))
        self.upsample = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.predictor = nn.Conv2d(channels, num_classes, 1)
        for layer in (self.upsample, self.predictor):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    @staticmethod
    def _block(channels: int, norm: type[nn.Module]) -> nn.Sequential:
        conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.xavier_uniform_(conv.weight)
        return nn.Sequential(conv, norm(channels), nn.ReLU(inplace=True))

    def forward(self, features: Tensor, queries: Tensor) -> Tensor:
        x = self.convs(self.interaction(features, queries))
        return self.predictor(self.upsample(x).relu()).float()


def group_norm(channels: int) -> nn.GroupNorm:
    """32 groups, fewer where the width asks for it."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


def linear_norm_relu(channels: int) -> nn.Sequential:
    """Linear without bias, LayerNorm, ReLU: [...,C] -> [...,C]."""
    linear = nn.Linear(channels, channels, bias=False)
    nn.init.xavier_uniform_(linear.weight)
    return nn.Sequential(linear, nn.LayerNorm(channels), nn.ReLU(inplace=True))
