"""Region proposal network (Ren et al., NeurIPS 2015) over a feature pyramid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
from torchvision.ops import clip_boxes_to_image

from reprolib.models.detections import class_nms
from reprolib.models.dialects import find_dialect
from reprolib.models.input_transform import Batch
from reprolib.models.on_device import rows_where
from reprolib.models.parts import POST_PROCESSING, part
from reprolib.models.two_stage.box_coder import BoxCoder
from reprolib.models.two_stage.samples import Matcher, draw, joined_rows
from reprolib.params import Scale


class ExactAnchors(AnchorGenerator):
    """Anchors that keep fractions of a pixel, a stride apart, as in detectron2 and mmdetection.

    torchvision rounds them, and spaces them by image size over map size: 61 px on P6 of an 800 px image, not 64.
    """

    def grid_anchors(self, grid_sizes: list[list[int]], strides: list[list[Tensor]]) -> list[Tensor]:
        """Strides are powers of two; what image over map size gives is one, or less by the map's rounding up."""
        exact = [[2 ** side.log2().round().long() for side in pair] for pair in strides]
        return super().grid_anchors(grid_sizes, exact)

    def generate_anchors(
        self,
        scales: list[int],
        aspect_ratios: list[float],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """[len(aspect_ratios) * len(scales), 4] xyxy around the origin, in pixels."""
        sizes = torch.as_tensor(scales, dtype=dtype, device=device)
        stretch = torch.as_tensor(aspect_ratios, dtype=dtype, device=device).sqrt()
        widths, heights = (sizes / stretch[:, None]).flatten(), (sizes * stretch[:, None]).flatten()
        return torch.stack([-widths, -heights, widths, heights], dim=1) / 2


MATCHED = (0.7, 0.3)  # IoU from which an anchor is positive, and below which it is background
POSITIVE = 0.5  # share of the anchors that are sampled, at most
# (proposals [N,4] per image, with gradients to the deltas; targets) -> losses by name
ProposalLoss = Callable[[list[Tensor], list[dict]], Mapping[str, Tensor]]


class RegionProposals(RegionProposalNetwork):
    """torchvision's RPN with a Smooth L1 of any beta; decodes and encodes only the boxes that are used.

    proposal_loss: a further loss on the proposals themselves. The RoI heads always get them without gradient.
    """

    def __init__(
        self,
        *,
        anchors: AnchorGenerator,
        head: nn.Module,
        scale: Scale,
        beta: float,
        proposal_loss: ProposalLoss | None = None,
    ) -> None:
        counts = [
            dict(zip(("training", "testing"), pair, strict=True)) for pair in (scale.rpn_pre_nms, scale.rpn_post_nms)
        ]
        super().__init__(
            anchors,
            head,
            fg_iou_thresh=MATCHED[0],
            bg_iou_thresh=MATCHED[1],
            batch_size_per_image=scale.rpn_batch,
            positive_fraction=POSITIVE,
            pre_nms_top_n=counts[0],
            post_nms_top_n=counts[1],
            nms_thresh=0.7,
        )
        self.beta, self.proposal_loss, self.sampled = beta, proposal_loss, scale.rpn_batch
        self.box_coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
        self.proposal_matcher = Matcher(*MATCHED, allow_low_quality_matches=True)

    def forward(
        self, batch: Batch, features: list[Tensor], targets: list[dict] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """features: P2..P6. Returns proposals [N,4] xyxy per image in batch pixels, best first, and the
        losses (loss_objectness, loss_rpn_box_reg), none without targets.
        """
        logits, deltas = self.head(features)
        # Anchors get the type of the maps, so float32 ones are passed: under autocast the maps are bfloat16.
        anchors = self.anchor_generator(batch, [feature[:, :1].float() for feature in features])
        per_level = [level[0].numel() for level in logits]
        logits, deltas = concat_box_prediction_layers(logits, deltas)
        count = len(anchors)
        logits, deltas = logits.float().reshape(count, -1), deltas.float().reshape(count, -1, 4)
        with torch.no_grad():
            proposals, kept = self._proposals(logits, deltas, anchors[0], per_level, batch.image_sizes)
        if targets is None:
            return proposals, {}
        losses = self._losses(logits, deltas, anchors, targets)
        if self.proposal_loss is not None:
            parts = zip(deltas, kept, batch.image_sizes, strict=True)
            again = [self._decode(part[rows], anchors[0][rows], size) for part, rows, size in parts]
            losses |= self.proposal_loss(again, targets)
        return proposals, losses

    def _decode(self, deltas: Tensor, anchors: Tensor, size: tuple[int, int]) -> Tensor:
        return clip_boxes_to_image(self.box_coder.decode(deltas, anchors), size)

    @part(POST_PROCESSING)
    def _proposals(
        self,
        logits: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        per_level: list[int],
        image_sizes: list[tuple[int, int]],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Per image boxes [N,4] and the anchors [N] that they come from."""
        top = self._get_top_n_idx(logits, per_level)
        # Each image keeps equally many boxes of a level, one level after the other.
        most = self.pre_nms_top_n()
        levels = torch.cat([top.new_full((min(count, most),), level) for level, count in enumerate(per_level)])
        scores = logits.gather(1, top).sigmoid()
        parts = zip(deltas, top, image_sizes, strict=True)
        decoded = [self._decode(image_deltas[chosen], anchors[chosen], size) for image_deltas, chosen, size in parts]
        large = rows_where([(boxes[:, 2:] - boxes[:, :2] >= self.min_size).all(1) for boxes in decoded])
        proposals, kept = [], []
        for boxes, keep, image_scores, chosen in zip(decoded, large, scores, top, strict=True):
            best = class_nms(boxes[keep], image_scores[keep], levels[keep], self.nms_thresh)
            keep = keep[best[: self.post_nms_top_n()]]
            proposals.append(boxes[keep])
            kept.append(chosen[keep])
        return proposals, kept

    def _losses(self, logits: Tensor, deltas: Tensor, anchors: list[Tensor], targets: list[dict]) -> dict[str, Tensor]:
        labels, matched = self.assign_targets_to_anchors(anchors, targets)
        drawn = draw(labels, batch=self.sampled, positive=POSITIVE)
        sizes = [len(image_labels) for image_labels in labels]
        positive = joined_rows([rows for rows, _ in drawn], sizes)
        sampled = joined_rows([torch.cat(rows).sort().values for rows in drawn], sizes)
        count = max(1, len(sampled))
        target_deltas = self.box_coder.encode(torch.cat(matched)[positive], torch.cat(anchors)[positive])
        box_loss = (
            F.smooth_l1_loss(deltas.flatten(0, 1)[positive], target_deltas, beta=self.beta, reduction="sum") / count
        )
        objectness = F.binary_cross_entropy_with_logits(
            logits.flatten()[sampled], torch.cat(labels)[sampled], reduction="sum"
        )
        return {"loss_objectness": objectness / count, "loss_rpn_box_reg": box_loss}


def region_proposals(
    scale: Scale,
    *,
    dialect: str,
    anchor_sizes: Sequence[float] | None = None,
    head: nn.Module | None = None,
    proposal_loss: ProposalLoss | None = None,
) -> RegionProposals:
    """One anchor size per pyramid level (`scale.anchor_sizes`, in px), ratios 1:2, 1:1, 2:1.

    head: maps -> (logits [B,3,h,w], deltas [B,12,h,w]) per level, by default a 3x3 and two 1x1 convolutions.
    """
    bundle = find_dialect(dialect)
    kind = ExactAnchors if bundle.exact_anchors else AnchorGenerator
    sizes = tuple((size,) for size in anchor_sizes or scale.anchor_sizes)
    anchors = kind(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    head = head or RPNHead(scale.channels, anchors.num_anchors_per_location()[0])
    return RegionProposals(anchors=anchors, head=head, scale=scale, beta=bundle.rpn_beta, proposal_loss=proposal_loss)
