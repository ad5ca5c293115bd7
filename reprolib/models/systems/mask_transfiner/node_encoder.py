"""The transformer of Mask Transfiner (Ke et al., CVPR 2022, section 3.2): nodes of a mask's quadtree as tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.models.layers.transformer import AttentionBlock, FeedForwardBlock, perceptron

LAYERS, HEADS, DROPOUT = 3, 4, 0.1
HIDDEN = 8  # width of the feed-forward networks, in widths of the tokens: 2048


class NodeEncoder(nn.Module):
    """Features [R,T,C] and coarse probabilities [R,T] of nodes, positions [R,T,C] -> logits [R,T] that they are inside.

    Nodes of one box see each other. Positions are added to queries and keys of every layer.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.entry = nn.Linear(channels + 1, channels)
        self.attentions = nn.ModuleList([AttentionBlock(channels, dropout=DROPOUT, heads=HEADS) for _ in range(LAYERS)])
        self.feed_forwards = nn.ModuleList(
            [FeedForwardBlock(channels, hidden=HIDDEN * channels, dropout=DROPOUT) for _ in range(LAYERS)]
        )
        self.predictor = perceptron(channels, out_channels=1, layers=2)
        for layer in (self.entry, *self.predictor):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)

    def forward(self, features: Tensor, coarse: Tensor, position: Tensor) -> Tensor:
        x = self.entry(torch.cat([features, coarse[..., None].to(features)], dim=2))
        for attention, feed_forward in zip(self.attentions, self.feed_forwards, strict=True):
            x = feed_forward(attention(x, position=position))
        return self.predictor(x)[..., 0].float()
