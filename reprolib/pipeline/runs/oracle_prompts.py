"""Prompt a trained detector with the boxes of what it missed; see `reprolib.evaluation.oracle_prompts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from reprolib.data.coco import CocoInstances
from reprolib.engine.devices import to_device
from reprolib.engine.inference import coco_results

AT_ONCE = 100  # boxes: their masks of image size are held together


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
