"""The mask branch of Boundary-preserving Mask R-CNN (Cheng et al., ECCV 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.models.dialects import find_dialect
from reprolib.models.input_transform import conv_layout
from reprolib.models.losses import dice_loss, mean_binary_cross_entropy, mean_loss
from reprolib.models.systems.bmask_rcnn.boundary_preserving_head import BoundaryPreservingHead, inner_boundary
from reprolib.models.two_stage.box_head import of_class
from reprolib.models.two_stage.mask_branch import MaskBranch, attach_masks, mask_loss
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Scale

FINEST = (4,)  # the stride of P2, which boundaries are read from whatever the box's size


class BoundaryPreservingBranch(MaskBranch):
    """A `MaskBranch` whose head also reads each box from P2 at twice the resolution and draws its boundary.

    boundary_pooler: (P2, boxes per image) -> [R,C,2m,2m]. Other parameters: see `MaskBranch`.
    """

    def __init__(
        self, *, pooler: nn.Module, boundary_pooler: nn.Module, head: BoundaryPreservingHead, **branch
    ) -> None:
        super().__init__(pooler=pooler, head=head, **branch)
        self.boundary_pooler = boundary_pooler

    def losses(self, features: list[Tensor], positives: Samples, targets: list[dict]) -> dict[str, Tensor]:
        """loss_mask; loss_boundary, mean binary cross-entropy; loss_boundary_dice, the mean of the boxes'."""
        logits, boundary = self.head(*self._both(features, positives.boxes))
        logits, boundary = logits.float(), boundary.float()
        if not len(logits):
            return {
                "loss_mask": logits.sum() * 0,
                "loss_boundary": boundary.sum() * 0,
                "loss_boundary_dice": boundary.sum() * 0,
            }
        masks = self.mask_targets(positives, targets, size=logits.shape[-1])
        edges = inner_boundary((masks >= 0.5).to(masks))
        drawn = of_class(boundary, torch.cat(positives.labels), background_channels=self.background_channels)
        return {
            "loss_mask": mask_loss(logits, positives, masks, background_channels=self.background_channels),
            "loss_boundary": mean_binary_cross_entropy(drawn, edges),
            "loss_boundary_dice": mean_loss(dice_loss(drawn.sigmoid(), edges, smooth=1)),
        }

    def inference(self, features: list[Tensor], detections: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        """The detections with `masks` [N,o,o], probabilities of their class; no boundary is drawn."""
        labels = torch.cat([image["labels"] for image in detections])
        if not len(labels):
            return attach_masks(detections, features[0].new_zeros((0, 1, 1)))
        fused, _ = self.head.fuse(*self._both(features, [image["boxes"] for image in detections]))
        logits = self.head.mask_logits(fused).float()
        chosen = of_class(logits, labels, background_channels=self.background_channels)
        return attach_masks(detections, chosen.sigmoid())

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Run what inference runs on placeholder RoI features."""
        poolers = self.pooler, self.boundary_pooler
        fused, _ = self.head.fuse(*(pooler.placeholder(features, detections) for pooler in poolers))
        self.head.mask_logits(fused)

    def _both(self, features: list[Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """-> what the mask branch reads, [R,C,m,m], and the boundary branch, [R,C,2m,2m]."""
        return self.roi_features(features, boxes), conv_layout(self.boundary_pooler(features, boxes))


def boundary_preserving_branch(
    *, num_classes: int, scale: Scale, dialect: str, background_channels: bool = False
) -> BoundaryPreservingBranch:
    """The branch as published: masks from 14x14 of the box's level, boundaries from 28x28 of P2.

    background_channels: an unused channel for the background; always so in the torchvision dialect.
    """
    bundle = find_dialect(dialect)
    background_channels = background_channels or bundle.background_channels
    return BoundaryPreservingBranch(
        pooler=roi_pooler(14, dialect=dialect),
        boundary_pooler=roi_pooler(28, dialect=dialect, strides=FINEST),
        head=BoundaryPreservingHead(scale.channels, outputs=num_classes + background_channels),
        background_channels=background_channels,
        aligned=bundle.roi_aligned,
        binary_targets=bundle.binary_mask_targets,
    )
