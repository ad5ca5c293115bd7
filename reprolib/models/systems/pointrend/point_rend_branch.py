"""The mask branch of PointRend: a coarse mask, and a point head that is asked where it matters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.models.dialects import find_dialect
from reprolib.models.layers.point_sampling import (
    PointGridPooler,
    in_boxes,
    regular_grid,
    sample_boxes,
    sample_maps,
    sample_pixels,
    subdivide,
    uncertain_points,
)
from reprolib.models.on_device import numbers_like
from reprolib.models.systems.pointrend.point_head import CoarseHead, PointHead
from reprolib.models.two_stage.box_head import of_class
from reprolib.models.two_stage.mask_branch import MaskBranch, attach_masks, mask_loss
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Scale

TRAINING_POINTS = 196  # per box
FIRST_SIDE = 28  # nominally 7 and five steps; but 14 and 28 would be evaluated at every pixel, so the code starts there
STEPS = 3  # to 224
STEP_POINTS = 784  # per box and step


class PointRendBranch(MaskBranch):
    """A `MaskBranch` whose head predicts the coarse mask [R,outputs,m,m], and whose point head refines it.

    pooler: reads P2 alone; its stride places the points too. point_head: (P2 at points [R,C,P], coarse logits there
    [R,outputs,P]) -> logits [R,outputs,P]. Other parameters: see `MaskBranch`.
    """

    def __init__(self, *, pooler: PointGridPooler, head: nn.Module, point_head: nn.Module, **branch) -> None:
        super().__init__(pooler=pooler, head=head, **branch)
        self.point_head = point_head

    def losses(self, features: list[Tensor], positives: Samples, targets: list[dict]) -> dict[str, Tensor]:
        """loss_mask: of the coarse masks. loss_mask_point: mean binary cross-entropy of 196 points per box.

        The points' labels are read from the masks of the original size, so they may lie between 0 and 1. No gradient
        passes through the points' places; it does through the coarse logits that the point head sees.
        """
        coarse = self.head(self.roi_features(features, positives.boxes)).float()
        chosen = of_class(coarse.detach(), torch.cat(positives.labels), background_channels=self.background_channels)
        points = uncertain_points(chosen, TRAINING_POINTS)
        logits = self.point_logits(features, positives.boxes, coarse, points)
        labels_at_points = point_labels(points, positives, targets)
        return {
            "loss_mask": self.loss(coarse, positives, targets),
            "loss_mask_point": mask_loss(
                logits, positives, labels_at_points, background_channels=self.background_channels
            ),
        }

    def point_logits(self, features: list[Tensor], boxes: list[Tensor], coarse: Tensor, points: Tensor) -> Tensor:
        """The point head's logits [R,outputs,P] at points [R,P,2] in units of the boxes; coarse: [R,outputs,m,m]."""
        fine = sample_boxes(features[0], boxes, points, stride=self.pooler.stride)
        return self.point_head(fine, sample_maps(coarse, points)).float()

    def inference(self, features: list[Tensor], detections: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        """The detections with `masks` [N,224,224], probabilities of their class.

        The point head evaluates a regular 28 x 28 grid, then 784 uncertain points at 56, 112 and 224. The coarse mask
        is never up-sampled into the result.
        """
        labels = torch.cat([image["labels"] for image in detections])
        if not len(labels):
            return attach_masks(detections, features[0].new_zeros((0, 1, 1)))
        boxes = [image["boxes"] for image in detections]
        coarse = self.head(self.roi_features(features, boxes)).float()

        def evaluate(points: Tensor) -> Tensor:
            logits = self.point_logits(features, boxes, coarse, points)
            return of_class(logits, labels, background_channels=self.background_channels)

        grid = regular_grid(FIRST_SIDE, device=labels.device).expand(len(labels), -1, -1)
        first = evaluate(grid).unflatten(1, (FIRST_SIDE, FIRST_SIDE))
        return attach_masks(detections, subdivide(evaluate, first, steps=STEPS, points=STEP_POINTS).sigmoid())

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Run the coarse head once and the point head on each step's points."""
        coarse = self.head(self.pooler.placeholder(features, detections))
        fine = features[0].new_zeros((detections, features[0].shape[1], STEP_POINTS))
        for _ in range(1 + STEPS):
            self.point_head(fine, coarse.new_zeros((detections, coarse.shape[1], STEP_POINTS)))


@torch.no_grad()
def point_labels(points: Tensor, positives: Samples, targets: list[dict]) -> Tensor:
    """The ground truth [R,P] in 0..1 at points [R,P,2] in units of the positive boxes."""
    places = in_boxes(points, torch.cat(positives.boxes)).split([len(boxes) for boxes in positives.boxes])
    labels = [
        sample_pixels(target["masks"], matched, place * numbers_like(target["to_original"], place))
        for place, matched, target in zip(places, positives.matched, targets, strict=True)
    ]
    return torch.cat(labels)


def point_rend_branch(
    *, num_classes: int, scale: Scale, dialect: str, background_channels: bool = False
) -> PointRendBranch:
    """PointRend's branch as published: 14 x 14 samples of P2, a 7 x 7 coarse mask.

    background_channels: an unused channel for the background; always so in the torchvision dialect.
    """
    bundle = find_dialect(dialect)
    background_channels = background_channels or bundle.background_channels
    outputs = num_classes + background_channels
    return PointRendBranch(
        pooler=PointGridPooler(resolution=14),
        head=CoarseHead(scale.channels, hidden=scale.box_hidden, outputs=outputs),
        point_head=PointHead(scale.channels, outputs=outputs),
        background_channels=background_channels,
        aligned=bundle.roi_aligned,
        binary_targets=bundle.binary_mask_targets,
    )
