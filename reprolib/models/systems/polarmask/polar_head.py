"""PolarMask's head (Xie et al., CVPR 2020): FCOS with the rays of a mask from every location."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import Batch, scale_boxes
from reprolib.models.on_device import numbers_like
from reprolib.models.one_stage.fcos_inference import select
from reprolib.models.one_stage.fcos_losses import centreness_loss, class_loss, iou_loss, weighted
from reprolib.models.one_stage.fcos_targets import Locations, assign, from_sides, make_locations, to_sides
from reprolib.models.one_stage.fcos_tower import LEVELS, Tower, class_conv, conv3x3, per_location
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.polarmask.outlines import outlines
from reprolib.models.systems.polarmask.polar_rays import (
    RAYS,
    polar_centreness,
    polar_iou_loss,
    polygons_of,
    rays_to,
)
from reprolib.models.systems.polarmask.polygons import fill_polygons

LEAST_AREA, LEAST_SIDE = 15.0, 10.0  # px: instances of no more area, or smaller in both directions, are not learnt


class Predictions(NamedTuple):
    """What the learned layers give for a batch. L: locations of all levels, joined."""

    classes: Tensor  # [B,L,K] logits
    centreness: Tensor  # [B,L] logits
    sides: Tensor  # [B,L,4] px to the left, top, right and bottom of the box
    rays: Tensor  # [B,L,R] px
    points: Tensor  # [L,2] px, where the locations are
    map_sizes: list[tuple[int, int]]  # (height, width) of P3..P7


class Wanted(NamedTuple):
    """What the positive locations of an image learn."""

    rows: Tensor  # [P] of the locations
    labels: Tensor  # [P] in 1..K
    sides: Tensor  # [P,4] px
    rays: Tensor  # [P,R] px


class PolarMaskHead(nn.Module):
    """[P3..P7] -> instances, see `OneStageHead`.

    per_level: pairs of location and class that each level may give. rays: their number, a divisor of 360. bias: added
    to polar centre-ness before it is multiplied with the score of a class; the sum is divided by 1 + bias to stay
    in 0..1. box_of: what NMS and the detections have for a box, the `box` branch's or the one around the `mask`.
    smaller: size of objects, in parts of the published, which says which ones are too small to learn.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_classes: int,
        per_level: int,
        rule: DetectionRule,
        rays: int = RAYS,
        bias: float = 0.5,
        box_of: str = "box",
        smaller: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice("polar_nms", box_of, ("box", "mask"))
        if not 3 <= rays <= 360 or 360 % rays:
            raise ValueError(f"rays must be a divisor of 360 and at least 3, not {rays}")
        self.per_level, self.rule = per_level, rule
        self.bias, self.box_of, self.smaller = bias, box_of, smaller
        self.class_tower, self.box_tower, self.ray_tower = (Tower(channels, bias=False) for _ in range(3))
        self.classes = class_conv(channels, num_classes=num_classes)
        self.centreness, self.sides, self.rays = (conv3x3(channels, width) for width in (1, 4, rays))
        self.side_scales, self.ray_scales = (nn.Parameter(torch.ones(LEVELS)) for _ in range(2))

    def forward(self, features: list[Tensor]) -> Predictions:
        found = []
        for level, side_scale, ray_scale in zip(features, self.side_scales, self.ray_scales, strict=True):
            x = self.class_tower(level)
            sides, rays = self.sides(self.box_tower(level)), self.rays(self.ray_tower(level))
            logits, centre, sides, rays = map(per_location, (self.classes(x), self.centreness(x), sides, rays))
            found.append((logits, centre[..., 0], (side_scale * sides).exp(), (ray_scale * rays).exp()))
        joined = [torch.cat(parts, dim=1) for parts in zip(*found, strict=True)]
        sizes = [tuple(level.shape[-2:]) for level in features]
        return Predictions(*joined, make_locations(sizes, device=features[0].device).points, sizes)

    def losses(self, predictions: Predictions, batch: Batch, targets: list[dict]) -> dict[str, Tensor]:
        """loss_class, loss_box, loss_mask and loss_centreness of a batch."""
        locations = make_locations(predictions.map_sizes, device=batch.tensors.device)
        found = [self.wanted(locations, target) for target in targets]
        labels = torch.zeros(predictions.classes.shape[:2], dtype=torch.long, device=batch.tensors.device)
        for index, one in enumerate(found):
            labels[index, one.rows] = one.labels
        centreness, sides, rays = (
            torch.cat([one[index, wanted.rows] for index, wanted in enumerate(found)])
            for one in (predictions.centreness, predictions.sides, predictions.rays)
        )
        wanted_sides, wanted_rays = (torch.cat([getattr(one, key) for one in found]) for key in ("sides", "rays"))
        weights = polar_centreness(wanted_rays)
        return {
            "loss_class": class_loss(predictions.classes.flatten(0, 1), labels.flatten(), images=len(targets)),
            "loss_box": weighted(iou_loss(sides, wanted_sides), weights),
            "loss_mask": weighted(polar_iou_loss(rays, wanted_rays), weights),
            "loss_centreness": centreness_loss(centreness, weights),
        }

    @torch.no_grad()
    def wanted(self, locations: Locations, target: dict) -> Wanted:
        """The truth of one image; target: as `InputTransform` gives it."""
        boxes, masks = target["boxes"], target["masks"]
        factors = numbers_like(target["to_original"], boxes)
        every = outlines(masks)
        centres = torch.cat([boxes.new_zeros((0, 2)), *(one.centre[None] for one in every)]) / factors
        areas = masks.flatten(1).sum(1, dtype=torch.float32)
        large = ((boxes[:, 2:] - boxes[:, :2]) * factors >= LEAST_SIDE * self.smaller).any(1)
        large &= areas > LEAST_AREA * self.smaller**2
        instance = assign(locations, boxes, centres.masked_fill(~large[:, None], torch.nan))
        rows = torch.where(instance >= 0)[0]
        instance, points = instance[rows], locations.points[rows]
        rays = boxes.new_zeros((len(rows), self.rays.out_channels))
        for index in instance.unique().tolist():
            mine = instance == index
            rays[mine] = rays_to(every[index].points / factors, points[mine], count=rays.shape[1])
        return Wanted(rows, target["labels"][instance], to_sides(points, boxes[instance]), rays)

    def detections(self, predictions: Predictions, batch: Batch) -> list[dict[str, Tensor]]:
        """Boxes [N,4] px, labels [N], scores [N], masks bool [N,H,W] of each image."""
        results = []
        for index, (size, original) in enumerate(zip(batch.image_sizes, batch.original_sizes, strict=True)):
            points, sides, rays = predictions.points, predictions.sides[index], predictions.rays[index]

            def decode(rows, points=points, sides=sides, rays=rays, size=size):
                if self.box_of == "box":
                    return from_sides(points[rows], sides[rows])
                corners = polygons_of(points[rows], rays[rows], size=size)
                return torch.cat([corners.amin(1), corners.amax(1)], dim=1)

            found = select(
                predictions.classes[index].sigmoid(),
                (predictions.centreness[index].sigmoid() + self.bias) / (1 + self.bias),
                decode,
                counts=[height * width for height, width in predictions.map_sizes],
                per_level=self.per_level,
                size=size,
                rule=self.rule,
            )
            factors = batch.to_original(index)
            corners = polygons_of(points[found.rows], rays[found.rows], size=size)
            results.append(
                {
                    "boxes": scale_boxes(found.boxes, *factors),
                    "labels": found.labels,
                    "scores": found.scores,
                    "masks": fill_polygons(corners * numbers_like(factors, corners), original),
                }
            )
        return results

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Every learned layer once; masks cost none of them anything, however many there are."""
        self(features)
