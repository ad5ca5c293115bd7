"""Box2Mask-C's head: SOLOv2's cells, learnt from boxes alone (Li et al., 2022). In part inferred, see its system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import Batch
from reprolib.models.losses import focal_class_loss, mean_loss
from reprolib.models.mask_resize import STRIDE
from reprolib.models.systems.box2mask.box_supervision import (
    affinity,
    box_masks,
    consistency_loss,
    level_set_energy,
    projection_loss,
)
from reprolib.models.systems.box2mask.tree_filter import edge_weights, spanning_tree, tree_filter
from reprolib.models.systems.solov2.solov2_head import Predictions, SOLOv2Head
from reprolib.models.systems.solov2.solov2_levels import Level
from reprolib.models.systems.solov2.solov2_targets import centre_cells, dynamic_masks, last_instance

PROJECTION, IMAGE_ENERGY, TREE_ENERGY, CONSISTENCY = 3.0, 0.05, 5.0, 0.2
IMAGE_SIGMA, FEATURE_SIGMA = 0.02, 1.0
SIDE = 96  # px of the maps on which trees and neighbours are looked at, at most
ROUNDS = 10  # of averaging over alike pixels
LEAST_AREA = 10  # px, smallest box that is learnt, for objects of the published size


class BoxPredictions(NamedTuple):
    """As SOLOv2's `Predictions`, and what the level sets of training look at."""

    categories: list[Tensor]
    kernels: list[Tensor]
    mask_feature: Tensor
    level_set: Tensor | None  # [B,5,h,w], None in inference

    cells = Predictions.cells


class Positives(NamedTuple):
    """Cells of one image that learn an instance, N of them: the last one where several claim a cell."""

    labels: Tensor  # [cells] in 0..K
    cells: Tensor  # [N]
    boxes: Tensor  # [N,4] px of the batch


class Box2MaskHead(SOLOv2Head):
    """See `OneStageHead` and `SOLOv2Head`; ground-truth masks are not looked at.

    level_set: mask feature -> the map whose level sets masks shall be. trees: whether the energy of the maps filtered
    along spanning trees is learnt. consistency_rounds: of the averaging, see `consistency_loss`. mask_threshold: of
    probabilities in inference. smaller: sides of objects, in parts of published ones.
    """

    least_decayed = 0.025

    def __init__(
        self,
        *,
        levels: Sequence[Level],
        branches: nn.Module,
        mask_feature: nn.Module,
        level_set: nn.Module,
        rule: DetectionRule,
        trees: bool = True,
        consistency_rounds: int = ROUNDS,
        mask_threshold: float = 0.55,
        smaller: float = 1.0,
    ) -> None:
        super().__init__(levels=levels, branches=branches, mask_feature=mask_feature, rule=rule)
        self.level_set, self.trees, self.smaller = level_set, trees, smaller
        self.consistency_rounds, self.mask_threshold = consistency_rounds, mask_threshold
        self.least_area = LEAST_AREA * smaller**2

    def forward(self, features: list[Tensor]) -> BoxPredictions:
        predictions = super().forward(features)
        return BoxPredictions(*predictions, self.level_set(predictions.mask_feature).float() if self.training else None)

    def losses(self, predictions: BoxPredictions, batch: Batch, targets: list[dict]) -> dict[str, Tensor]:
        """loss_category per positive cell, loss_projection, loss_level_set and loss_consistency of positives' masks."""
        logits, labels, mask_losses = [], [], []
        for index, target in enumerate(targets):
            cells, image = predictions.cells(index), batch.tensors[index].float()
            positives = self._positives(target, size=tuple(image.shape[-2:]))
            logits.append(cells.categories)
            labels.append(positives.labels)
            masks = dynamic_masks(cells.kernels[positives.cells], cells.mask_feature).float()
            mask_losses.append(self._mask_losses(masks, positives, image, predictions.level_set[index]))
        projection, energy, consistency = (mean_loss(torch.cat(parts)) for parts in zip(*mask_losses, strict=True))
        # Zeros for the gradient of the level set's layer where no image has trees.
        energy = energy + predictions.level_set.flatten()[:0].sum()
        return {
            "loss_category": focal_class_loss(torch.cat(logits), torch.cat(labels), added=1),
            "loss_projection": PROJECTION * projection,
            "loss_level_set": energy,
            "loss_consistency": CONSISTENCY * consistency,
        }

    @torch.no_grad()
    def _positives(self, target: dict, *, size: tuple[int, int]) -> Positives:
        boxes = target["boxes"]
        large = (boxes[:, 2:] - boxes[:, :2]).prod(1) >= self.least_area
        boxes, labels = boxes[large], target["labels"][large]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        seen = [centre_cells(boxes, centres, level, size=size).flatten(1) for level in self.levels]
        last = last_instance(torch.cat(seen, dim=1))
        cell = torch.where(last)[0]
        return Positives(torch.cat([labels.new_zeros(1), labels])[last], cell, boxes[last[cell] - 1])

    def _mask_losses(
        self, logits: Tensor, positives: Positives, image: Tensor, level_set: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """logits [N,h,w] of stride 4, image [3,H,W], level_set [5,h,w] -> projection, energy, consistency, each [N].

        Masks, boxes and maps meet at the resolution of each mask's level, trees and neighbours at one of at most 96 px
        that is not finer than the masks.
        """
        if not len(logits):
            return (logits.sum((1, 2)),) * 3
        size = tuple(min(SIDE, side) for side in logits.shape[-2:])
        coarse, picture = _resized(logits.sigmoid(), size), _resized(image, size)
        boxes = self._box_masks(positives.boxes, size, image)
        consistency = consistency_loss(coarse, affinity(picture), boxes, rounds=self.consistency_rounds)
        filtered = filtered_maps(coarse, picture, _resized(level_set, size)) if self.trees else None

        projection, energy = logits.new_zeros(len(logits)), logits.new_zeros(len(logits))
        factors = self._factors(positives.cells)
        for factor in factors.unique().tolist():
            rows = torch.where(factors == factor)[0]
            size = tuple(max(1, side // factor) for side in logits.shape[-2:])
            masks, boxes = _resized(logits[rows], size).sigmoid(), self._box_masks(positives.boxes[rows], size, image)
            projection = projection.index_add(0, rows, projection_loss(masks, boxes))
            varied = IMAGE_ENERGY * level_set_energy(masks, _resized(image, size)[None], boxes)
            if filtered is not None:
                maps = _resized(filtered[rows].flatten(0, 1), size).unflatten(0, (-1, 2))
                varied = varied + TREE_ENERGY * level_set_energy(masks, maps, boxes)
            energy = energy.index_add(0, rows, varied)
        return projection, energy, consistency

    def _box_masks(self, boxes: Tensor, size: tuple[int, int], image: Tensor) -> Tensor:
        return box_masks(boxes, size, image_size=tuple(image.shape[-2:]), unit=self.smaller)

    def _factors(self, cells: Tensor) -> Tensor:
        """cells [N] -> [N]: by what the masks of each one's level are smaller than those of stride 4.

        Half the level's stride is published; smaller objects have finer masks by as much.
        """
        level_factors = [max(1, round(level.stride * self.smaller / (2 * STRIDE))) for level in self.levels]
        factors = torch.tensor(level_factors, device=cells.device)
        return factors.repeat_interleave(torch.tensor([level.grid**2 for level in self.levels]).to(cells))[cells]


def filtered_maps(masks: Tensor, image: Tensor, level_set: Tensor) -> Tensor:
    """masks [N,h,w] filtered along the image's tree, and these along the level set's: [N,2,h,w]."""
    tree = spanning_tree(image)
    by_image = tree_filter(masks, tree, edge_weights(tree, image, sigma=IMAGE_SIGMA))
    tree = spanning_tree(level_set)
    by_level_set = tree_filter(by_image, tree, edge_weights(tree, level_set, sigma=FEATURE_SIGMA))
    return torch.stack([by_image, by_level_set], dim=1)


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """maps [C,h,w] -> [C,*size]."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
