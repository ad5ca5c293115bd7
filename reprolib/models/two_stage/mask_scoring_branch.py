"""The mask branch of Mask Scoring R-CNN: Mask R-CNN's, and a score of its own for every mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.models.dialects import find_dialect
from reprolib.models.input_transform import scale_boxes
from reprolib.models.two_stage.box_head import of_class
from reprolib.models.two_stage.mask_branch import MaskBranch, attach_masks, mask_loss
from reprolib.models.two_stage.mask_head import MaskHead
from reprolib.models.two_stage.mask_iou_head import (
    MaskIoUHead,
    mask_iou_loss,
    mask_iou_targets,
    visible_share,
)
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Scale


class MaskScoringBranch(MaskBranch):
    """A `MaskBranch` with a head that predicts each mask's IoU.

    iou_head: (RoI features [R,C,m,m], mask probabilities [R,o,o]) -> [R,outputs], channels as the mask head's.
    detach: the IoU loss trains the IoU head alone; otherwise also the mask head and the features. clamp: predicted
    IoU are kept in 0..1 before they become scores. Other parameters: see `MaskBranch`.
    """

    def __init__(
        self,
        *,
        pooler: nn.Module,
        head: nn.Module,
        iou_head: nn.Module,
        detach: bool = False,
        clamp: bool = True,
        **branch,
    ) -> None:
        super().__init__(pooler=pooler, head=head, **branch)
        self.iou_head = iou_head
        self.detach, self.clamp = detach, clamp

    def losses(self, features: list[Tensor], positives: Samples, targets: list[dict]) -> dict[str, Tensor]:
        """loss_mask as Mask R-CNN's; loss_mask_iou, of the mask of each positive box's class."""
        roi = self.roi_features(features, positives.boxes)
        logits = self.head(roi).float()
        masks = self.mask_targets(positives, targets, size=logits.shape[-1])
        labels = torch.cat(positives.labels)
        chosen = of_class(logits, labels, background_channels=self.background_channels)
        iou = mask_iou_targets(chosen > 0, masks, visible_shares(positives, targets))
        return {
            "loss_mask": mask_loss(logits, positives, masks, background_channels=self.background_channels),
            "loss_mask_iou": mask_iou_loss(self.mask_iou(roi, chosen.sigmoid(), labels), iou),
        }

    def mask_iou(self, roi: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
        """The expected IoU [R] of masks [R,o,o] (probabilities of the classes `labels`) from RoI features."""
        if self.detach:
            roi, masks = roi.detach(), masks.detach()
        return of_class(self.iou_head(roi, masks).float(), labels, background_channels=self.background_channels)

    def inference(self, features: list[Tensor], detections: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        """The detections with `masks` [N,o,o] and `mask_scores` [N], score times expected IoU; scores stay."""
        labels = torch.cat([image["labels"] for image in detections])
        roi = self.roi_features(features, [image["boxes"] for image in detections])
        logits = self.head(roi).float()
        masks = of_class(logits, labels, background_channels=self.background_channels).sigmoid()
        iou = self.mask_iou(roi, masks, labels)
        return attach_mask_scores(attach_masks(detections, masks), iou.clamp(0, 1) if self.clamp else iou)

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Run both heads on placeholder RoI features."""
        roi = self.pooler.placeholder(features, detections)
        self.iou_head(roi, self.head(roi)[:, 0])


def visible_shares(positives: Samples, targets: list[dict]) -> Tensor:
    """How much of its instance each positive box holds: [R] in 0..1, from masks of the original size."""
    shares = [
        visible_share(target["masks"], scale_boxes(boxes, *target["to_original"]), matched)
        for boxes, matched, target in zip(positives.boxes, positives.matched, targets, strict=True)
    ]
    return torch.cat(shares)


def attach_mask_scores(detections: list[dict[str, Tensor]], iou: Tensor) -> list[dict[str, Tensor]]:
    """Give each image's detections `mask_scores`: their scores times their share of `iou` [sum of N]."""
    parts = iou.split([len(image["boxes"]) for image in detections])
    return [image | {"mask_scores": image["scores"] * part} for image, part in zip(detections, parts, strict=True)]


def mask_scoring_branch(
    *,
    num_classes: int,
    scale: Scale,
    dialect: str,
    head: nn.Module | None = None,
    background_channels: bool = False,
    detach: bool = False,
    clamp: bool = True,
) -> MaskScoringBranch:
    """Mask Scoring R-CNN's branch, or with another mask head in its place: [R,C,14,14] -> logits [R,outputs,28,28].

    background_channels: an unused channel for the background in both heads, as the authors have it; always so in
    the torchvision dialect.
    """
    bundle = find_dialect(dialect)
    background_channels = background_channels or bundle.background_channels
    outputs = num_classes + background_channels
    return MaskScoringBranch(
        pooler=roi_pooler(14, dialect=dialect),
        head=head or MaskHead(scale.channels, outputs=outputs),
        iou_head=MaskIoUHead(scale.channels, hidden=scale.box_hidden, outputs=outputs),
        detach=detach,
        clamp=clamp,
        background_channels=background_channels,
        aligned=bundle.roi_aligned,
        binary_targets=bundle.binary_mask_targets,
    )
