"""Instances as a set of queries, each with a class and a mask (MaskFormer, Cheng et al., NeurIPS 2021).

A decoder gives several outputs, one after the other; all are trained, the last is used. Class 0 is "no object".
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import Batch
from reprolib.models.queries.assignment import hungarian
from reprolib.models.queries.query_inference import mask_quality, query_detections

NO_OBJECT = 0.1  # weight of queries without an instance in the classification loss


class Predictions(NamedTuple):
    """Of every output, the last in inference. Q: queries."""

    classes: list[Tensor]  # each [B,Q,1+K] logits, no object first
    masks: list[Tensor]  # each [B,Q,h,w] logits of stride 4, float32


class MaskCriterion(Protocol):
    """What a mask costs, weights included. `truth` is its own: what it needs of an image's instances."""

    class_weight: float

    def truth(self, target: dict, batch: Batch, index: int) -> Any:
        """target: as `InputTransform` gives it. index: of the image in the batch."""

    def cost(self, masks: Tensor, truth: Any) -> Tensor:
        """Mask logits [Q,h,w] of one image -> [Q,G]."""

    def losses(self, masks: Tensor, truth: Any, instances: Tensor) -> dict[str, Tensor]:
        """Mask logits [N,h,w] and the instances [N] that they shall be -> losses by name, each summed over N."""


class MaskClassification(nn.Module):
    """The pixel decoder's maps -> instances, see `OneStageHead`. decoder: maps -> `Predictions`."""

    def __init__(self, *, decoder: nn.Module, criterion: MaskCriterion, rule: DetectionRule) -> None:
        super().__init__()
        self.decoder, self.criterion, self.rule = decoder, criterion, rule

    def forward(self, features: list[Tensor]) -> Predictions:
        return self.decoder(features)

    def losses(self, predictions: Predictions, batch: Batch, targets: list[dict]) -> dict[str, Tensor]:
        """Summed over outputs: loss_class per query (weighted), the masks' losses per instance of the batch."""
        labels = [target["labels"] for target in targets]
        truths = [self.criterion.truth(target, batch, index) for index, target in enumerate(targets)]
        query_labels = [
            torch.zeros(logits.shape[:2], dtype=torch.long, device=logits.device) for logits in predictions.classes
        ]
        sums: dict[str, Tensor] = {}
        for index, truth in enumerate(truths):
            outputs = [(classes[index], masks[index]) for classes, masks in zip(*predictions, strict=True)]
            for output, (rows, instances) in enumerate(self._assigned(outputs, labels[index], truth)):
                query_labels[output][index, rows] = labels[index][instances]
                losses = self.criterion.losses(outputs[output][1][rows], truth, instances)
                sums = {name: sums.get(name, 0) + loss for name, loss in losses.items()}
        instances = max(1, sum(len(image_labels) for image_labels in labels))
        classes = sum(map(classification_loss, predictions.classes, query_labels))
        return {"loss_class": self.criterion.class_weight * classes} | {
            name: loss / instances for name, loss in sums.items()
        }

    @torch.no_grad()
    def _assigned(
        self, outputs: list[tuple[Tensor, Tensor]], labels: Tensor, truth: Any
    ) -> list[tuple[Tensor, Tensor]]:
        """One image's (queries, instances) of every output, from the classes [Q,1+K] and masks [Q,h,w] of each."""
        costs = torch.stack(
            [
                self.criterion.cost(masks, truth) - self.criterion.class_weight * classes.float().softmax(1)[:, labels]
                for classes, masks in outputs
            ]
        )
        device = costs.device
        return [
            tuple(part.to(device) for part in hungarian(cost)) for cost in costs.cpu()
        ]  # waits for the device only once

    def detections(self, predictions: Predictions, batch: Batch) -> list[dict[str, Tensor]]:
        """Boxes [N,4] px around the masks, labels [N], scores [N], masks bool [N,H,W] of each image.

        A score is that of the class times the mean probability inside the mask, the latter at stride 4.
        """
        results = []
        for index, inside in enumerate(batch.image_sizes):
            masks = predictions.masks[-1][index]
            results.append(
                query_detections(
                    predictions.classes[-1][index].float().softmax(1)[:, 1:],
                    masks + 0.5,  # interpolated as logits, and compared with 0
                    quality=mask_quality(masks, image_size=inside),
                    rule=self.rule,
                    image_size=inside,
                    original_size=batch.original_sizes[index],
                )
            )
        return results

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Every learned layer once; the masks of all queries are among them, however many are detections."""
        self(features)


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """logits [B,Q,1+K], labels [B,Q] in 0..K, 0 = no object -> mean cross-entropy; "no object" weighs 0.1."""
    weights = torch.ones(logits.shape[-1], device=logits.device)
    weights[0] = NO_OBJECT
    return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), weight=weights)
