"""From SOLOv2's cells to an image's instances (Wang et al., NeurIPS 2020): scores, masks, Matrix NMS, resizing."""

from __future__ import annotations

import torch
from torch import Tensor

from reprolib.models.detections import DetectionRule
from reprolib.models.mask_resize import mask_boxes, rescale_masks
from reprolib.models.systems.solov2.matrix_nms import matrix_nms
from reprolib.models.systems.solov2.solov2_targets import Cells, dynamic_masks

BEFORE_NMS = 500  # candidates
LEAST_DECAYED = 0.05  # score after Matrix NMS


def image_detections(
    cells: Cells,
    *,
    noise: Tensor,
    rule: DetectionRule,
    image_size: tuple[int, int],
    original_size: tuple[int, int],
    mask_threshold: float = 0.5,
    least_decayed: float = LEAST_DECAYED,
) -> dict[str, Tensor]:
    """One image's boxes [N,4] xyxy px, labels [N], scores [N] best first, masks bool [N,*original_size].

    cells: their categories are probabilities, 0 where a neighbour is better. noise: [cells] see `Level`.
    image_size: (height, width) inside the padded batch. mask_threshold: of probabilities. least_decayed: score after
    Matrix NMS that a detection has at least.
    """
    cell, label = torch.where(cells.categories > rule.score_threshold)
    score = cells.categories[cell, label]
    used, cell = cell.unique(return_inverse=True)  # a cell with two classes has one mask
    masks = dynamic_masks(cells.kernels[used], cells.mask_feature).float().sigmoid_()
    inside = (masks > mask_threshold).flatten(1).float()  # the sum of booleans would need 8 bytes per pixel
    areas = inside.sum(1)
    quality = (masks.flatten(1) * inside).sum(1) / areas.clamp(min=1)
    large = areas > noise[used]

    score = score * quality[cell]
    kept = torch.where(large[cell])[0]
    kept = kept[score[kept].argsort(descending=True, stable=True)[:BEFORE_NMS]]
    cell, label = cell[kept], label[kept]
    score, order = matrix_nms(inside[cell], label, score[kept]).sort(descending=True, stable=True)
    kept = order[score >= min(least_decayed, rule.score_threshold)][: rule.detections]
    score, label = score[: len(kept)], label[kept] + 1
    maps = masks[cell[kept]] + (0.5 - mask_threshold)  # resized, they are compared with 0.5
    resized = rescale_masks(maps, original_size, image_size=image_size)
    boxes, some = mask_boxes(resized)
    detections = {"boxes": boxes, "labels": label, "scores": score, "masks": resized}
    return detections if some.all() else {key: value[some] for key, value in detections.items()}
