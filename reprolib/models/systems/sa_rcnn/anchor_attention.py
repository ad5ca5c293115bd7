"""Location attention on the region proposal network: where objects have their centres, learned with a focal loss.

Assumed for SA R-CNN's anchor attention module (spec section 8); the centre regions are those of guided anchoring
(Wang et al., CVPR 2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import sigmoid_focal_loss

from reprolib.models.input_transform import Batch
from reprolib.models.on_device import numbers_like
from reprolib.models.switch_checks import check_choice
from reprolib.models.two_stage.region_proposals import RegionProposals, region_proposals
from reprolib.params import Scale

PRIOR = 0.01  # attention before training; a higher one would let the many background positions dominate the loss


class AttentiveRPNHead(RPNHead):
    """The RPN's head with its shared map gated by a location attention a in (0,1), one 1x1 for all levels.

    aam_gate: `multiply` (x * a, as the module is described) or `residual` (x + x * a, which keeps anchors alive
    away from the centres). Raises ValueError for another.
    """

    def __init__(self, channels: int, anchors: int, *, aam_gate: str = "multiply") -> None:
        check_choice("aam_gate", aam_gate, ("multiply", "residual"))
        super().__init__(channels, anchors)
        self.offset = 1.0 if aam_gate == "residual" else 0.0
        self.location = nn.Conv2d(channels, 1, 1)
        nn.init.normal_(self.location.weight, std=0.01)
        nn.init.constant_(self.location.bias, -math.log((1 - PRIOR) / PRIOR))

    def locate(self, features: list[Tensor]) -> list[Tensor]:
        """P2..P6 -> logits of the attention [B,1,h,w] per level."""
        return [self.location(feature) for feature in features]

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """P2..P6 -> objectness logits [B,A,h,w] and deltas [B,4A,h,w] per level."""
        shared = [
            self.conv(feature) * (location.sigmoid() + self.offset)
            for feature, location in zip(features, self.locate(features), strict=True)
        ]
        return [self.cls_logits(x) for x in shared], [self.bbox_pred(x) for x in shared]


class AttentiveRegionProposals(RegionProposals):
    """Region proposals whose head attends to locations and learns where they are: one loss more in training."""

    def forward(
        self, batch: Batch, features: list[Tensor], targets: list[dict] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """As `RegionProposals`, with loss_anchor_attention among the losses."""
        proposals, losses = super().forward(batch, features, targets)
        if targets is not None:
            # The 1x1 runs a second time, which costs next to nothing; the head's interface stays the RPN's.
            logits = self.head.locate(features)
            sizes = [size for (size,) in self.anchor_generator.sizes]
            regions = centre_regions(
                [target["boxes"] for target in targets],
                shapes=[level.shape[-2:] for level in logits],
                image_size=batch.tensors.shape[-2:],
                sizes=sizes,
            )
            losses["loss_anchor_attention"] = attention_loss(logits, regions)
        return proposals, losses


def centre_regions(
    boxes: list[Tensor],
    *,
    shapes: Sequence[tuple[int, int]],
    image_size: tuple[int, int],
    sizes: Sequence[float],
    ratio: float = 0.2,
) -> list[Tensor]:
    """Per level [B,1,h,w] of 0 and 1: 1 at the positions that the centre of an object of that level touches.

    boxes: [N,4] xyxy per image in batch pixels; an object's level is the one whose anchor size (of `sizes`, in px)
    is nearest to the square root of its area on a logarithmic scale. Its centre is the box shrunk to `ratio` of
    its sides, which touches at least one position. image_size: (height, width) of the batch in pixels.
    """
    return [
        torch.stack([_level_regions(image_boxes, level, shape, image_size, sizes, ratio) for image_boxes in boxes])
        for level, shape in enumerate(shapes)
    ]


def _level_regions(
    boxes: Tensor,
    level: int,
    shape: tuple[int, int],
    image_size: tuple[int, int],
    sizes: Sequence[float],
    ratio: float,
) -> Tensor:
    boxes = boxes[nearest_level(boxes, sizes) == level]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]) * ratio / 2
    columns, rows = (
        _touched(centre[:, axis], half[:, axis], count=shape[1 - axis], length=image_size[1 - axis]) for axis in (0, 1)
    )
    # The number of regions at each position, as a matrix product over the regions: no [N,h,w] is stored.
    return (rows.transpose(0, 1) @ columns > 0).float()[None]


def _touched(centre: Tensor, half: Tensor, *, count: int, length: int) -> Tensor:
    """[N] intervals in pixels -> [N,count] of 0 and 1 along an axis of `count` positions over `length` pixels."""
    stride = length / count
    first, last = ((edge / stride).floor().clamp(0, count - 1)[:, None] for edge in (centre - half, centre + half))
    position = torch.arange(count, device=centre.device)
    return ((position >= first) & (position <= last)).float()


def nearest_level(boxes: Tensor, sizes: Sequence[float]) -> Tensor:
    """boxes [N,4] xyxy in pixels -> [N] indices of the anchor size nearest to the square root of the area."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3).unbind(1)
    anchor_sizes = numbers_like(sizes, boxes).log2()
    return ((width * height).log2()[:, None] / 2 - anchor_sizes).abs().argmin(1)


def attention_loss(logits: list[Tensor], regions: list[Tensor]) -> Tensor:
    """Focal loss (alpha 0.25, gamma 2) over all positions of all levels, divided by the number of positive ones."""
    flat = torch.cat([level.float().flatten() for level in logits])
    targets = torch.cat([level.flatten() for level in regions])
    return sigmoid_focal_loss(flat, targets, alpha=0.25, gamma=2, reduction="sum") / targets.sum().clamp(min=1)


def attentive_region_proposals(scale: Scale, *, dialect: str, aam_gate: str = "multiply") -> AttentiveRegionProposals:
    """`region_proposals` with the attentive head."""
    plain = region_proposals(scale, dialect=dialect)
    anchors = plain.anchor_generator.num_anchors_per_location()[0]
    head = AttentiveRPNHead(scale.channels, anchors, aam_gate=aam_gate)
    return AttentiveRegionProposals(anchors=plain.anchor_generator, head=head, scale=scale, beta=plain.beta)
