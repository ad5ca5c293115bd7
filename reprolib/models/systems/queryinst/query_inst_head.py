"""QueryInst's head (Fang et al., ICCV 2021): six stages of queries with boxes, masks from the same queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_convert, clip_boxes_to_image

from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import Batch, scale_boxes
from reprolib.models.queries.assignment import Matched
from reprolib.models.queries.query_inference import best_pairs
from reprolib.models.queries.query_stage import POOLED, QueryMaskHead, QueryStage
from reprolib.models.systems.queryinst.query_inst_losses import mask_loss, match, stage_losses, unit_of
from reprolib.models.two_stage.mask_targets import cut_masks
from reprolib.models.two_stage.paste import paste_masks
from reprolib.models.two_stage.roi_pooler import RoIPooler

STAGES = 6
STRIDE = 4  # px per pixel of the finest map
FINEST_SCALE = 56 / 32  # of the smallest anchor: boxes of less than twice this read the finest map, 112 px published

Pool = Callable[[RoIPooler, Tensor], Tensor]  # (pooler, boxes [B,Q,4]) -> [B*Q,C,m,m]


class Predictions(NamedTuple):
    """Of every stage; masks in inference alone, of the last one. In training they are made for matched queries."""

    logits: list[Tensor]  # [B,Q,K]
    boxes: list[Tensor]  # [B,Q,4] xyxy px, not clipped
    attended: list[Tensor]  # [B,Q,C]
    features: list[Tensor]  # the pyramid
    masks: Tensor | None  # [B,Q,K,28,28] logits


class QueryInstHead(nn.Module):
    """[P2..] -> instances, see `OneStageHead`. queries: their number. norm: of the mask heads, see `QueryMaskHead`.
    smallest: px of the smallest anchors, by which thin profiles say how large objects are.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_classes: int,
        queries: int,
        rule: DetectionRule,
        norm: type[nn.Module],
        smallest: float = 32.0,
    ) -> None:
        super().__init__()
        self.rule = rule
        self.boxes = nn.Parameter(torch.tensor([0.5, 0.5, 1.0, 1.0]).repeat(queries, 1))
        self.queries = nn.Parameter(torch.randn(queries, channels))
        self.stages = nn.ModuleList(QueryStage(channels, num_classes=num_classes) for _ in range(STAGES))
        self.mask_heads = nn.ModuleList(
            QueryMaskHead(channels, num_classes=num_classes, norm=norm) for _ in range(STAGES)
        )
        self.coder = BoxCoder((2.0, 2.0, 1.0, 1.0))
        self.box_pooler, self.mask_pooler = (
            RoIPooler(resolution=side, sampling=2, aligned=True, finest_scale=FINEST_SCALE * smallest)
            for side in (POOLED, 2 * POOLED)
        )

    def forward(
        self, features: list[Tensor], image_sizes: list[tuple[int, int]] | None = None, *, pool: Pool | None = None
    ) -> Predictions:
        """The first boxes are whole images, without padding; gradients reach them from the first stage alone.

        image_sizes: (height, width) px of each in the batch, by default the whole batch. pool: what is read of boxes in
        place of what the pooler finds, see `dry_run`.
        """
        pool = pool or (lambda pooler, boxes: pooler(features, list(boxes.detach())))
        batch, whole = len(features[0]), tuple(STRIDE * side for side in features[0].shape[-2:])
        first = box_convert(self.boxes.float(), "cxcywh", "xyxy")
        boxes = torch.stack([first * unit_of(first, size) for size in image_sizes or [whole] * batch])
        queries, stages = self.queries.repeat(batch, 1, 1), []
        for stage in self.stages:
            attended = stage.attend(queries)
            queries, logits, deltas = stage(attended, pool(self.box_pooler, boxes))
            moved = self.coder.decode_single(deltas.flatten(0, 1), boxes.flatten(0, 1)).view_as(boxes)
            stages.append((logits, moved, attended))
            boxes = moved.detach()
        masks = None
        if not self.training:
            masks = self.mask_heads[-1](pool(self.mask_pooler, boxes), attended.flatten(0, 1))
            masks = masks.unflatten(0, (batch, -1))
        logits, moved, attended = (list(parts) for parts in zip(*stages, strict=True))
        return Predictions(logits, moved, attended, features, masks)

    def losses(self, predictions: Predictions, batch: Batch, targets: list[dict]) -> dict[str, Tensor]:
        """Summed over the stages: loss_class, loss_box, loss_giou and loss_mask, each per instance of the batch."""
        sums: dict[str, Tensor] = {}
        for stage, (logits, boxes) in enumerate(zip(predictions.logits, predictions.boxes, strict=True)):
            matched = [
                match(*outputs, target, size)
                for *outputs, target, size in zip(logits, boxes.detach(), targets, batch.image_sizes, strict=True)
            ]
            losses = stage_losses(logits, boxes, matched, targets, batch.image_sizes)
            losses["loss_mask"] = self._mask_loss(stage, predictions, matched, targets)
            sums = {name: sums.get(name, 0) + loss for name, loss in losses.items()}
        # Levels that no box has read get zeros for gradients: processes that train together wait for all of them.
        sums["loss_box"] = sums["loss_box"] + sum(level.flatten()[:0].sum() for level in predictions.features)
        return sums

    def _mask_loss(self, stage: int, predictions: Predictions, matched: list[Matched], targets: list[dict]) -> Tensor:
        """Masks in the stage's own moved boxes, learnt by the queries that have an instance."""
        head = self.mask_heads[stage]
        if not sum(len(pairs.queries) for pairs in matched):
            return 0 * sum(parameter.sum() for parameter in head.parameters())  # layer norm fails without rows
        boxes, queries, labels, masks = [], [], [], []
        for index, (pairs, target) in enumerate(zip(matched, targets, strict=True)):
            boxes.append(predictions.boxes[stage][index, pairs.queries].detach())
            queries.append(predictions.attended[stage][index, pairs.queries])
            labels.append(target["labels"][pairs.instances])
            original = scale_boxes(boxes[-1], *target["to_original"])
            masks.append(
                cut_masks(target["masks"], original, pairs.instances, size=4 * POOLED, aligned=True, binary=True)
            )
        label = torch.cat(labels)
        logits = head(self.mask_pooler(predictions.features, boxes), torch.cat(queries))
        rows = torch.arange(len(label), device=label.device)
        return mask_loss(logits[rows, label - 1], torch.cat(masks))

    def detections(self, predictions: Predictions, batch: Batch) -> list[dict[str, Tensor]]:
        """Boxes [N,4] px, labels [N], scores [N] of the class, masks bool [N,H,W] of each image; no NMS.

        Queries whose box lies outside the image are left out.
        """
        results = []
        for index, (size, original) in enumerate(zip(batch.image_sizes, batch.original_sizes, strict=True)):
            boxes = predictions.boxes[-1][index]
            clipped = clip_boxes_to_image(boxes, size)
            inside = torch.where((clipped[:, 2:] - clipped[:, :2] >= 1e-2).all(1))[0]
            scores = predictions.logits[-1][index, inside].sigmoid()
            queries, labels, scores = best_pairs(scores, self.rule.detections)
            kept = scores > self.rule.score_threshold
            queries, labels, scores = inside[queries[kept]], labels[kept], scores[kept]
            # A mask lies in the box as it was pooled, which may reach beyond the image.
            whole, seen = (scale_boxes(corners[queries], *batch.to_original(index)) for corners in (boxes, clipped))
            masks = paste_masks(predictions.masks[index, queries, labels - 1].sigmoid(), whole, original)
            results.append({"boxes": seen, "labels": labels, "scores": scores, "masks": masks})
        return results

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Every layer of inference once; the masks of all queries are among them, however many are detections."""
        self(features, pool=lambda pooler, boxes: pooler.placeholder(features, boxes.shape[:2].numel()))
