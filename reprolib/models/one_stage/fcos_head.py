"""The head of FCOS (Tian et al., ICCV 2019). A system on FCOS extends it with a branch for its masks."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss

from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import Batch
from reprolib.models.losses import focal_class_loss, mean_loss, weighted_mean
from reprolib.models.one_stage.fcos_inference import Selected, select
from reprolib.models.one_stage.fcos_targets import Locations, Positives, centreness, from_sides, make_locations
from reprolib.models.one_stage.fcos_tower import LEVELS, Tower, class_conv, conv3x3, per_location


class FCOSPredictions(NamedTuple):
    """What the learned layers give for a batch. L: locations of all levels, one level after the other."""

    classes: Tensor  # [B,L,K] logits
    centreness: Tensor  # [B,L] logits
    sides: Tensor  # [B,L,4] px to the left, top, right and bottom of the box
    branches: dict[str, Tensor]  # [B,L,...] each, of the system's own branches
    locations: Locations
    features: list[Tensor]  # P3..P7


class FCOSHead(nn.Module):
    """[P3..P7] -> `FCOSPredictions`; the losses of locations, and the boxes that are selected from them.

    A system's head is a subclass. Its constructor makes the layers, by `add_layers` or by hand under the same names.
    It predicts more at each location by `branches`, and offers `losses`, `detections` and `dry_run` (see
    `OneStageHead`), which start from `location_losses`, `selected` and a call of the head.

    per_level: pairs of location and class that each level may give. centreness_tower: whether centre-ness is read from
    the `box` tower, as in the code of FCOS, or from the `class` tower, as in its paper.
    """

    # All levels share these; inputs and outputs are [B,...,h,w].
    class_tower: nn.Module  # C -> C channels
    box_tower: nn.Module  # C -> C
    classes: nn.Module  # C -> K logits
    sides: nn.Module  # C -> 4
    centreness: nn.Module  # C -> 1 logit
    scales: nn.Parameter  # [levels], factors of the sides' exponents

    def __init__(self, *, per_level: int, rule: DetectionRule, centreness_tower: str = "box") -> None:
        super().__init__()
        self.per_level, self.rule, self.centreness_tower = per_level, rule, centreness_tower

    def add_layers(self, channels: int, *, num_classes: int) -> None:
        """The layers as in the code of FCOS, at this width."""
        self.class_tower, self.box_tower = (Tower(channels, bias=True) for _ in range(2))
        self.classes = class_conv(channels, num_classes=num_classes)
        self.sides, self.centreness = (conv3x3(channels, width) for width in (4, 1))
        self.scales = nn.Parameter(torch.ones(LEVELS))

    def forward(self, features: list[Tensor]) -> FCOSPredictions:
        levels, branches = [], []
        for index, (level, scale) in enumerate(zip(features, self.scales, strict=True)):
            class_features, box_features = self._tower_features(level)
            centreness_features = class_features if self.centreness_tower == "class" else box_features
            outputs = self.classes(class_features), self.centreness(centreness_features), self.sides(box_features)
            classes, centre, sides = map(per_location, outputs)
            levels.append((classes, centre[..., 0], (scale * sides).exp()))
            branches.append(self.branches(level, class_features, box_features, index))
        return FCOSPredictions(
            *(torch.cat(maps, dim=1) for maps in zip(*levels, strict=True)),
            branches={name: torch.cat([level[name] for level in branches], dim=1) for name in branches[0]},
            locations=make_locations([level.shape[-2:] for level in features], device=features[0].device),
            features=features,
        )

    def branches(self, level: Tensor, class_features: Tensor, box_features: Tensor, index: int) -> dict[str, Tensor]:
        """What a system's own branches predict at the locations of one level: [B,h*w,...] by name; none here.

        level [B,C,h,w], the pyramid's map number `index`; class_features, box_features [B,C,h,w]: the towers' outputs.
        """
        return {}

    def location_losses(
        self, predictions: FCOSPredictions, positives: list[Positives], quality: Tensor | None = None
    ) -> dict[str, Tensor]:
        """loss_class, loss_box and loss_centreness of a batch.

        quality: [P], the targets of centre-ness, which also weight the box loss; FCOS's own (Eq. 3) by default.
        """
        classes = predictions.classes
        labels = torch.zeros(classes.shape[:2], dtype=torch.long, device=classes.device)
        for image_labels, positive in zip(labels, positives, strict=True):
            image_labels[positive.rows] = positive.labels
        points, target_sides = (torch.cat([getattr(image, key) for image in positives]) for key in ("points", "sides"))
        if quality is None:
            quality = centreness(target_sides)
        box_losses = self.box_losses(points, at_positives(predictions.sides, positives), target_sides)
        logits = at_positives(predictions.centreness, positives)
        return {
            "loss_class": focal_class_loss(classes, labels, added=len(positives)),
            "loss_box": weighted_mean(box_losses, quality),
            "loss_centreness": mean_loss(F.binary_cross_entropy_with_logits(logits, quality, reduction="none")),
        }

    def box_losses(self, points: Tensor, sides: Tensor, target_sides: Tensor) -> Tensor:
        """points [P,2], predicted and target sides [P,4] px -> [P]: GIoU loss, as in the later code of FCOS."""
        return generalized_box_iou_loss(from_sides(points, sides), from_sides(points, target_sides))

    @torch.no_grad()
    def selected(self, predictions: FCOSPredictions, batch: Batch) -> list[Selected]:
        """Per image the locations that are detections, after NMS, with boxes in px of the batch."""
        return [
            select(
                predictions.classes[index].sigmoid(),
                self.quality(predictions.centreness[index]),
                partial(self.boxes_at, predictions, index, size=size),
                counts=[level.shape[-2:].numel() for level in predictions.features],
                per_level=self.per_level,
                size=size,
                rule=self.rule,
            )
            for index, size in enumerate(batch.image_sizes)
        ]

    def quality(self, centreness: Tensor) -> Tensor:
        """Centre-ness logits [L] -> [L] in 0..1, which class scores are multiplied with."""
        return centreness.sigmoid()

    def boxes_at(self, predictions: FCOSPredictions, image: int, rows: Tensor, *, size: tuple[int, int]) -> Tensor:
        """Boxes [N,4] xyxy px, not clipped, of the locations `rows` [N] of an image of `size` (height, width) px."""
        return from_sides(predictions.locations.points[rows], predictions.sides[image, rows])

    def _tower_features(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """-> outputs of the class tower and of the box tower.

        The tower that centre-ness is read from runs first. The order decides in which order gradients of the level are
        summed, and so their last bit.
        """
        if self.centreness_tower == "class":
            class_features = self.class_tower(level)
            return class_features, self.box_tower(level)
        box_features = self.box_tower(level)
        return self.class_tower(level), box_features


def at_positives(maps: Tensor, positives: list[Positives]) -> Tensor:
    """maps [B,L,...] -> [P,...]: their values at the positive locations, one image after the other."""
    return torch.cat([image_maps[positive.rows] for image_maps, positive in zip(maps, positives, strict=True)])
