"""RoI heads of one stage: sample proposals, classify and refine boxes, predict masks. Parts are handed in."""

from __future__ import annotations

from torch import Tensor, nn

from reprolib.models.detections import DetectionRule, detect, detection_rule
from reprolib.models.two_stage.box_stage import BoxStage, plain_box_stage
from reprolib.models.two_stage.mask_branch import MaskBranch, plain_mask_branch
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import RoISampler, Samples
from reprolib.params import Scale


class RoIHeads(nn.Module):
    """Box and mask branch of Mask R-CNN.

    box_pooler: (P2.., boxes per image) -> RoI features of the box stage. mask_branch: see `MaskBranch`.
    mask_on_predicted_boxes: the mask branch trains on the boxes that the box stage predicts for the positives
    (detached), not on the sampled ones.
    """

    def __init__(
        self,
        *,
        sampler: RoISampler,
        box_pooler: nn.Module,
        box_stage: BoxStage,
        mask_branch: MaskBranch,
        rule: DetectionRule,
        mask_on_predicted_boxes: bool = False,
    ) -> None:
        super().__init__()
        self.sampler, self.rule = sampler, rule
        self.box_pooler, self.box_stage, self.mask_branch = box_pooler, box_stage, mask_branch
        self.mask_on_predicted_boxes = mask_on_predicted_boxes

    def forward(
        self,
        features: list[Tensor],
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[dict],
    ) -> dict[str, Tensor]:
        """The losses of boxes and masks."""
        context, losses = self.prepare(features, image_sizes, targets)
        samples = self.sampler(proposals, targets)
        logits, deltas = self.box_stage(self.box_pooler(features, samples.boxes))
        losses |= self.box_stage.losses(logits, deltas, samples, targets)
        if self.mask_on_predicted_boxes:
            moved = self.box_stage.refine(samples.boxes, deltas, image_sizes, samples.labels)
            samples = samples.with_boxes(moved)
        return losses | self.mask_losses(features, context, samples.positives(), targets)

    def mask_losses(
        self, features: list[Tensor], context: object, positives: Samples, targets: list[dict]
    ) -> dict[str, Tensor]:
        """The mask branch's; a subclass may let it read what `prepare` gave."""
        return self.mask_branch.losses(features, positives, targets)

    def prepare(
        self, features: list[Tensor], image_sizes: list[tuple[int, int]], targets: list[dict] | None
    ) -> tuple[object, dict[str, Tensor]]:
        """What all boxes share beside the pyramid, and its losses: nothing here, see `CascadeHeads`."""
        return None, {}

    def box_inference(
        self, features: list[Tensor], context: object, proposals: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Detections without masks: per image boxes [N,4] in batch pixels, labels [N] and scores [N]."""
        logits, deltas = self.box_stage(self.box_pooler(features, proposals))
        counts = [len(boxes) for boxes in proposals]
        parts = zip(logits.softmax(-1).split(counts), deltas.split(counts), proposals, image_sizes, strict=True)
        return [self._detect(*part) for part in parts]

    def class_scores(self, features: list[Tensor], context: object, boxes: list[Tensor]) -> Tensor:
        """Of boxes [N,4] per image as they are: [sum of N,1+K], background first."""
        return self.box_stage(self.box_pooler(features, boxes))[0].softmax(-1)

    def mask_inference(
        self, features: list[Tensor], context: object, detections: list[dict[str, Tensor]]
    ) -> list[dict[str, Tensor]]:
        """The detections with `masks` [N,o,o], probabilities of their class."""
        return self.mask_branch.inference(features, detections)

    def _detect(self, scores: Tensor, deltas: Tensor, boxes: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        def decode(rows: Tensor, labels: Tensor) -> Tensor:
            return self.box_stage.decode(boxes[rows], deltas[rows], labels)

        return detect(scores, decode, size, self.rule)

    def dry_run(self, features: list[Tensor], *, proposals: int, detections: int) -> None:
        """Run the learned parts on placeholder RoI features."""
        self.box_stage(self.box_pooler.placeholder(features, proposals))
        self.mask_branch.dry_run(features, detections=detections)


def mask_rcnn_heads(
    *,
    num_classes: int,
    scale: Scale,
    dialect: str,
    background_channels: bool = False,
    box_pooler: nn.Module | None = None,
    box_head: nn.Module | None = None,
    mask_branch: MaskBranch | None = None,
    mask_on_predicted_boxes: bool = False,
) -> RoIHeads:
    """The heads of Mask R-CNN as published, or with another pooler, box head or mask branch in its place.

    background_channels: box deltas and masks have an unused channel for the background (SEANet's counting;
    always so in the torchvision dialect). box_head: the pooler's output -> [R,scale.box_hidden].
    """
    return RoIHeads(
        sampler=RoISampler(iou=0.5, batch=scale.roi_batch),
        box_pooler=box_pooler or roi_pooler(7, dialect=dialect),
        box_stage=plain_box_stage(
            num_classes=num_classes,
            scale=scale,
            dialect=dialect,
            head=box_head,
            background_channels=background_channels,
        ),
        mask_branch=mask_branch
        or plain_mask_branch(
            num_classes=num_classes, scale=scale, dialect=dialect, background_channels=background_channels
        ),
        rule=detection_rule(scale),
        mask_on_predicted_boxes=mask_on_predicted_boxes,
    )
