"""The same network computed in another way: memory layout, compiled parts. Both change a model in place.

They change results by rounding, so they are switched on in a schedule and belong to a run's recipe.
"""

from __future__ import annotations

import torch
from torch import nn

from reprolib.params import Schedule

SHAPES = 64  # compiled variants of a function (input shapes times modules); beyond them torch silently stops compiling


def set_computation(model: nn.Module, schedule: Schedule) -> None:
    """Do what the schedule's `channels_last` and `compile` say; raises ValueError as `static_parts` does."""
    if schedule.channels_last:
        use_channels_last(model)
    if schedule.compile:
        compile_static_parts(model)


def use_channels_last(model: nn.Module) -> None:
    """Weights and input in channels-last layout; on a CPU the input always is, see `conv_layout`."""
    model.to(memory_format=torch.channels_last)
    set_input_layout(model, torch.channels_last)


def set_input_layout(model: nn.Module, layout: torch.memory_format) -> None:
    """The backbone's input in a memory layout."""
    first = static_parts(model)[0]
    first.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(memory_format=layout),))


def compile_static_parts(model: nn.Module, *, dynamic: bool | None = None) -> None:
    """torch.compile of the static parts, never of targets, sampling or post-processing, whose shapes vary.

    dynamic: False compiles for every input shape anew; None makes the sides symbolic once they have changed.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, SHAPES)
    for module in static_parts(model):
        module.compile(dynamic=dynamic)


def static_parts(model: nn.Module) -> tuple[nn.Module, ...]:
    """Modules whose shapes depend on the input's alone, the backbone first; raises ValueError for a model without."""
    if not hasattr(model, "static_parts"):
        raise ValueError(
            f"{type(model).__name__} does not name its static parts (see reprolib.models.two_stage.detector): leave"
            " channels_last and compile of the schedule off"
        )
    return model.static_parts()
