"""The mask branch of the RoI heads: features of a box, mask logits, their loss, probabilities of detections."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.models.dialects import find_dialect
from reprolib.models.input_transform import conv_layout, scale_boxes
from reprolib.models.losses import mean_binary_cross_entropy
from reprolib.models.two_stage.box_head import of_class
from reprolib.models.two_stage.mask_head import MaskHead
from reprolib.models.two_stage.mask_targets import cut_masks
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Scale


class MaskBranch(nn.Module):
    """Mask R-CNN's branch.

    pooler: (P2.., boxes per image) -> [R,C,m,m]. head: [R,C,m,m] -> logits [R,K,o,o], one more channel with
    background_channels; the targets follow its o. aligned, binary_targets: see `cut_masks`.
    """

    def __init__(
        self,
        *,
        pooler: nn.Module,
        head: nn.Module,
        background_channels: bool = False,
        aligned: bool = True,
        binary_targets: bool = True,
    ) -> None:
        super().__init__()
        self.pooler, self.head = pooler, head
        self.background_channels = background_channels
        self.aligned, self.binary_targets = aligned, binary_targets

    def roi_features(self, features: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """-> [R,C,m,m] of all images' boxes, laid out for convolutions."""
        return conv_layout(self.pooler(features, boxes))

    def losses(self, features: list[Tensor], positives: Samples, targets: list[dict]) -> dict[str, Tensor]:
        """loss_mask: mean binary cross-entropy of each positive box's mask of its class."""
        logits = self.head(self.roi_features(features, positives.boxes)).float()
        return {"loss_mask": self.loss(logits, positives, targets)}

    def loss(self, logits: Tensor, positives: Samples, targets: list[dict]) -> Tensor:
        """The loss of mask logits [R,K or 1+K,o,o] of the positives."""
        masks = self.mask_targets(positives, targets, size=logits.shape[-1])
        return mask_loss(logits, positives, masks, background_channels=self.background_channels)

    def mask_targets(self, positives: Samples, targets: list[dict], *, size: int) -> Tensor:
        """What each positive box sees of its instance: [R,size,size]."""
        return mask_targets(positives, targets, size=size, aligned=self.aligned, binary=self.binary_targets)

    def inference(self, features: list[Tensor], detections: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        """The detections (boxes [N,4], labels [N]) with `masks` [N,o,o], probabilities of their class."""
        labels = torch.cat([image["labels"] for image in detections])
        if not len(labels):
            return attach_masks(detections, detections[0]["boxes"].new_zeros((0, 1, 1)))
        roi_features = self.roi_features(features, [image["boxes"] for image in detections])
        return attach_masks(detections, self.masks(roi_features, labels))

    def masks(self, roi_features: Tensor, labels: Tensor) -> Tensor:
        """RoI features [R,C,m,m], labels [R] in 1..K -> probabilities [R,o,o]."""
        logits = self.head(roi_features).float()
        return of_class(logits, labels, background_channels=self.background_channels).sigmoid()

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Run the learned parts on placeholder RoI features."""
        self.head(self.pooler.placeholder(features, detections))


def mask_targets(positives: Samples, targets: list[dict], *, size: int, aligned: bool, binary: bool) -> Tensor:
    """What each positive box sees of its instance: [R,size,size], from masks of the original size."""
    cut = [
        cut_masks(
            target["masks"],
            scale_boxes(boxes, *target["to_original"]),
            matched,
            size=size,
            aligned=aligned,
            binary=binary,
        )
        for boxes, matched, target in zip(positives.boxes, positives.matched, targets, strict=True)
    ]
    return torch.cat(cut)


def mask_loss(logits: Tensor, positives: Samples, masks: Tensor, *, background_channels: bool) -> Tensor:
    """Mean binary cross-entropy of logits [R,K or 1+K,o,o] at each box's class, masks [R,o,o]; 0 without boxes."""
    logits = of_class(logits, torch.cat(positives.labels), background_channels=background_channels)
    return mean_binary_cross_entropy(logits, masks)


def attach_masks(detections: list[dict[str, Tensor]], masks: Tensor) -> list[dict[str, Tensor]]:
    """Give each image's detections their share of `masks` [sum of N,o,o]."""
    parts = masks.split([len(image["boxes"]) for image in detections])
    return [image | {"masks": part} for image, part in zip(detections, parts, strict=True)]


def plain_mask_branch(
    *,
    num_classes: int,
    scale: Scale,
    dialect: str,
    head: nn.Module | None = None,
    pooler: nn.Module | None = None,
    resolution: int = 14,
    background_channels: bool = False,
) -> MaskBranch:
    """Mask R-CNN's branch, or with another head or pooler in its place.

    background_channels: an unused channel for the background; always so in the torchvision dialect.
    """
    bundle = find_dialect(dialect)
    background_channels = background_channels or bundle.background_channels
    return MaskBranch(
        pooler=pooler or roi_pooler(resolution, dialect=dialect),
        head=head or MaskHead(scale.channels, outputs=num_classes + background_channels),
        background_channels=background_channels,
        aligned=bundle.roi_aligned,
        binary_targets=bundle.binary_mask_targets,
    )
