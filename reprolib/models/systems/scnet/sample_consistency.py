"""RoI heads of SCNet, the sample consistency network (Vu, Kang and Yoo, AAAI 2021).

In a cascade, masks are trained on every stage's boxes and predicted on the last stage's only. Here one mask head is
trained on what it will be shown, the last stage's samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reprolib.models.detections import DetectionRule, detection_rule
from reprolib.models.dialects import find_dialect
from reprolib.models.input_transform import conv_layout
from reprolib.models.systems.cascade_mask_rcnn.cascade import CascadeHeads, cascade_samplers, cascade_stages
from reprolib.models.systems.scnet.feature_relay import FeatureRelay
from reprolib.models.systems.scnet.global_context_head import GlobalContextHead, per_box
from reprolib.models.two_stage.box_stage import BoxStage
from reprolib.models.two_stage.mask_branch import MaskBranch, attach_masks, plain_mask_branch
from reprolib.models.two_stage.residual_mask_head import ResidualMaskHead
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import RoISampler
from reprolib.models.two_stage.semantic_branch import SemanticBranch
from reprolib.params import Scale


class Context(NamedTuple):
    """What all boxes of a batch share beside the pyramid; None where the branch is off."""

    semantic: Tensor | None  # embedding [B,C,h,w]
    of_image: Tensor | None  # [B,C]


class SampleConsistencyHeads(CascadeHeads):
    """Three box stages, then one mask branch on the boxes of the last.

    semantic: its embedding is added to the features of every box and mask. global_context: so is its vector of the
    image. relay: the last box stage's vectors [R,hidden] -> [R,C,m,m], added to the mask features. Each may be None.
    """

    def __init__(
        self,
        *,
        samplers: Sequence[RoISampler],
        box_pooler: nn.Module,
        box_stages: Sequence[BoxStage],
        mask_branch: MaskBranch,
        rule: DetectionRule,
        semantic: SemanticBranch | None = None,
        global_context: GlobalContextHead | None = None,
        relay: FeatureRelay | None = None,
    ) -> None:
        super().__init__(samplers=samplers, box_pooler=box_pooler, box_stages=box_stages, mask_branches=(), rule=rule)
        self.mask_branch = mask_branch
        self.semantic, self.global_context, self.relay = semantic, global_context, relay

    def prepare(
        self, features: list[Tensor], image_sizes: list[tuple[int, int]], targets: list[dict] | None
    ) -> tuple[Context, dict[str, Tensor]]:
        """The shared context, and loss_semantic and loss_global_context."""
        embedding = of_image = None
        losses = {}
        if self.semantic is not None:
            logits, embedding = self.semantic(features)
            if targets is not None:
                losses["loss_semantic"] = self.semantic.loss(logits, targets, image_sizes)
        if self.global_context is not None:
            logits, of_image = self.global_context(features[-1])
            if targets is not None:
                losses["loss_global_context"] = self.global_context.loss(logits, targets)
        return Context(embedding, of_image), losses

    def box_features(self, features: list[Tensor], context: Context, boxes: list[Tensor]) -> Tensor:
        roi_features = self.box_pooler(features, boxes)
        if context.semantic is not None:
            roi_features = roi_features + self.semantic.box_features(context.semantic, boxes)
        return roi_features if context.of_image is None else roi_features + per_box(context.of_image, boxes)

    def mask_features(
        self, features: list[Tensor], context: Context, boxes: list[Tensor], vectors: Tensor | None
    ) -> Tensor:
        """-> what the mask head reads of each box, [R,C,m,m].

        vectors: what the last box stage's head makes of these boxes, [R,hidden]; not read without a relay.
        """
        roi_features = self.mask_branch.roi_features(features, boxes)
        if context.semantic is not None:
            roi_features = roi_features + self.semantic.mask_features(context.semantic, boxes)
        if context.of_image is not None:
            roi_features = roi_features + per_box(context.of_image, boxes)
        return conv_layout(roi_features if self.relay is None else roi_features + self.relay(vectors))

    def losses(
        self,
        features: list[Tensor],
        context: Context,
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[dict],
    ) -> dict[str, Tensor]:
        """Box losses of every stage; the mask head trains on the positives of the last stage's sampling.

        Its loss weighs as much as those of a cascade's mask heads together: 1.75.
        """
        losses: dict[str, Tensor] = {}
        last = len(self.box_stages) - 1
        for stage in range(last):
            samples = self.samplers[stage](proposals, targets)
            stage_losses, proposals = self.box_losses(features, context, stage, samples, image_sizes, targets)
            losses |= self.weighted(stage_losses, stage)
        samples = self.samplers[last](proposals, targets)
        vectors = self.box_stages[last].head(self.box_features(features, context, samples.boxes))
        logits, deltas = self.box_stages[last].predict(vectors)
        losses |= self.weighted(self.box_stages[last].losses(logits, deltas, samples, targets), last)

        positives, vectors = samples.positives(), vectors[samples.positive_rows()]
        logits = self.mask_branch.head(self.mask_features(features, context, positives.boxes, vectors)).float()
        return losses | {"loss_mask": sum(self.stage_weights) * self.mask_branch.loss(logits, positives, targets)}

    def mask_inference(
        self, features: list[Tensor], context: Context, detections: list[dict[str, Tensor]]
    ) -> list[dict[str, Tensor]]:
        """The detections with `masks` [N,o,o]. The last box stage reads the final boxes again, for the relay."""
        labels = torch.cat([image["labels"] for image in detections])
        if not len(labels):
            return attach_masks(detections, features[0].new_zeros((0, 1, 1)))
        boxes, vectors = [image["boxes"] for image in detections], None
        if self.relay is not None:
            vectors = self.box_stages[-1].head(self.box_features(features, context, boxes))
        return attach_masks(
            detections, self.mask_branch.masks(self.mask_features(features, context, boxes, vectors), labels)
        )

    def dry_run(self, features: list[Tensor], *, proposals: int, detections: int) -> None:
        self.prepare(features, [], None)
        super().dry_run(features, proposals=proposals, detections=detections)
        if self.relay is not None:
            self.relay(self.box_stages[-1].head(self.box_pooler.placeholder(features, detections)))
        self.mask_branch.dry_run(features, detections=detections)


def sample_consistency_heads(
    *,
    num_classes: int,
    scale: Scale,
    dialect: str,
    semantic: SemanticBranch | None = None,
    global_context: GlobalContextHead | None = None,
    relay: bool = True,
) -> SampleConsistencyHeads:
    """The published heads around these branches."""
    parts = {"num_classes": num_classes, "scale": scale, "dialect": dialect}
    head = ResidualMaskHead(scale.channels, outputs=num_classes + find_dialect(dialect).background_channels)
    return SampleConsistencyHeads(
        samplers=cascade_samplers(scale),
        box_pooler=roi_pooler(7, dialect=dialect),
        box_stages=cascade_stages(**parts),
        mask_branch=plain_mask_branch(**parts, head=head),
        rule=detection_rule(scale, own_threshold=0.001),
        semantic=semantic,
        global_context=global_context,
        relay=FeatureRelay(scale.box_hidden, channels=scale.channels) if relay else None,
    )
