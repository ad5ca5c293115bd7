"""PolarMask's head (Xie et al., CVPR 2020): FCOS with the rays of a mask from every location."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import Batch, scale_boxes
from reprolib.models.losses import side_iou_loss, weighted_mean
from reprolib.models.on_device import numbers_like
from reprolib.models.one_stage.fcos_head import FCOSHead, FCOSPredictions, at_positives
from reprolib.models.one_stage.fcos_targets import Locations, Positives, find_positives
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


class PolarMaskHead(FCOSHead):
    """[P3..P7] -> instances, see `OneStageHead`; `rays` [B,L,R] px is a branch of the predictions.

    rays: their number, a divisor of 360. bias: added to polar centre-ness before it is multiplied with the score of a
    class; the sum is divided by 1 + bias to stay in 0..1. box_of: what NMS and the detections have for a box, that of
    the `box` branch or the one around the `mask`. smaller: size of objects as a share of the published size, which
    decides which ones are too small to learn. Other parameters: see `FCOSHead`.
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
        check_choice("polar_nms", box_of, ("box", "mask"))
        if not 3 <= rays <= 360 or 360 % rays:
            raise ValueError(f"rays must be a divisor of 360 and at least 3, not {rays}")
        super().__init__(per_level=per_level, rule=rule, centreness_tower="class")
        self.bias, self.box_of, self.smaller = bias, box_of, smaller
        self.class_tower, self.box_tower, self.ray_tower = (Tower(channels, bias=False) for _ in range(3))
        self.classes = class_conv(channels, num_classes=num_classes)
        self.centreness, self.sides, self.rays = (conv3x3(channels, width) for width in (1, 4, rays))
        self.side_scales, self.ray_scales = (nn.Parameter(torch.ones(LEVELS)) for _ in range(2))

    @property
    def scales(self) -> nn.Parameter:
        return self.side_scales

    def branches(self, level: Tensor, class_features: Tensor, box_features: Tensor, index: int) -> dict[str, Tensor]:
        rays = per_location(self.rays(self.ray_tower(level)))
        return {"rays": (self.ray_scales[index] * rays).exp()}

    def losses(self, predictions: FCOSPredictions, batch: Batch, targets: list[dict]) -> dict[str, Tensor]:
        """loss_class, loss_box, loss_mask and loss_centreness of a batch."""
        positives, target_rays = zip(
            *(self.positives(predictions.locations, target) for target in targets), strict=True
        )
        target_rays = torch.cat(target_rays)
        quality = polar_centreness(target_rays)
        ray_losses = polar_iou_loss(at_positives(predictions.branches["rays"], positives), target_rays)
        losses = self.location_losses(predictions, positives, quality)
        return losses | {"loss_mask": weighted_mean(ray_losses, quality)}

    def box_losses(self, points: Tensor, sides: Tensor, target_sides: Tensor) -> Tensor:
        return side_iou_loss(sides, target_sides)

    @torch.no_grad()
    def positives(self, locations: Locations, target: dict) -> tuple[Positives, Tensor]:
        """The locations of one image that learn an instance, and the rays [P,R] px that they learn.

        target: as `InputTransform` gives it.
        """
        boxes, masks = target["boxes"], target["masks"]
        factors = numbers_like(target["to_original"], boxes)
        mask_outlines = outlines(masks)
        centres = torch.cat([boxes.new_zeros((0, 2)), *(outline.centre[None] for outline in mask_outlines)]) / factors
        areas = masks.flatten(1).sum(1, dtype=torch.float32)
        large = ((boxes[:, 2:] - boxes[:, :2]) * factors >= LEAST_SIDE * self.smaller).any(1)
        large &= areas > LEAST_AREA * self.smaller**2
        positives = find_positives(locations, target, centres=centres.masked_fill(~large[:, None], torch.nan))
        rays = boxes.new_zeros((len(positives.rows), self.rays.out_channels))
        for index in positives.instances.unique().tolist():
            learning = positives.instances == index
            outline = mask_outlines[index].points / factors
            rays[learning] = rays_to(outline, positives.points[learning], count=rays.shape[1])
        return positives, rays

    def quality(self, centreness: Tensor) -> Tensor:
        return (centreness.sigmoid() + self.bias) / (1 + self.bias)

    def boxes_at(self, predictions: FCOSPredictions, image: int, rows: Tensor, *, size: tuple[int, int]) -> Tensor:
        if self.box_of == "box":
            return super().boxes_at(predictions, image, rows, size=size)
        corners = self.polygons_at(predictions, image, rows, size=size)
        return torch.cat([corners.amin(1), corners.amax(1)], dim=1)

    def polygons_at(self, predictions: FCOSPredictions, image: int, rows: Tensor, *, size: tuple[int, int]) -> Tensor:
        """Corners [N,R,2] px of the masks of the locations `rows` [N] of one image of `size` (height, width) px."""
        return polygons_of(predictions.locations.points[rows], predictions.branches["rays"][image, rows], size=size)

    def detections(self, predictions: FCOSPredictions, batch: Batch) -> list[dict[str, Tensor]]:
        """Boxes [N,4] px, labels [N], scores [N], masks bool [N,H,W] of each image."""
        results = []
        for index, selected in enumerate(self.selected(predictions, batch)):
            factors = batch.to_original(index)
            corners = self.polygons_at(predictions, index, selected.rows, size=batch.image_sizes[index])
            results.append(
                {
                    "boxes": scale_boxes(selected.boxes, *factors),
                    "labels": selected.labels,
                    "scores": selected.scores,
                    "masks": fill_polygons(corners * numbers_like(factors, corners), batch.original_sizes[index]),
                }
            )
        return results

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Every learned layer once; the masks need none, however many there are."""
        self(features)
