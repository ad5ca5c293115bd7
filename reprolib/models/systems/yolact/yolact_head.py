"""The head of YOLACT (Bolya et al., ICCV 2019): prototypes of masks, and their coefficients for each anchor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from reprolib.models.detections import DetectionRule, class_nms
from reprolib.models.feature_pyramid import xavier_conv
from reprolib.models.input_transform import Batch, scale_boxes
from reprolib.models.mask_resize import rescale_masks
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.yolact.fast_nms import Kept, fast_nms
from reprolib.models.systems.yolact.yolact_anchors import RATIOS, make_anchors, match
from reprolib.models.systems.yolact.yolact_losses import (
    BOX_WEIGHT,
    MASK_WEIGHT,
    SEMANTIC_WEIGHT,
    class_loss,
    inside_boxes,
    mask_loss,
    semantic_loss,
    to_mask_pixels,
)
from reprolib.models.two_stage.box_coder import BoxCoder

PROTOTYPES = 32
CODER = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))  # 1 / variance: 0.1 of centres, 0.2 of sizes


class Predictions(NamedTuple):
    """What the learned layers give for a batch. A: anchors of all levels, joined."""

    logits: Tensor  # [B,A,1+K], background first
    deltas: Tensor  # [B,A,4]
    coefficients: Tensor  # [B,A,32] in -1..1
    prototypes: Tensor  # [B,32,h,w], at twice P3's size
    semantic: Tensor | None  # [B,K,h,w] logits of P3's size; in training only
    map_sizes: list[tuple[int, int]]  # (height, width) of P3..P7


class PrototypeNet(nn.Sequential):
    """P3 [B,C,h,w] -> prototypes [B,32,2h,2w], none negative."""

    def __init__(self, channels: int) -> None:
        hidden = [layer for _ in range(3) for layer in (_conv(channels), nn.ReLU(inplace=True))]
        super().__init__(
            *hidden,
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            _conv(channels),
            nn.ReLU(inplace=True),
            xavier_conv(channels, PROTOTYPES, kernel_size=1),
            nn.ReLU(inplace=True),
        )


class AnchorBranches(nn.Module):
    """A level's map [B,C,h,w] -> logits [B,3hw,1+K], deltas [B,3hw,4], coefficients [B,3hw,32]."""

    def __init__(self, channels: int, *, num_classes: int) -> None:
        super().__init__()
        self.shared = _conv(channels)
        self.outputs = nn.ModuleList(_conv(channels, len(RATIOS) * each) for each in (1 + num_classes, 4, PROTOTYPES))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.shared(x).relu()
        per_cell = [output(x).permute(0, 2, 3, 1) for output in self.outputs]
        logits, deltas, coefficients = (
            maps.reshape(len(maps), -1, maps.shape[-1] // len(RATIOS)).float() for maps in per_cell
        )
        return logits, deltas, coefficients.tanh()


class YOLACTHead(nn.Module):
    """[P3..P7] -> instances, see `OneStageHead`.

    scales: px of each level's anchors. as_published: the form of the published code in what differs from
    MMDetection's: square anchors, no background learnt in images without positives, masks beyond 100 stood for,
    no score threshold but that of an anchor's best class. nms: `fast` or `standard`.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_classes: int,
        scales: Sequence[float],
        rule: DetectionRule,
        as_published: bool,
        nms: str = "fast",
    ) -> None:
        super().__init__()
        check_choice("nms", nms, ("fast", "standard"))
        self.scales, self.rule, self.as_published, self.nms = tuple(scales), rule, as_published, nms
        self.prototypes = PrototypeNet(channels)
        self.branches = AnchorBranches(channels, num_classes=num_classes)
        self.semantic = xavier_conv(channels, num_classes, kernel_size=1)

    def forward(self, features: list[Tensor]) -> Predictions:
        levels = [self.branches(level) for level in features]
        logits, deltas, coefficients = (torch.cat(parts, dim=1) for parts in zip(*levels, strict=True))
        return Predictions(
            logits,
            deltas,
            coefficients,
            self.prototypes(features[0]),
            self.semantic(features[0]).float() if self.training else None,
            [tuple(level.shape[-2:]) for level in features],
        )

    def losses(self, predictions: Predictions, batch: Batch, targets: list[dict]) -> dict[str, Tensor]:
        """loss_class, loss_box and loss_mask per positive anchor of the batch, loss_semantic per image."""
        anchors, size = self._anchors(predictions, batch), tuple(batch.tensors.shape[-2:])
        classes, boxes, masks, semantic, positives = [], [], [], [], 0
        for index, target in enumerate(targets):
            instance, label = match(anchors, target["boxes"], target["labels"])
            rows = torch.where(label > 0)[0]
            instance, positives = instance[rows], positives + len(rows)
            classes.append(class_loss(predictions.logits[index], label, without_positives=not self.as_published))
            target_deltas = CODER.encode(target["boxes"][instance], anchors[rows])
            boxes.append(F.smooth_l1_loss(predictions.deltas[index, rows], target_deltas, reduction="sum"))
            masks.append(
                mask_loss(
                    predictions.prototypes[index],
                    predictions.coefficients[index, rows],
                    instance,
                    target,
                    size=size,
                    rescale=self.as_published,
                )
            )
            semantic.append(semantic_loss(predictions.semantic[index], target))
        each = 1 / max(1, positives)
        return {
            "loss_class": each * sum(classes),
            "loss_box": BOX_WEIGHT * each * sum(boxes),
            "loss_mask": MASK_WEIGHT * each * sum(masks),
            "loss_semantic": SEMANTIC_WEIGHT * sum(semantic) / len(targets),
        }

    def detections(self, predictions: Predictions, batch: Batch) -> list[dict[str, Tensor]]:
        """Boxes [N,4] px, labels [N], scores [N], masks bool [N,H,W] of each image."""
        anchors, size = self._anchors(predictions, batch), tuple(batch.tensors.shape[-2:])
        results = []
        for index, original in enumerate(batch.original_sizes):
            scores = predictions.logits[index].softmax(1)[:, 1:]
            rows = torch.where(scores.amax(1) > self.rule.score_threshold)[0]
            boxes = CODER.decode(predictions.deltas[index, rows], anchors[rows])
            boxes = clip_boxes_to_image(boxes, batch.image_sizes[index])
            some = (boxes[:, 2:] - boxes[:, :2] >= 1e-2).all(1)
            rows, boxes = rows[some], boxes[some]
            kept = self._kept(boxes, scores[rows])
            boxes, rows = boxes[kept.rows], rows[kept.rows]
            prototypes = predictions.prototypes[index].float()
            masks = (predictions.coefficients[index, rows] @ prototypes.flatten(1)).float().sigmoid_()
            masks = masks.unflatten(1, prototypes.shape[1:])
            masks = masks * inside_boxes(to_mask_pixels(boxes, size, masks), masks)
            results.append(
                {
                    "boxes": scale_boxes(boxes, *batch.to_original(index)),
                    "labels": kept.labels,
                    "scores": kept.scores,
                    "masks": rescale_masks(masks, original),
                }
            )
        return results

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Every layer of inference once, and the masks of so many detections."""
        predictions = self(features)
        predictions.coefficients[0, :1].expand(detections, -1) @ predictions.prototypes[0].flatten(1)

    def _kept(self, boxes: Tensor, scores: Tensor) -> Kept:
        if self.nms == "fast":
            kept = fast_nms(boxes, scores, threshold=self.rule.nms_threshold)
            if not self.as_published:
                kept = Kept(*(part[kept.scores > self.rule.score_threshold] for part in kept))
        else:
            rows, label = torch.where(scores > self.rule.score_threshold)
            best = class_nms(boxes[rows], scores[rows, label], label, self.rule.nms_threshold)
            kept = Kept(rows[best], label[best] + 1, scores[rows[best], label[best]])
        return Kept(*(part[: self.rule.detections] for part in kept))

    def _anchors(self, predictions: Predictions, batch: Batch) -> Tensor:
        return make_anchors(
            predictions.map_sizes,
            self.scales,
            size=tuple(batch.tensors.shape[-2:]),
            squares=self.as_published,
            device=batch.tensors.device,
        )


def _conv(channels: int, out_channels: int | None = None) -> nn.Conv2d:
    return xavier_conv(channels, out_channels or channels, kernel_size=3)
