"""The same network computed in another way, whose outputs are compared with those of the eager network."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from reprolib.engine.computation import compile_static_parts, set_input_layout, use_channels_last

TOLERANCE = 1e-3  # between a variant's outputs and eager ones, of the output's largest value


def make_variant(model: nn.Module, variant: str, image: Tensor) -> tuple[nn.Module, float]:
    """A copy of a model in evaluation mode that computes the same in another way, and how far its outputs are off.

    The difference is of what the last of `static_parts` gives, to the largest value of each output. Raises ValueError
    where it is above `TOLERANCE`, and whatever a compiler raises.
    """
    made = copy.deepcopy(model)
    for step in variant_steps(variant):
        step(made)
    with torch.inference_mode():
        expected, outputs = (_static_outputs(network, image) for network in (model, made))
        difference = max(
            ((eager - output).abs().max() / eager.abs().max().clamp(min=1e-12)).item()
            for eager, output in zip(expected, outputs, strict=True)
        )
    if not difference <= TOLERANCE:
        raise ValueError(f"outputs differ from eager ones by {difference:.1e} of the largest, more than {TOLERANCE}")
    return made, difference


def _static_outputs(model: nn.Module, image: Tensor) -> list[Tensor]:
    outputs = model.transform([image])[0].tensors
    for module in model.static_parts():
        outputs = module(outputs)
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _contiguous(model: nn.Module) -> None:
    """The input channels first."""
    set_input_layout(model, torch.contiguous_format)


def _compile(model: nn.Module) -> None:
    """For one input size."""
    # By default the backbone of the ninth system would silently run eagerly.
    torch._dynamo.config.recompile_limit = 1000
    compile_static_parts(model, dynamic=False)


VARIANTS = {"channels_last": use_channels_last, "contiguous": _contiguous, "compile": _compile}


def variant_steps(variant: str) -> list[Callable[[nn.Module], None]]:
    """What makes a variant of a model, in place and in order. Raises ValueError naming what there is."""
    unknown = [name for name in variant.split("+") if name not in VARIANTS]
    if unknown:
        raise ValueError(f"a variant is of {', '.join(VARIANTS)}, several joined by '+'; {unknown[0]!r} is none")
    return [VARIANTS[name] for name in variant.split("+")]
