"""K-Net's head for instances (Zhang et al., NeurIPS 2021): kernels whose masks are updated three times."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.detections import DetectionRule
from reprolib.models.feature_pyramid import enlarge
from reprolib.models.input_transform import Batch
from reprolib.models.mask_resize import STRIDE, masks_in_batch
from reprolib.models.queries.query_inference import query_detections
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.knet.knet_feature import KernelHead, LocalisationPyramid
from reprolib.models.systems.knet.knet_losses import class_loss, mask_losses, match, semantic_loss
from reprolib.models.systems.knet.knet_stage import KernelUpdate

STAGES = 3


class Predictions(NamedTuple):
    """Masks of the first kernels and of every update, classes of the updates; in inference of the last update."""

    classes: list[Tensor]  # [B,Q,K] logits
    masks: list[Tensor]  # [B,Q,h,w] logits of stride 4
    semantic: Tensor  # [B,K,h/2,w/2] logits of stride 8


@torch.no_grad()
def soft_masks(masks: Tensor, inside: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """masks [G,H,W] of an image -> [G,*size] in 0..1 at stride 4 of the batch, inside of which it has (height, width).

    Exactly at a fourth of its size, as masks are enlarged fourfold in inference, whatever the image's sides are.
    """
    whole = masks_in_batch(masks, inside, tuple(STRIDE * side for side in size))
    soft = torch.zeros((len(masks), *size), device=masks.device)
    for out, mask in zip(soft, whole, strict=True):  # mask by mask: float masks need four times the memory
        out.copy_(F.interpolate(mask[None, None].float(), size=size, mode="bilinear", align_corners=False)[0, 0])
    return soft


class KNetHead(nn.Module):
    """The pyramid -> instances, see `OneStageHead`. queries: number of kernels.

    match_on: by which predictions kernels get their instances, those of the update `before` or the `current` one's.
    """

    def __init__(
        self, channels: int, *, num_classes: int, queries: int, rule: DetectionRule, match_on: str = "before"
    ) -> None:
        super().__init__()
        check_choice("match_on", match_on, ("before", "current"))
        self.rule, self.match_on = rule, match_on
        self.localisation = LocalisationPyramid(channels)
        self.first = KernelHead(channels, num_classes=num_classes, queries=queries)
        self.updates = nn.ModuleList(KernelUpdate(channels, num_classes=num_classes) for _ in range(STAGES))

    def forward(self, features: list[Tensor]) -> Predictions:
        feature, kernels, masks, semantic = self.first(*self.localisation(features))
        found_classes, found_masks = [], [masks]
        for update in self.updates:
            kernels, classes, masks = update(feature, kernels, masks)
            found_classes.append(classes)
            found_masks.append(masks)
        if not self.training:
            found_classes, found_masks = found_classes[-1:], found_masks[-1:]
        size = tuple(2 * side for side in semantic.shape[-2:])
        return Predictions(found_classes, [enlarge(masks, size=size) for masks in found_masks], semantic)

    def losses(self, predictions: Predictions, batch: Batch, targets: list[dict]) -> dict[str, Tensor]:
        """Summed over the first masks and the updates: loss_class, loss_mask, loss_dice; and loss_semantic."""
        labels, masks = [target["labels"] for target in targets], predictions.masks
        size = tuple(masks[0].shape[-2:])
        instance_masks = [
            soft_masks(target["masks"], inside, size) for target, inside in zip(targets, batch.image_sizes, strict=True)
        ]
        sums: dict[str, Tensor] = {}
        for step, mask_logits in enumerate(masks):
            # The first masks and the first update have no classes before them.
            source = step if self.match_on == "current" else max(0, step - 1)
            logits = predictions.classes[source - 1] if source else [None] * len(targets)
            matched = [match(*image) for image in zip(masks[source], instance_masks, logits, labels, strict=True)]
            losses = mask_losses(list(mask_logits), matched, instance_masks)
            if step:
                losses["loss_class"] = class_loss(predictions.classes[step - 1], matched, labels)
            sums |= {name: sums.get(name, 0) + loss for name, loss in losses.items()}
        touched = [image_masks > 0 for image_masks in instance_masks]
        return sums | {"loss_semantic": semantic_loss(enlarge(predictions.semantic, size=size), touched, labels)}

    def detections(self, predictions: Predictions, batch: Batch) -> list[dict[str, Tensor]]:
        """Boxes [N,4] px around the masks, labels [N], scores [N] of the class, masks bool [N,H,W] of each image."""
        return [
            query_detections(
                classes.sigmoid(), masks.sigmoid(), rule=self.rule, image_size=inside, original_size=original
            )
            for classes, masks, inside, original in zip(
                predictions.classes[-1], predictions.masks[-1], batch.image_sizes, batch.original_sizes, strict=True
            )
        ]

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Every learned layer once; the masks of all kernels are among them, however many are detections."""
        self(features)
