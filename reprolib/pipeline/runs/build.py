"""The detector of a run."""

from __future__ import annotations

import dataclasses

from torch import nn

from reprolib.engine.seeds import seed_everything
from reprolib.models.builder import build_system
from reprolib.models.input_transform import InputSize
from reprolib.params import Run, Schedule


def build_model(run: Run, *, num_classes: int, pretrained: bool = True) -> nn.Module:
    """Build a run's detector for `num_classes` foreground classes, its random weights drawn from the run's seed.

    pretrained=False leaves out the backbone's weights even where the run asks for them: to count or to load over.
    Raises ValueError for components, switches and values that the system does not have.
    """
    seed_everything(run.seed)
    experiment = run.experiment
    return build_system(
        experiment.load_module(),
        num_classes=num_classes,
        backbone=experiment.backbone,
        scale=dataclasses.replace(run.scale, pretrained=run.scale.pretrained and pretrained),
        input_size=input_size_of(run.schedule),
        images_per_batch=run.schedule.batch_size // run.schedule.accumulate,
        components=experiment.components,
        switches=experiment.switches,
    )


def input_size_of(schedule: Schedule) -> InputSize:
    """The sizes at which a schedule trains and tests."""
    return InputSize(min_sizes=schedule.min_sizes, max_size=schedule.max_size, test_size=schedule.test_size)
