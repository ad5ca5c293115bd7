"""RoI heads of Hybrid Task Cascade (Chen et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reprolib.models.detections import DetectionRule, detection_rule
from reprolib.models.dialects import find_dialect
from reprolib.models.input_transform import conv_layout
from reprolib.models.systems.cascade_mask_rcnn.cascade import STAGE_IOUS, CascadeHeads, cascade_samplers, cascade_stages
from reprolib.models.two_stage.box_head import of_class
from reprolib.models.two_stage.box_stage import BoxStage
from reprolib.models.two_stage.mask_branch import attach_masks, mask_loss, mask_targets
from reprolib.models.two_stage.mask_flow import MaskFlow, MaskInformationFlow
from reprolib.models.two_stage.mask_head import MaskHead
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import RoISampler
from reprolib.models.two_stage.semantic_branch import SemanticBranch
from reprolib.params import Scale


class HybridTaskCascadeHeads(CascadeHeads):
    """A cascade whose stages run box, then mask, and whose mask heads hand their features on.

    mask_pooler: (P2.., boxes per image) -> [R,C,m,m]. mask_flow: the mask heads of all stages and what joins them.
    semantic: a branch whose embedding is added to every box's features, or None. background_channels: the mask heads
    have a channel for the background before those of the classes.
    """

    def __init__(
        self,
        *,
        samplers: Sequence[RoISampler],
        box_pooler: nn.Module,
        box_stages: Sequence[BoxStage],
        mask_pooler: nn.Module,
        mask_flow: MaskFlow,
        rule: DetectionRule,
        semantic: SemanticBranch | None = None,
        background_channels: bool = False,
        aligned: bool = True,
        binary_targets: bool = True,
    ) -> None:
        super().__init__(samplers=samplers, box_pooler=box_pooler, box_stages=box_stages, mask_branches=(), rule=rule)
        self.mask_pooler, self.mask_flow, self.semantic = mask_pooler, mask_flow, semantic
        self.background_channels = background_channels
        self.aligned, self.binary_targets = aligned, binary_targets

    def prepare(
        self, features: list[Tensor], image_sizes: list[tuple[int, int]], targets: list[dict] | None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The semantic embedding [B,C,h,w] and its loss."""
        if self.semantic is None:
            return None, {}
        logits, embedding = self.semantic(features)
        losses = {} if targets is None else {"loss_semantic": self.semantic.loss(logits, targets, image_sizes)}
        return embedding, losses

    def box_features(self, features: list[Tensor], context: Tensor | None, boxes: list[Tensor]) -> Tensor:
        roi_features = self.box_pooler(features, boxes)
        return roi_features if context is None else roi_features + self.semantic.box_features(context, boxes)

    def mask_features(self, features: list[Tensor], context: Tensor | None, boxes: list[Tensor]) -> Tensor:
        """-> what the mask heads read of each box, [R,C,m,m]."""
        roi_features = self.mask_pooler(features, boxes)
        if context is not None:
            roi_features = roi_features + self.semantic.mask_features(context, boxes)
        return conv_layout(roi_features)

    def losses(
        self,
        features: list[Tensor],
        context: Tensor | None,
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[dict],
    ) -> dict[str, Tensor]:
        """Interleaved: a stage's mask head trains on boxes that the stage has refined and sampled anew."""
        losses: dict[str, Tensor] = {}
        for stage, sampler in enumerate(self.samplers):
            samples = sampler(proposals, targets)
            stage_losses, proposals = self.box_losses(features, context, stage, samples, image_sizes, targets)
            positives = sampler(proposals, targets).positives()
            logits = self.mask_flow(self.mask_features(features, context, positives.boxes), stage).float()
            masks = mask_targets(
                positives, targets, size=logits.shape[-1], aligned=self.aligned, binary=self.binary_targets
            )
            stage_losses["loss_mask"] = mask_loss(
                logits, positives, masks, background_channels=self.background_channels
            )
            losses |= self.weighted(stage_losses, stage)
        return losses

    def mask_inference(
        self, features: list[Tensor], context: Tensor | None, detections: list[dict[str, Tensor]]
    ) -> list[dict[str, Tensor]]:
        """The detections with `masks` [N,o,o]: the mean of the stages' probabilities of their class."""
        labels = torch.cat([image["labels"] for image in detections])
        if not len(labels):
            return attach_masks(detections, features[0].new_zeros((0, 1, 1)))
        rois = self.mask_features(features, context, [image["boxes"] for image in detections])
        every = [
            of_class(logits.float(), labels, background_channels=self.background_channels).sigmoid()
            for logits in self.mask_flow.all_logits(rois)
        ]
        return attach_masks(detections, torch.stack(every).mean(0))

    def dry_run(self, features: list[Tensor], *, proposals: int, detections: int) -> None:
        if self.semantic is not None:
            self.semantic(features)
        super().dry_run(features, proposals=proposals, detections=detections)
        self.mask_flow.all_logits(self.mask_pooler.placeholder(features, detections))


def htc_heads(
    *,
    num_classes: int,
    scale: Scale,
    dialect: str,
    mask_flow: MaskFlow | None = None,
    strides: Sequence[int] = (4, 8, 16, 32),
    finest_scale: float | None = None,
    semantic: SemanticBranch | None = None,
    background_channels: bool = False,
    keep_dead_params: bool = False,
) -> HybridTaskCascadeHeads:
    """The published heads. mask_flow: another way from mask head to mask head than a 1x1 convolution and a sum.

    strides, finest_scale: of the pyramid that boxes are read from, see `RoIPooler`.
    background_channels: masks have an unused channel for the background (SEANet's counting; always so in the
    torchvision dialect). keep_dead_params: a convolution in front of the first mask head, which nothing runs.
    """
    bundle = find_dialect(dialect)
    background_channels = background_channels or bundle.background_channels
    poolers = {"dialect": dialect, "strides": strides, "finest_scale": finest_scale}
    if mask_flow is None:
        mask_flow = MaskFlow(
            [MaskHead(scale.channels, outputs=num_classes + background_channels) for _ in STAGE_IOUS],
            [MaskInformationFlow(scale.channels) for _ in STAGE_IOUS[1:]],
        )
        if keep_dead_params:
            mask_flow.unused = MaskInformationFlow(scale.channels)
    return HybridTaskCascadeHeads(
        samplers=cascade_samplers(scale),
        box_pooler=roi_pooler(7, **poolers),
        box_stages=cascade_stages(num_classes=num_classes, scale=scale, dialect=dialect),
        mask_pooler=roi_pooler(14, **poolers),
        mask_flow=mask_flow,
        rule=detection_rule(scale, own_threshold=0.001),
        semantic=semantic,
        background_channels=background_channels,
        aligned=bundle.roi_aligned,
        binary_targets=bundle.binary_mask_targets,
    )
