"""Region proposals on one map, with a softmax over background and object (Ren et al., NeurIPS 2015; FCIS)."""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from reprolib.models.two_stage.region_proposals import ExactAnchors, RegionProposals
from reprolib.params import Scale

PROPOSALS = 300
LEAST = 2.0  # px, sides of a proposal
RATIOS = (0.5, 1.0, 2.0)


class SoftmaxRPNHead(nn.Module):
    """[map [B,C,h,w]] -> object logits [[B,A,h,w]] and deltas [[B,4A,h,w]].

    Of the two outputs for background and object the difference is given: its sigmoid is their softmax.
    """

    def __init__(self, in_channels: int, *, hidden: int, anchors: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, hidden, 3, padding=1)
        self.cls_logits = nn.Conv2d(hidden, 2 * anchors, 1)
        self.bbox_pred = nn.Conv2d(hidden, 4 * anchors, 1)
        for layer in (self.conv, self.cls_logits, self.bbox_pred):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        hidden = [self.conv(feature).relu_() for feature in features]
        pairs = [self.cls_logits(level).chunk(2, dim=1) for level in hidden]
        return [thing - background for background, thing in pairs], [self.bbox_pred(level) for level in hidden]


def single_map_proposals(in_channels: int, *, hidden: int, scale: Scale, beta: float) -> RegionProposals:
    """The best 300 of 6000 boxes of one map at stride 16 (fewer in thin profiles), anchors of four sizes and shapes.

    The sizes are the scale's but its smallest: 64, 128, 256 and 512 px.
    """
    sizes = tuple(scale.anchor_sizes[1:])
    head = SoftmaxRPNHead(in_channels, hidden=hidden, anchors=len(sizes) * len(RATIOS))
    scale = dataclasses.replace(
        scale,
        rpn_pre_nms=(3 * scale.rpn_pre_nms[0],) * 2,
        rpn_post_nms=tuple(min(PROPOSALS, count) for count in scale.rpn_post_nms),
    )
    proposals = RegionProposals(anchors=ExactAnchors((sizes,), (RATIOS,)), head=head, scale=scale, beta=beta)
    proposals.min_size = LEAST
    return proposals
