"""The head of SOLOv2 (Wang et al., NeurIPS 2020): categories and mask kernels of grid cells, one map for all masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.detections import DetectionRule, detection_rule
from reprolib.models.input_transform import Batch
from reprolib.models.on_device import rows_where
from reprolib.models.systems.solov2.matrix_nms import points_nms
from reprolib.models.systems.solov2.solov2_inference import LEAST_DECAYED, image_detections
from reprolib.models.systems.solov2.solov2_levels import Level, find_form, level_maps, levels_of
from reprolib.models.systems.solov2.solov2_losses import Criterion, solov2_losses
from reprolib.models.systems.solov2.solov2_targets import (
    Assign,
    Cells,
    both_masks,
    cell_labels,
    dynamic_masks,
    instance_targets,
)
from reprolib.models.systems.solov2.unified_mask_feature import UnifiedMaskFeature, conv_norm_relu, with_coordinates
from reprolib.params import Scale


class Predictions(NamedTuple):
    """What the learned layers give for a batch. S: the grid of each level."""

    categories: list[Tensor]  # per level [B,K,S,S] logits
    kernels: list[Tensor]  # per level [B,E,S,S]
    mask_feature: Tensor  # [B,E,h,w] of stride 4

    def cells(self, index: int) -> Cells:
        """One image's, the cells of all levels joined row by row; kernels and map as `dynamic_masks` wants them."""
        categories, kernels = (
            torch.cat([level[index].flatten(1).T for level in maps]) for maps in (self.categories, self.kernels)
        )
        return Cells(categories.float(), kernels.float(), self.mask_feature[index].float())


class CellBranches(nn.Module):
    """One level's map [B,C,h,w] -> categories [B,K,S,S] and kernels [B,E,S,S]; the same weights for all levels.

    The map and its coordinates are resized to the grid; the kernel branch sees both, the category branch the map.
    last: side of the convolution that gives the kernels.
    """

    def __init__(self, channels: int, *, width: int, convs: int, num_classes: int, kernel: int, last: int = 3) -> None:
        super().__init__()
        self.category_convs = _tower(channels, width, convs)
        self.kernel_convs = _tower(channels + 2, width, convs)
        self.category = nn.Conv2d(width, num_classes, 3, padding=1)
        self.kernel = nn.Conv2d(width, kernel, last, padding=last // 2)
        for conv in (self.category, self.kernel):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)
        nn.init.constant_(self.category.bias, -math.log((1 - 0.01) / 0.01))

    def forward(self, x: Tensor, grid: int) -> tuple[Tensor, Tensor]:
        x = F.interpolate(with_coordinates(x), size=(grid, grid), mode="bilinear", align_corners=False)
        return self.category(self.category_convs(x[:, :-2])), self.kernel(self.kernel_convs(x))


class SOLOv2Head(nn.Module):
    """Pyramid -> instances, see `OneStageHead`.

    Its features: five maps P2..P6 for the branches; `mask_feature`, a module that makes [B,E,h,w] of P2's size from
    features, sees them and whatever the neck gives after them.
    assign: which of several instances a cell learns. criterion: the losses. Both are functions, see `Assign` and
    `Criterion`.
    """

    mask_threshold, least_decayed = 0.5, LEAST_DECAYED  # see `image_detections`

    def __init__(
        self,
        *,
        levels: Sequence[Level],
        branches: nn.Module,
        mask_feature: nn.Module,
        rule: DetectionRule,
        assign: Assign = both_masks,
        criterion: Criterion = solov2_losses,
    ) -> None:
        super().__init__()
        self.levels, self.rule = tuple(levels), rule
        self.branches, self.mask_feature = branches, mask_feature
        self.assign, self.criterion = assign, criterion
        noise = [level.noise for level in self.levels for _ in range(level.grid**2)]
        self.register_buffer("noise", torch.tensor(noise), persistent=False)

    def forward(self, features: list[Tensor]) -> Predictions:
        maps = level_maps(features[:5])
        outputs = [self.branches(x, level.grid) for x, level in zip(maps, self.levels, strict=True)]
        categories, kernels = (list(parts) for parts in zip(*outputs, strict=True))
        return Predictions(categories, kernels, self.mask_feature(self.mask_maps(features)))

    def mask_maps(self, features: list[Tensor]) -> list[Tensor]:
        """What the mask feature is made of."""
        return features

    def losses(self, predictions: Predictions, batch: Batch, targets: list[dict]) -> dict[str, Tensor]:
        """loss_category and loss_mask of a batch."""
        size = tuple(predictions.mask_feature.shape[-2:])
        every = [
            (predictions.cells(index), instance_targets(target, self.levels, image_size=inside, mask_size=size))
            for index, (target, inside) in enumerate(zip(targets, batch.image_sizes, strict=True))
        ]
        with torch.no_grad():
            assigned = [self.assign(image_targets, cells) for cells, image_targets in every]
            pairs = rows_where([chosen.flatten() for chosen in assigned])  # of instance and cell
        logits, labels, masks, target_masks = [], [], [], []
        for (cells, image_targets), chosen, pair in zip(every, assigned, pairs, strict=True):
            instance, cell = pair // chosen.shape[1], pair % chosen.shape[1]
            logits.append(cells.categories)
            labels.append(cell_labels(chosen, image_targets.labels))
            masks.append(dynamic_masks(cells.kernels[cell], cells.mask_feature).float().sigmoid())
            target_masks.append(image_targets.masks[instance])
        return self.criterion(*(torch.cat(parts) for parts in (logits, labels, masks, target_masks)))

    def detections(self, predictions: Predictions, batch: Batch) -> list[dict[str, Tensor]]:
        """Boxes [N,4] px around the masks, labels [N], scores [N], masks bool [N,H,W] of each image."""
        scores = [points_nms(level.float().sigmoid()) for level in predictions.categories]
        peaks = predictions._replace(categories=scores)
        return [
            image_detections(
                peaks.cells(index),
                noise=self.noise,
                rule=self.rule,
                image_size=inside,
                original_size=original,
                mask_threshold=self.mask_threshold,
                least_decayed=self.least_decayed,
            )
            for index, (inside, original) in enumerate(zip(batch.image_sizes, batch.original_sizes, strict=True))
        ]

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Every learned layer once, and the dynamic convolutions of so many detections."""
        predictions = self(features)
        kernels = predictions.kernels[0].flatten(2)[0].T[:1].expand(detections, -1)
        dynamic_masks(kernels, predictions.mask_feature[0])


def solov2_head(
    *,
    num_classes: int,
    scale: Scale,
    test_size: int,
    form: str = "full",
    mask_feature: nn.Module | None = None,
    assign: Assign = both_masks,
    criterion: Criterion = solov2_losses,
) -> SOLOv2Head:
    """The head in one of the published forms (`full`, `light_448`) at a scale's widths.

    mask_feature: the published one unless another is given; it has `kernel_length` channels. test_size: the short
    side in px in inference, which bounds the grids, see `levels_of`.
    """
    chosen, channels = find_form(form), scale.channels
    kernel = kernel_length(form, scale=scale)
    return SOLOv2Head(
        levels=levels_of(chosen, scale=scale, short_side=test_size),
        branches=CellBranches(
            channels,
            width=round(channels * chosen.width),
            convs=chosen.convs,
            num_classes=num_classes,
            kernel=kernel,
        ),
        mask_feature=mask_feature or UnifiedMaskFeature(channels, width=channels // 2, out_channels=kernel),
        rule=detection_rule(scale, own_threshold=0.1),
        assign=assign,
        criterion=criterion,
    )


def kernel_length(form: str, *, scale: Scale) -> int:
    """E: numbers in a cell's kernel, and channels of the unified mask feature."""
    return round(scale.channels * find_form(form).kernel)


def _tower(in_channels: int, width: int, convs: int) -> nn.Sequential:
    return nn.Sequential(
        *(conv_norm_relu(in_channels if step == 0 else width, width, kernel_size=3) for step in range(convs))
    )
