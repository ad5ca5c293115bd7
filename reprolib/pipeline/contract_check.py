"""Whether an experiment's network keeps the detector contract: built thin, trained for two steps, and run.

In the second step one image has no instances; the network runs once with detections, and once without.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.experiment import Experiment
from reprolib.models.builder import build_system
from reprolib.models.input_transform import InputSize
from reprolib.params import Scale

SIDE, CLASSES = 128, 2
ANY_SCORE, NO_SCORE = 0.001, 1.0  # thresholds above which nearly every score lies, and none


def broken_contract(experiment: Experiment) -> str:
    """What is wrong with the network, as the end of a sentence; empty where it keeps the contract."""
    torch.manual_seed(0)
    try:
        model = _thin(experiment)
        images, targets = _scenes()
        trouble = _training_trouble(model, images, targets) or _inference_trouble(model, images)
        return trouble or _inference_trouble(_thin(experiment, score_threshold=NO_SCORE), images)
    except Exception as error:  # a paper is code of others: whatever it raises is its trouble
        return f"fails: {type(error).__name__}: {error}"


def _thin(experiment: Experiment, *, score_threshold: float = ANY_SCORE) -> nn.Module:
    stand_in = "hrnet_w18_small" if experiment.backbone.startswith("hrnet") else "test_resnet"
    scale = Scale(
        backbones={experiment.backbone: stand_in},
        norm="group",
        pretrained=False,
        frozen_stages=0,
        channels=32,
        box_hidden=32,
        anchor_sizes=(8, 16, 32, 64, 128),
        rpn_pre_nms=(40, 40),
        rpn_post_nms=(40, 20),
        rpn_batch=64,
        roi_batch=16,
        detections=8,
        score_threshold=score_threshold,
    )
    return build_system(
        experiment.load_module(),
        num_classes=CLASSES,
        backbone=experiment.backbone,
        scale=scale,
        input_size=InputSize(min_sizes=(SIDE,), test_size=SIDE, max_size=2 * SIDE),
        images_per_batch=2,
        components=experiment.components,
        switches=experiment.switches,
    )


def _scenes() -> tuple[list[Tensor], list[dict]]:
    """Two images [3,SIDE,SIDE] of noise with a brighter rectangle of each class, and their targets."""
    boxes = torch.tensor([[12, 16, 60, 88], [64, 40, 120, 104]])
    masks = torch.zeros((2, SIDE, SIDE), dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    images = [torch.rand(3, SIDE, SIDE) * 0.3 + 0.5 * masks.any(0) for _ in range(2)]
    target = {"boxes": boxes.float(), "labels": torch.tensor([1, 2]), "masks": masks}
    return images, [target | {"image_id": number} for number in range(2)]


def _training_trouble(model: nn.Module, images: list[Tensor], targets: list[dict]) -> str:
    model.train()
    optimiser = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=1e-4)
    empty = targets[0] | {key: targets[0][key][:0] for key in ("boxes", "labels", "masks")}
    for step, shown in ((1, targets), (2, [empty, *targets[1:]])):
        losses = model(images, shown)
        if not isinstance(losses, dict) or not losses:
            return "does not return its losses by name in training"
        for name, loss in losses.items():
            if loss.shape != () or not loss.isfinite():
                return f"has a loss {name} in step {step} that is no finite scalar"
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    return ""


def _inference_trouble(model: nn.Module, images: list[Tensor]) -> str:
    with torch.inference_mode():
        detections = model.eval()(images)
    if not isinstance(detections, list) or len(detections) != len(images):
        return "does not return one entry for each image in inference"
    for found in detections:
        if missing := [name for name in ("boxes", "labels", "scores", "masks") if name not in found]:
            return f"has no {missing[0]!r} in its detections"
        count = len(found["scores"])
        shapes = {"boxes": (count, 4), "labels": (count,), "masks": (count, SIDE, SIDE)}
        for name, shape in shapes.items():
            if tuple(found[name].shape) != shape:
                return f"has {name} {list(found[name].shape)} beside {count} scores; they must be {list(shape)}"
        if found["masks"].dtype != torch.bool:
            return f"has masks of type {found['masks'].dtype}; they must be bool"
        if count and not 1 <= int(found["labels"].min()) <= int(found["labels"].max()) <= CLASSES:
            return f"has labels outside 1 to {CLASSES}"
    return ""
