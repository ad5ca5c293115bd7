"""CenterMask's head (Lee, Park, CVPR 2020): boxes by FCOS, masks from RoI features of these boxes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss

from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import Batch, scale_boxes
from reprolib.models.one_stage.fcos_inference import Found, select
from reprolib.models.one_stage.fcos_losses import centreness_loss, class_loss, weighted
from reprolib.models.one_stage.fcos_targets import assign, centreness, from_sides, make_locations, to_sides
from reprolib.models.one_stage.fcos_tower import LEVELS, Tower, class_conv, conv3x3, per_location
from reprolib.models.parts import HEAD, part
from reprolib.models.systems.centermask.area_ratio_pooler import SizedMaps
from reprolib.models.two_stage.mask_branch import MaskBranch
from reprolib.models.two_stage.paste import paste_masks
from reprolib.models.two_stage.samples import RoISampler, Samples


class Predictions(NamedTuple):
    """What the dense layers give for a batch. L: locations of all levels, joined."""

    classes: Tensor  # [B,L,K] logits
    centreness: Tensor  # [B,L] logits
    sides: Tensor  # [B,L,4] px to the left, top, right and bottom of the box
    features: list[Tensor]  # P3..P7


class CenterMaskHead(nn.Module):
    """[P3..P7] -> instances, see `OneStageHead`; its mask branch runs on the boxes that the dense layers give.

    per_level: pairs of location and class that each level may give. mask_branch: reads `SizedMaps`. In training it
    learns from the detections that overlap an instance by half, and from the instances' own boxes.
    """

    def __init__(
        self, channels: int, *, num_classes: int, per_level: int, rule: DetectionRule, mask_branch: MaskBranch
    ) -> None:
        super().__init__()
        self.per_level, self.rule, self.mask_branch = per_level, rule, mask_branch
        self.class_tower, self.box_tower = (Tower(channels, bias=True) for _ in range(2))
        self.classes = class_conv(channels, num_classes=num_classes)
        self.sides, self.centreness = (conv3x3(channels, width) for width in (4, 1))
        self.scales = nn.Parameter(torch.ones(LEVELS))
        self.sampler = RoISampler(iou=0.5, batch=0)  # labels all boxes, draws none

    def forward(self, features: list[Tensor]) -> Predictions:
        found = []
        for level, scale in zip(features, self.scales, strict=True):
            x = self.box_tower(level)
            outputs = self.classes(self.class_tower(level)), self.centreness(x), self.sides(x)
            logits, centre, sides = map(per_location, outputs)
            found.append((logits, centre[..., 0], (scale * sides).exp()))
        return Predictions(*(torch.cat(parts, dim=1) for parts in zip(*found, strict=True)), features)

    def losses(self, predictions: Predictions, batch: Batch, targets: list[dict]) -> dict[str, Tensor]:
        """loss_class, loss_box and loss_centreness of the locations, and the mask branch's of the boxes."""
        locations = self._locations(predictions)
        rows = []
        labels = torch.zeros(predictions.classes.shape[:2], dtype=torch.long, device=batch.tensors.device)
        wanted = []
        for index, target in enumerate(targets):
            boxes = target["boxes"]
            instance = assign(locations, boxes, (boxes[:, :2] + boxes[:, 2:]) / 2)
            rows.append(torch.where(instance >= 0)[0])
            instance = instance[rows[-1]]
            labels[index, rows[-1]] = target["labels"][instance]
            wanted.append(to_sides(locations.points[rows[-1]], boxes[instance]))
        centre, sides = (
            torch.cat([one[index, some] for index, some in enumerate(rows)])
            for one in (predictions.centreness, predictions.sides)
        )
        points, wanted = torch.cat([locations.points[some] for some in rows]), torch.cat(wanted)
        weights = centreness(wanted)
        overlap = generalized_box_iou_loss(from_sides(points, sides), from_sides(points, wanted))
        found = self._select(predictions, batch)
        with part(HEAD):
            samples = self.samples([one.boxes for one in found], targets)
            maps = SizedMaps(predictions.features, batch.image_sizes)
            masks = self.mask_branch.losses(maps, samples, targets)
        return {
            "loss_class": class_loss(predictions.classes.flatten(0, 1), labels.flatten(), images=len(targets)),
            "loss_box": weighted(overlap, weights),
            "loss_centreness": centreness_loss(centre, weights),
        } | masks

    @torch.no_grad()
    def samples(self, boxes: list[Tensor], targets: list[dict]) -> Samples:
        """Of each image's boxes [N,4] and instances those that the mask branch learns from."""
        joined = [torch.cat([one, target["boxes"]]) for one, target in zip(boxes, targets, strict=True)]
        return self.sampler.label(joined, targets).positives()

    def detections(self, predictions: Predictions, batch: Batch) -> list[dict[str, Tensor]]:
        """Boxes [N,4] px, labels [N], scores [N], masks bool [N,H,W], mask_scores where they are learnt."""
        found = [
            {"boxes": one.boxes, "labels": one.labels, "scores": one.scores} for one in self._select(predictions, batch)
        ]
        with part(HEAD):
            found = self.mask_branch.inference(SizedMaps(predictions.features, batch.image_sizes), found)
        for index, (one, original) in enumerate(zip(found, batch.original_sizes, strict=True)):
            one["boxes"] = scale_boxes(one["boxes"], *batch.to_original(index))
            one["masks"] = paste_masks(one["masks"], one["boxes"], original)
        return found

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Every learned layer once, the mask branch's for so many detections."""
        maps = self(features).features
        self.mask_branch.dry_run(SizedMaps(maps, [(1, 1)] * len(maps[0])), detections=detections)

    def _locations(self, predictions: Predictions):
        sizes = [tuple(level.shape[-2:]) for level in predictions.features]
        return make_locations(sizes, device=predictions.sides.device)

    @torch.no_grad()
    def _select(self, predictions: Predictions, batch: Batch) -> list[Found]:
        points = self._locations(predictions).points
        return [
            select(
                classes.sigmoid(),
                centre.sigmoid(),
                lambda rows, sides=sides: from_sides(points[rows], sides[rows]),
                counts=[level.shape[-2:].numel() for level in predictions.features],
                per_level=self.per_level,
                size=size,
                rule=self.rule,
            )
            for classes, centre, sides, size in zip(*predictions[:3], batch.image_sizes, strict=True)
        ]
