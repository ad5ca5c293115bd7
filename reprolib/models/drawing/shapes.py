"""Shapes that the parts of a detector see; on the meta device this costs neither memory nor work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple

from torch import Tensor, nn

Shape = tuple[int, ...]


class Seen(NamedTuple):
    """Shapes of one module's inputs and outputs, nested ones in order."""

    inputs: list[Shape]
    outputs: list[Shape]


def shapes_seen(
    model: nn.Module, modules: Mapping[str, nn.Module], *, height: int, width: int, proposals: int, detections: int
) -> dict[str, Seen]:
    """What the named modules take and give at their first call in `model.dry_run`, by name.

    A module whose parts are called instead of itself is seen from its first part's input to its last one's output.
    Modules that are not called are left out.
    """
    whole: dict[str, Seen] = {}
    parts: dict[str, list[Seen]] = {}

    def note(name: str, is_part: bool):
        def hook(module: nn.Module, inputs: tuple, output: object) -> None:
            seen = Seen(
                [tuple(tensor.shape) for tensor in tensors(inputs)], [tuple(tensor.shape) for tensor in tensors(output)]
            )
            if is_part:
                parts.setdefault(name, []).append(seen)
            else:
                whole.setdefault(name, seen)

        return hook

    with ExitStack() as hooks:
        for name, module in modules.items():
            for inner in module.modules():
                handle = inner.register_forward_hook(note(name, inner is not module))
                hooks.callback(handle.remove)
        model.dry_run(height, width, proposals=proposals, detections=detections)
    joined = {name: Seen(calls[0].inputs, calls[-1].outputs) for name, calls in parts.items()}
    return {name: whole.get(name, joined.get(name)) for name in modules if name in whole or name in joined}


def shape_text(shapes: list[Shape]) -> str:
    """Without the batch's dimension, for example `256×14×14, 256×14×14`."""
    return ", ".join("×".join(map(str, shape[1:])) for shape in shapes)


def block_rows(modules: Mapping[str, nn.Module], seen: Mapping[str, Seen]) -> list[dict[str, object]]:
    """Input, output and parameters of every module that was seen (`shapes_seen`), in the order of `modules`."""
    return [
        {
            "block": name,
            "input": shape_text(seen[name].inputs),
            "output": shape_text(seen[name].outputs),
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
        }
        for name, module in modules.items()
        if name in seen
    ]


def tensors(value: object) -> Iterator[Tensor]:
    """All tensors of nested lists, tuples and mappings, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)
