"""The detector of a run."""

from __future__ import annotations

import dataclasses

from torch import nn

from reprolib.engine.seeds import seed_everything
from reprolib.params import Run


def build_model(run: Run, *, num_classes: int, pretrained: bool = True) -> nn.Module:
    """Build a run's detector for `num_classes` foreground classes, its random weights drawn from the run's seed.

    pretrained=False leaves out the backbone's weights even where the run asks for them: to count or to load over.
    """
    seed_everything(run.seed)
    experiment = run.experiment
    scale = dataclasses.replace(run.scale, pretrained=run.scale.pretrained and pretrained)
    return experiment.load_module().build(
        num_classes=num_classes,
        backbone=experiment.backbone,
        components=experiment.components,
        scale=scale,
        schedule=run.schedule,
        **experiment.switches,
    )
