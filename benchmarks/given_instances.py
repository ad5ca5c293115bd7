"""Predictions that hold instances in given boxes, in the form of each one-stage head.

The weights of a timed network are random, so it would find nothing and its post-processing would have no work. The
predictions made here replace those of the network. Their scores lie in 0.5 to 0.95.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from reprolib.models.input_transform import Batch
from reprolib.models.mask_resize import STRIDE
from reprolib.models.one_stage.fcos_targets import to_sides
from reprolib.models.one_stage.fcos_tower import LEVELS
from reprolib.models.queries.mask_classification import MaskClassification
from reprolib.models.systems.centermask.centermask_head import CenterMaskHead
from reprolib.models.systems.knet.knet_head import KNetHead
from reprolib.models.systems.polarmask.polar_head import PolarMaskHead
from reprolib.models.systems.polarmask.polar_rays import directions
from reprolib.models.systems.queryinst.query_inst_head import QueryInstHead
from reprolib.models.systems.solov2.solov2_head import SOLOv2Head
from reprolib.models.systems.solov2.solov2_inference import BEFORE_NMS
from reprolib.models.systems.yolact.fast_nms import MOST
from reprolib.models.systems.yolact.yolact_anchors import make_anchors
from reprolib.models.systems.yolact.yolact_head import CODER, YOLACTHead

T = TypeVar("T", bound=tuple)


@singledispatch
def most_ranked(head: nn.Module, predictions: Any) -> int:
    """How many instances of an image the post-processing of a head ranks at most.

    predictions: what the head gives for an image. Raises ValueError for a head that cannot be given instances.
    """
    raise _unsupported(head)


@singledispatch
def with_instances(head: nn.Module, predictions: Any, batch: Batch, boxes: Tensor) -> Any:
    """Predictions of the same shapes for a single image that hold instances in boxes [N,4] xyxy px of the batch.

    predictions: what the head gives for the batch, which has one image; they are not changed. Where there is no place
    for so many instances, the first ones are taken. Raises ValueError for a head that cannot be given instances.
    """
    raise _unsupported(head)


def _unsupported(head: nn.Module) -> ValueError:
    return ValueError(
        f"{type(head).__name__} cannot be given instances, and random weights find none: time this system with"
        " --weights FILE and --image FILE"
    )


@most_ranked.register(CenterMaskHead)
@most_ranked.register(PolarMaskHead)
def _(head: CenterMaskHead | PolarMaskHead, predictions: Any) -> int:
    return LEVELS * head.per_level


@most_ranked.register
def _(head: YOLACTHead, predictions: Any) -> int:
    return MOST


@most_ranked.register
def _(head: SOLOv2Head, predictions: Any) -> int:
    return BEFORE_NMS


@most_ranked.register(KNetHead)
@most_ranked.register(MaskClassification)
def _(head: KNetHead | MaskClassification, predictions: Any) -> int:
    return predictions.classes[-1].shape[1]  # queries


@most_ranked.register
def _(head: QueryInstHead, predictions: Any) -> int:
    return predictions.logits[-1].shape[1]  # queries


@with_instances.register
def _(head: CenterMaskHead, predictions: Any, batch: Batch, boxes: Tensor) -> Any:
    """A location and class for each box; the mask branch makes the masks of the features."""
    points = predictions.locations.points
    changed, rows = with_spread_pairs(predictions, len(boxes))
    changed.sides[0, rows] = to_sides(points[rows], boxes[: len(rows)]).to(changed.sides)
    return changed


@with_instances.register
def _(head: PolarMaskHead, predictions: Any, batch: Batch, boxes: Tensor) -> Any:
    """A location and class for each box; the location moves to its centre and has rays to its border."""
    changed, rows = with_spread_pairs(predictions, len(boxes))
    points, rays = predictions.locations.points.clone(), predictions.branches["rays"].clone()
    boxes = boxes[: len(rows)].to(points)
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    points[rows] = boxes[:, :2] + half
    changed.sides[0, rows] = half.repeat(1, 2)
    across = directions(rays.shape[-1], like=half).abs().clamp(min=1e-6)
    rays[0, rows] = (half[:, None] / across).amin(2)
    return changed._replace(branches={"rays": rays}, locations=predictions.locations._replace(points=points))


@with_instances.register
def _(head: YOLACTHead, predictions: Any, batch: Batch, boxes: Tensor) -> Any:
    """An anchor for each box; the masks are the whole boxes."""
    anchors = make_anchors(
        predictions.map_sizes,
        head.scales,
        size=tuple(batch.tensors.shape[-2:]),
        squares=head.as_published,
        device=batch.tensors.device,
    )
    logits = torch.full_like(predictions.logits, -20)
    logits[..., 0] = 0
    count = min(len(boxes), len(anchors))
    rows, numbers = torch.linspace(0, len(anchors) - 1, count).round().long(), torch.arange(count)
    logits[0, rows, 1 + numbers % (logits.shape[-1] - 1)] = spread_scores(numbers).logit().to(logits)
    deltas, coefficients = torch.zeros_like(predictions.deltas), torch.zeros_like(predictions.coefficients)
    deltas[0, rows] = CODER.encode(boxes[:count], anchors[rows])
    coefficients[0, rows, 0] = 1
    return predictions._replace(
        logits=logits,
        deltas=deltas,
        coefficients=coefficients,
        prototypes=torch.full_like(predictions.prototypes, 10),
    )


@with_instances.register
def _(head: SOLOv2Head, predictions: Any, batch: Batch, boxes: Tensor) -> Any:
    """A cell of the grids for each box; those of smaller boxes are on finer grids.

    There are as many different masks as channels of the mask feature; neighbours in the grid share the rest.
    """
    grids = [level.grid for level in head.levels]
    cells, (length, height, width) = sum(grid**2 for grid in grids), predictions.mask_feature.shape[1:]
    count = min(len(boxes), cells)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).prod(1).argsort()]
    boxes = boxes[torch.linspace(0, len(boxes) - 1, min(count, length)).round().long()] / STRIDE
    across, down = (
        (place >= boxes[:, axis, None]) & (place < boxes[:, axis + 2, None])
        for axis, place in enumerate(torch.arange(side, device=boxes.device) + 0.5 for side in (width, height))
    )
    feature = torch.full_like(predictions.mask_feature, -1)
    feature[:, : len(boxes)].masked_fill_(down[:, :, None] & across[:, None], 1)
    place = torch.linspace(0, cells - 1, count).round().long()
    shown = torch.arange(count) * len(boxes) // count
    categories, kernels = (
        torch.full((cells, maps[0].shape[1]), value, device=boxes.device)
        for maps, value in ((predictions.categories, -10.0), (predictions.kernels, 0.0))
    )
    categories[place, shown % categories.shape[1]] = spread_scores(shown).logit().to(boxes)
    kernels[place, shown] = 10.0
    return predictions._replace(
        categories=_by_level(categories, grids), kernels=_by_level(kernels, grids), mask_feature=feature
    )


@with_instances.register
def _(head: KNetHead, predictions: Any, batch: Batch, boxes: Tensor) -> Any:
    """A kernel for each box."""
    classes, masks = torch.full_like(predictions.classes[-1], -20), torch.full_like(predictions.masks[-1], -10)
    count = min(len(boxes), masks.shape[1])
    numbers = torch.arange(count, device=boxes.device)
    classes[0, numbers, numbers % classes.shape[-1]] = spread_scores(numbers).logit().to(classes)
    masks[0, :count] = drawn_boxes(boxes[:count] / STRIDE, tuple(masks.shape[-2:]))
    return predictions._replace(classes=[classes], masks=[masks])


@with_instances.register
def _(head: MaskClassification, predictions: Any, batch: Batch, boxes: Tensor) -> Any:
    """A query for each box."""
    classes, masks = torch.full_like(predictions.classes[-1], -20), torch.full_like(predictions.masks[-1], -10)
    count = min(len(boxes), masks.shape[1])
    numbers = torch.arange(count, device=boxes.device)
    classes[..., 0] = 0
    classes[0, numbers, 1 + numbers % (classes.shape[-1] - 1)] = spread_scores(numbers).logit().to(classes)
    masks[0, :count] = drawn_boxes(boxes[:count] / STRIDE, tuple(masks.shape[-2:]))
    return predictions._replace(classes=[classes], masks=[masks])


@with_instances.register
def _(head: QueryInstHead, predictions: Any, batch: Batch, boxes: Tensor) -> Any:
    """A query for each box; the masks are the whole boxes."""
    logits, moved = torch.full_like(predictions.logits[-1], -20), predictions.boxes[-1].clone()
    count = min(len(boxes), logits.shape[1])
    numbers = torch.arange(count, device=boxes.device)
    logits[0, numbers, numbers % logits.shape[-1]] = spread_scores(numbers).logit().to(logits)
    moved[0, :count] = boxes[:count].to(moved)
    return predictions._replace(logits=[logits], boxes=[moved], masks=torch.full_like(predictions.masks, 10))


def spread_scores(numbers: Tensor) -> Tensor:
    """numbers [N] from 0 -> scores [N] in 0.5..0.95 that follow no order: parts of multiples of the golden ratio."""
    return 0.5 + 0.45 * (numbers * 0.6180339887 % 1)


def drawn_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """boxes [N,4] xyxy in pixels of maps of (height, width) -> [N,*size] logits: 10 in the pixels touched, else -10."""
    low, high = boxes[:, :2].floor(), boxes[:, 2:].ceil()
    across, down = (
        (place >= low[:, axis, None]) & (place < high[:, axis, None])
        for axis, place in enumerate(torch.arange(side, device=boxes.device) for side in size[::-1])
    )
    return torch.where(down[:, :, None] & across[:, None], 10.0, -10.0)


def with_spread_pairs(predictions: T, count: int) -> tuple[T, Tensor]:
    """Predictions of one image in which `count` pairs of location and class are instances, and no others.

    The pairs are spread evenly; there are fewer where the image has fewer pairs. predictions: a named tuple with
    `classes` [B,L,K] and `centreness` [B,L], both logits, and `sides` [B,L,4], which are copied. Returns the changed
    predictions and the locations [N].
    """
    cells, num_classes = predictions.classes.shape[1:]
    rows, labels = spread_pairs(count, cells=cells, num_classes=num_classes, device=predictions.classes.device)
    changed = predictions._replace(
        classes=torch.full_like(predictions.classes, -20),
        centreness=torch.full_like(predictions.centreness, 20),
        sides=predictions.sides.clone(),
    )
    numbers = torch.arange(len(rows), device=rows.device)
    changed.classes[0, rows, labels] = spread_scores(numbers).logit().to(changed.classes)
    return changed, rows


def spread_pairs(count: int, *, cells: int, num_classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Locations [N] and classes [N] from 0, N = count or all pairs that there are: spread evenly, each pair once."""
    numbers = torch.arange(min(count, cells * num_classes), device=device)
    if len(numbers) <= cells:
        rows = torch.linspace(0, cells - 1, len(numbers), device=device).round().long()
    else:
        rows = numbers % cells
    return rows, (numbers % cells + numbers // cells) % num_classes


def _by_level(cells: Tensor, grids: list[int]) -> list[Tensor]:
    """[cells,C] -> per level [1,C,S,S]."""
    levels = cells.split([grid**2 for grid in grids])
    return [level.T.unflatten(1, (grid, grid))[None] for level, grid in zip(levels, grids, strict=True)]
