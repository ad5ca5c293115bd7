"""Cascaded RoI heads (Cai and Vasconcelos, CVPR 2018): three stages, each on the boxes that the last one refined.

Two systems share the name Cascade Mask R-CNN. mmdetection's (`CascadeHeads`) draws new samples in every stage and has
a mask branch per stage; detectron2's (`RelabelledCascadeHeads`) keeps the first stage's samples and has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from reprolib.models.detections import DetectionRule, detect, detection_rule
from reprolib.models.on_device import rows_where
from reprolib.models.switch_checks import check_choice
from reprolib.models.two_stage.box_stage import BoxStage, plain_box_stage
from reprolib.models.two_stage.mask_branch import attach_masks, plain_mask_branch
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import RoISampler, Samples
from reprolib.params import Scale

STAGE_IOUS = (0.5, 0.6, 0.7)
STAGE_WEIGHTS = (1.0, 0.5, 0.25)
MM_CODES = ((0.1, 0.2), (0.05, 0.1), (0.033, 0.067))
D2_CODES = ((1 / 10, 1 / 5), (1 / 20, 1 / 10), (1 / 30, 1 / 15))


class CascadeHeads(nn.Module):
    """mmdetection's cascade.

    samplers, box_stages: one per stage; the stages' box regression is shared by all classes. mask_branches: one
    per stage. stage_weights: of each stage's losses, boxes and masks alike.
    A subclass changes what a box's features are (`box_features`), which context all boxes of a batch share
    (`prepare`), how masks are trained (`losses`) or predicted (`mask_inference`).
    """

    def __init__(
        self,
        *,
        samplers: Sequence[RoISampler],
        box_pooler: nn.Module,
        box_stages: Sequence[BoxStage],
        mask_branches: Sequence[nn.Module],
        rule: DetectionRule,
        stage_weights: Sequence[float] = STAGE_WEIGHTS,
    ) -> None:
        super().__init__()
        self.samplers, self.stage_weights, self.rule = tuple(samplers), tuple(stage_weights), rule
        self.box_pooler, self.box_stages = box_pooler, nn.ModuleList(box_stages)
        self.mask_branches = nn.ModuleList(mask_branches)

    def forward(
        self,
        features: list[Tensor],
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[dict],
    ) -> dict[str, Tensor]:
        """The losses, named by stage, 1 to 3."""
        context, losses = self.prepare(features, image_sizes, targets)
        return losses | self.losses(features, context, proposals, image_sizes, targets)

    def prepare(
        self, features: list[Tensor], image_sizes: list[tuple[int, int]], targets: list[dict] | None
    ) -> tuple[object, dict[str, Tensor]]:
        """What all boxes of the batch share beside the pyramid, and its losses (with targets): here nothing."""
        return None, {}

    def box_features(self, features: list[Tensor], context: object, boxes: list[Tensor]) -> Tensor:
        """-> what the box stages read of each box, [R,C,7,7]."""
        return self.box_pooler(features, boxes)

    def losses(
        self,
        features: list[Tensor],
        context: object,
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[dict],
    ) -> dict[str, Tensor]:
        """Each stage's mask branch trains on the positives of that stage's own sampling."""
        losses: dict[str, Tensor] = {}
        for stage, branch in enumerate(self.mask_branches):
            samples = self.samplers[stage](proposals, targets)
            stage_losses, proposals = self.box_losses(features, context, stage, samples, image_sizes, targets)
            stage_losses |= branch.losses(features, samples.positives(), targets)
            losses |= self.weighted(stage_losses, stage)
        return losses

    def box_losses(
        self,
        features: list[Tensor],
        context: object,
        stage: int,
        samples: Samples,
        image_sizes: list[tuple[int, int]],
        targets: list[dict],
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """One stage's box losses, and the sampled boxes refined: the ground truth's own boxes are left out."""
        box_stage = self.box_stages[stage]
        logits, deltas = box_stage(self.box_features(features, context, samples.boxes))
        refined = box_stage.refine(samples.boxes, deltas, image_sizes)
        own = rows_where([~ground_truth for ground_truth in samples.ground_truth])
        refined = [boxes[rows] for boxes, rows in zip(refined, own, strict=True)]
        return box_stage.losses(logits, deltas, samples, targets), refined

    def weighted(self, losses: dict[str, Tensor], stage: int) -> dict[str, Tensor]:
        """The losses of a stage (from 0) under their names in the result, times the stage's weight."""
        return {f"{name}_{stage + 1}": loss * self.stage_weights[stage] for name, loss in losses.items()}

    def box_inference(
        self, features: list[Tensor], context: object, boxes: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Detections without masks: the last stage's boxes, scored by all stages.

        Per image boxes [N,4] in batch pixels, labels [N] and scores [N].
        """
        every_logits = []
        for number, box_stage in enumerate(self.box_stages):
            logits, deltas = box_stage(self.box_features(features, context, boxes))
            every_logits.append(logits)
            if number + 1 < len(self.box_stages):
                boxes = box_stage.refine(boxes, deltas, image_sizes)
        counts = [len(image_boxes) for image_boxes in boxes]
        parts = zip(self.scores(every_logits).split(counts), deltas.split(counts), boxes, image_sizes, strict=True)
        return [self._detect(*part) for part in parts]

    def class_scores(self, features: list[Tensor], context: object, boxes: list[Tensor]) -> Tensor:
        """Of boxes [N,4] per image as they are, by all stages: [sum of N,1+K], background first."""
        roi_features = self.box_features(features, context, boxes)
        return self.scores([box_stage(roi_features)[0] for box_stage in self.box_stages])

    def scores(self, logits: list[Tensor]) -> Tensor:
        """Class scores [R,1+K] of all stages' logits: the softmax of their mean."""
        return torch.stack(logits).mean(0).softmax(-1)

    def _detect(self, scores: Tensor, deltas: Tensor, boxes: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        last = self.box_stages[-1]

        def decode(rows: Tensor, labels: Tensor) -> Tensor:
            return last.decode(boxes[rows], deltas[rows], labels)

        return detect(scores, decode, size, self.rule)

    def mask_inference(
        self, features: list[Tensor], context: object, detections: list[dict[str, Tensor]]
    ) -> list[dict[str, Tensor]]:
        """The detections with `masks` [N,o,o]: the mean of the branches' probabilities."""
        labels = torch.cat([image["labels"] for image in detections])
        if not len(labels):
            return attach_masks(detections, features[0].new_zeros((0, 1, 1)))
        boxes = [image["boxes"] for image in detections]
        rois = self._rois(lambda branch: branch.roi_features(features, boxes))
        every = [branch.masks(roi, labels) for branch, roi in zip(self.mask_branches, rois, strict=True)]
        return attach_masks(detections, torch.stack(every).mean(0))

    def _rois(self, read: Callable[[nn.Module], Tensor]) -> list[Tensor]:
        """What each mask branch reads. Branches may share a pooler, which then reads the boxes once."""
        by_pooler: dict[nn.Module, Tensor] = {}
        for branch in self.mask_branches:
            if branch.pooler not in by_pooler:
                by_pooler[branch.pooler] = read(branch)
        return [by_pooler[branch.pooler] for branch in self.mask_branches]

    def dry_run(self, features: list[Tensor], *, proposals: int, detections: int) -> None:
        """Run the learned parts on placeholder RoI features."""
        for box_stage in self.box_stages:
            box_stage(self.box_pooler.placeholder(features, proposals))
        rois = self._rois(lambda branch: branch.pooler.placeholder(features, detections))
        for branch, roi in zip(self.mask_branches, rois, strict=True):
            branch.head(roi)


class RelabelledCascadeHeads(CascadeHeads):
    """detectron2's cascade: later stages label the boxes of the first sampling anew instead of drawing again.

    One mask branch, trained on the first sampling's positives. Stage losses weigh 1 each; instead the gradient
    into the RoI features is divided by the number of stages. Scores are the mean of the stages' softmaxes.
    """

    def box_features(self, features: list[Tensor], context: object, boxes: list[Tensor]) -> Tensor:
        return ScaleGradient.apply(super().box_features(features, context, boxes), 1 / len(self.box_stages))

    def losses(
        self,
        features: list[Tensor],
        context: object,
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[dict],
    ) -> dict[str, Tensor]:
        first = samples = self.samplers[0](proposals, targets)
        losses: dict[str, Tensor] = {}
        for stage, box_stage in enumerate(self.box_stages):
            logits, deltas = box_stage(self.box_features(features, context, samples.boxes))
            losses |= self.weighted(box_stage.losses(logits, deltas, samples, targets), stage)
            if stage + 1 < len(self.box_stages):
                refined = box_stage.refine(samples.boxes, deltas, image_sizes)
                samples = self.samplers[stage + 1].label(_not_empty(refined), targets).with_positive()
        return losses | self.mask_branches[0].losses(features, first.positives(), targets)

    def scores(self, logits: list[Tensor]) -> Tensor:
        return torch.stack(logits).softmax(-1).mean(0)


class ScaleGradient(torch.autograd.Function):
    """The identity whose gradient is multiplied by a number."""

    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


def _not_empty(boxes: list[Tensor]) -> list[Tensor]:
    rows = rows_where([(image_boxes[:, 2:] > image_boxes[:, :2]).all(1) for image_boxes in boxes])
    return [image_boxes[kept] for image_boxes, kept in zip(boxes, rows, strict=True)]


def cascade_stages(
    *, num_classes: int, scale: Scale, dialect: str, codes: Sequence[tuple[float, float]] = MM_CODES
) -> list[BoxStage]:
    """Three stages that share nothing; one regression for all classes.

    codes: per stage what the box deltas are divided by, for centres and for sides.
    """
    parts = {"num_classes": num_classes, "scale": scale, "dialect": dialect, "class_agnostic": True}
    return [plain_box_stage(**parts, weights=(1 / xy, 1 / xy, 1 / wh, 1 / wh)) for xy, wh in codes]


def cascade_samplers(scale: Scale) -> list[RoISampler]:
    """One sampler per stage at IoU 0.5, 0.6 and 0.7."""
    return [RoISampler(iou=iou, batch=scale.roi_batch) for iou in STAGE_IOUS]


def cascade_heads(
    *, num_classes: int, scale: Scale, dialect: str, programme: str = "mm", background_channels: bool = False
) -> CascadeHeads:
    """Cascade Mask R-CNN's heads by the programme of mmdetection (mm) or detectron2 (d2); see the module's head.

    background_channels: masks have an unused channel for the background (SEANet's counting; always so in the
    torchvision dialect); boxes share one regression anyway.
    Raises ValueError for another programme.
    """
    check_choice("cascade_dialect", programme, ("mm", "d2"))
    parts = {"num_classes": num_classes, "scale": scale, "dialect": dialect}
    masks = parts | {"background_channels": background_channels}
    common = {
        "samplers": cascade_samplers(scale),
        "box_pooler": roi_pooler(7, dialect=dialect),
        "rule": detection_rule(scale),
    }
    if programme == "mm":
        return CascadeHeads(
            **common,
            box_stages=cascade_stages(**parts),
            mask_branches=[plain_mask_branch(**masks) for _ in STAGE_IOUS],
        )
    return RelabelledCascadeHeads(
        **common,
        box_stages=cascade_stages(**parts, codes=D2_CODES),
        mask_branches=[plain_mask_branch(**masks)],
        stage_weights=(1.0, 1.0, 1.0),
    )
