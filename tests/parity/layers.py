"""Outputs of every layer with a matrix or a kernel, and gradients of every parameter, under the reference's names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from tests.parity.recording import Recording
from tests.parity.renames import Renames


def layer_names(shapes: Mapping[str, tuple[int, ...]], renames: Renames) -> list[str]:
    """The reference's modules that own a matrix or a kernel and whose output is that of a module of ours.

    detectron2's convolutions run their norm themselves; what is compared then is the norm's output.
    """
    names = [
        name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) > 1 and name.endswith(".weight")
    ]
    names = [f"{name}.norm" if f"{name}.norm.weight" in shapes else name for name in names]
    return [name for name in names if renames(name) is not None and not renames.is_apart(name)]


@contextmanager
def recorded_layers(
    model: nn.Module, shapes: Mapping[str, tuple[int, ...]], renames: Renames, recording: Recording, *, ours: bool
) -> Iterator[None]:
    """Within, what the layers compute goes into the tables `layers PART`, a row per call.

    ours: the model is of this suite, its modules have other names than the rows and the background's channel first.
    """
    calls: dict[str, int] = {}
    with ExitStack() as stack:
        for name in layer_names(shapes, renames):
            module = model.get_submodule(renames(name) if ours else name)
            rolled = ours and renames.rolled(name)

            def keep(_module, _inputs, output: Tensor, *, name: str = name, rolled: bool = rolled) -> None:
                calls[name] = calls.get(name, 0) + 1
                output = background_last(output, axis=1 if output.ndim == 4 else -1) if rolled else output
                recording.sample(f"layers {part_of(renames(name))}", f"{name} {calls[name]}", output)

            handle = module.register_forward_hook(keep)
            stack.callback(handle.remove)
        yield


def part_of(our_name: str) -> str:
    """The part of the detector that a module of ours belongs to: `neck`, `roi_heads.mask_branch`."""
    steps = our_name.split(".")
    return ".".join(steps[:2]) if steps[0] == "roi_heads" else steps[0]


def background_last(values: Tensor, *, axis: int) -> Tensor:
    """Our order of classes, background first, in the references' order."""
    return values.roll(-1, axis)


def background_first(values: Tensor, *, axis: int) -> Tensor:
    """The references' order of classes, background last, in ours."""
    return values.roll(1, axis)


def record_gradients(
    losses: Mapping[str, Tensor], parameters: Mapping[str, tuple[nn.Parameter, bool]], recording: Recording
) -> None:
    """The tables `gradients LOSS`, of each kind of loss summed over its stages.

    parameters: the reference's name -> our or their parameter, and whether its rows are to be rolled.
    """
    kinds: dict[str, list[Tensor]] = {}
    for name, loss in losses.items():
        kinds.setdefault(re.sub(r"_\d+$", "", name), []).append(loss)
    trained = {name: pair for name, pair in parameters.items() if pair[0].requires_grad}
    for kind, parts in kinds.items():
        values = torch.autograd.grad(
            sum(parts), [parameter for parameter, _ in trained.values()], retain_graph=True, allow_unused=True
        )
        for (name, (parameter, rolled)), value in zip(trained.items(), values, strict=True):
            value = torch.zeros_like(parameter) if value is None else value
            recording.sample(f"gradients {kind}", name, background_last(value, axis=0) if rolled else value)


@contextmanager
def first_come() -> Iterator[None]:
    """Within, nothing is drawn at random, in any code base: `torch.randperm` gives rising numbers, and `torch.rand` of
    three axes, points of boxes, the same for every box, because the code bases order their boxes differently.
    """
    permutation, uniform = torch.randperm, torch.rand

    def rising(count: int, **options) -> Tensor:
        return torch.arange(count, device=options.get("device"))

    def the_same_for_all(*size, **options) -> Tensor:
        shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
        if len(shape) != 3:
            return uniform(*size, **options)
        return uniform(shape[1:], generator=torch.Generator().manual_seed(shape[1])).expand(shape).clone()

    torch.randperm, torch.rand = rising, the_same_for_all
    try:
        yield
    finally:
        torch.randperm, torch.rand = permutation, uniform
