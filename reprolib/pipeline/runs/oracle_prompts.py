"""Prompt a trained detector with the boxes of what it missed; see `reprolib.evaluation.oracle_prompts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from reprolib.data.coco import CocoInstances
from reprolib.engine.devices import to_device
from reprolib.engine.inference import coco_results
from reprolib.evaluation.oracle_prompts import evaluate_oracle, missed_boxes
from reprolib.evaluation.protocols import Protocol
from reprolib.params import Run

AT_ONCE = 100  # boxes in a batch: their masks, of the image's size, are in memory together


def oracle_metrics(
    run: Run,
    model: nn.Module,
    dataset: CocoInstances,
    ground_truth: Mapping[str, object],
    detections: Sequence[Mapping[str, object]],
    *,
    protocol: Protocol,
    device: str,
) -> dict[str, float | None]:
    """The metrics of `evaluate_oracle` after prompting with what `detections` missed.

    Detections and prompted masks together are as many as the model may give for an image.
    """
    limit = run.scale.detections
    prompted = prompt(model, dataset, missed_boxes(ground_truth, detections), device=device)
    return evaluate_oracle(
        ground_truth,
        detections,
        prompted,
        limit=limit,
        max_detections=protocol.limit(limit),
        sizes=protocol.sizes,
    )


@torch.inference_mode()
def prompt(
    model: nn.Module, dataset: CocoInstances, boxes: Mapping[object, Sequence[Sequence[float]]], *, device: str
) -> list[dict[str, object]]:
    """COCO results of a detector prompted with boxes [x1,y1,x2,y2] by image id; the model finds their classes.

    Each image is encoded once. Raises ValueError for a model that takes no prompts.
    """
    if not hasattr(model, "segment"):
        raise ValueError(f"{type(model).__name__} takes no box prompts: it has no `segment`")
    model.to(device).eval()
    results = []
    for index, image_id in enumerate(dataset.image_ids):
        if not boxes.get(image_id):
            continue
        (image,), _ = to_device([dataset[index][0]], [], device=device)
        encoded = model.encode(image)
        for part in torch.tensor(boxes[image_id], dtype=torch.float32, device=device).split(AT_ONCE):
            results += coco_results(
                model.segment(encoded, part),
                image_id=image_id,
                category_ids=dataset.category_ids,
                size=dataset.sizes[index],
            )
    return results
