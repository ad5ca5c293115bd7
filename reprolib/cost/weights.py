"""Bytes that models take: pretrained weights, trained weights and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import timm

from reprolib.data.cards import class_count
from reprolib.engine.checkpoint import KEEP
from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.backbones import PUBLISHED_WEIGHTS
from reprolib.params import Run, Schedule
from reprolib.pipeline.runs.build import build_model

BYTES = 4  # of a float32
COPIES = 3  # of a run's weights: results/, its last checkpoint in work/, DVC's cache (one fewer where it can link)


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """Parameters of a run's model, and the pretrained weights that it starts from; without them empty and 0."""

    params: int
    trainable_params: int
    backbone: str  # timm's name
    backbone_bytes: int


def model_size(run: Run) -> ModelSize:
    """Count a run's model, built without memory for its weights. Raises ValueError for a data set without a card."""
    classes = class_count(run.dataset)
    numbers = count_parameters(on_meta(lambda: build_model(run, num_classes=classes, pretrained=False)))
    backbone, size = _pretrained(run) if run.scale.pretrained else ("", 0)
    return ModelSize(
        params=numbers["params"],
        trainable_params=numbers["trainable_params"],
        backbone=backbone,
        backbone_bytes=size,
    )


def _pretrained(run: Run) -> tuple[str, int]:
    """timm's name of the backbone's weights, and the bytes of that file: with its classifier, in float32."""
    name = run.scale.backbones.get(run.experiment.backbone, run.experiment.backbone)
    name = PUBLISHED_WEIGHTS.get(name, name)
    whole = on_meta(lambda: timm.create_model(name, pretrained=False))
    return name, BYTES * sum(value.numel() for value in whole.state_dict().values())


def weights_bytes(model: ModelSize) -> int:
    """What a finished run's weights take, all copies."""
    return COPIES * BYTES * model.params


def training_bytes(model: ModelSize, schedule: Schedule) -> int:
    """What a run under way takes in checkpoints: weights and the optimiser's state, the newest ones."""
    state = 2 if schedule.optimizer == "adamw" else int(bool(schedule.momentum))
    return KEEP * BYTES * (model.params + state * model.trainable_params)
