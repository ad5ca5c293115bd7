"""From classes and masks of queries to an image's instances: the best pairs, masks at the image's size; no NMS."""

from __future__ import annotations

import math

from torch import Tensor

from reprolib.models.detections import DetectionRule
from reprolib.models.mask_resize import STRIDE, mask_boxes, rescale_masks


def query_detections(
    scores: Tensor,
    maps: Tensor,
    *,
    rule: DetectionRule,
    image_size: tuple[int, int],
    original_size: tuple[int, int],
    quality: Tensor | None = None,
) -> dict[str, Tensor]:
    """One image's boxes [N,4] xyxy px, labels [N], scores [N] best first, masks bool [N,*original_size].

    scores: [Q,K] probabilities, of whose pairs of query and class the best are taken. maps: [Q,h,w] of stride 4, a
    mask where above 0.5 once resized. quality: [Q], multiplied with the scores of those. image_size: (height, width)
    inside the padded batch. Queries whose mask is empty are left out.
    """
    queries, labels, scores = best_pairs(scores, rule.detections)
    if quality is not None:
        scores, order = (scores * quality[queries]).sort(descending=True, stable=True)
        queries, labels = queries[order], labels[order]
    kept = scores > rule.score_threshold
    queries, labels, scores = queries[kept], labels[kept], scores[kept]
    used, row = queries.unique(return_inverse=True)  # a query with two classes has one mask
    masks = rescale_masks(maps[used], original_size, image_size=image_size)
    boxes, some = mask_boxes(masks)
    some = some[row]
    row = row[some]
    return {"boxes": boxes[row], "labels": labels[some], "scores": scores[some], "masks": masks[row]}


def best_pairs(scores: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """scores [Q,K] -> queries, labels in 1..K and scores of the `count` best pairs, best first."""
    flat = scores.flatten()
    best, place = flat.topk(min(count, len(flat)))
    return place // scores.shape[1], place % scores.shape[1] + 1, best


def mask_quality(logits: Tensor, *, image_size: tuple[int, int]) -> Tensor:
    """logits [Q,h,w] of stride 4 -> [Q] mean probability inside each mask (logit > 0), 0 for empty ones.

    image_size: (height, width) of what is not padding.
    """
    height, width = (math.ceil(side / STRIDE) for side in image_size)
    logits = logits[:, :height, :width].flatten(1)
    inside = (logits > 0).float()
    return (logits.sigmoid() * inside).sum(1) / inside.sum(1).clamp(min=1)
