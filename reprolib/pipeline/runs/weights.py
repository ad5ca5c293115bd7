"""A run's weights: a safetensors file that says which run it is of and which classes its labels mean."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from reprolib.params import Run

# A single key holds all metadata. safetensors writes several keys in an order that differs between processes, and then
# the files of equal trainings, which DVC compares, would differ.
KEY = "reprolib"


class WeightsError(ValueError):
    """Weights that cannot be read or belong to another model; the message names file, field and mend."""


def save_weights(path: Path, model: nn.Module, *, run: Run, categories: Sequence[Mapping[str, object]]) -> None:
    """Write a model's weights atomically; equal weights give equal bytes.

    categories: id and name of each class, by label from 1. A tensor that several modules share is written once, under
    its first name, as safetensors' `load_model` expects.
    """
    first_names = {name for name, _ in chain(model.named_parameters(), model.named_buffers())}
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items() if name in first_names}
    about = {"run": run.id, "profile": run.profile, "categories": [dict(category) for category in categories]}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    save_file(state, part, metadata={KEY: json.dumps(about, sort_keys=True)})
    part.replace(path)


def read_about(path: Path) -> dict[str, object] | None:
    """What `save_weights` wrote beside the weights: run, profile, categories; None where there is nothing.

    Raises FileNotFoundError, or WeightsError for a file that is no safetensors file.
    """
    with _opened(path) as file:
        text = (file.metadata() or {}).get(KEY)
    return None if text is None else json.loads(text)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a file's weights, all of them and no others.

    Raises FileNotFoundError, or WeightsError naming the first weight that does not belong.
    """
    with _opened(path) as file:
        loaded = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    named = dict(chain(model.named_parameters(), model.named_buffers()))
    own = {name: named[name] for name in model.state_dict() if name in named}
    mend = "was it trained as this experiment, under this profile and these params.yaml?"
    absent, foreign = sorted(own.keys() - loaded.keys()), sorted(loaded.keys() - own.keys())
    for names, what in ((absent, "lacks"), (foreign, "has an unknown")):
        if names:
            raise WeightsError(f"{path} {what} {names[0]} (one of {len(names)} such weights); {mend}")
    for name, value in loaded.items():
        if value.shape != own[name].shape:
            raise WeightsError(f"{path}: {name} is {list(value.shape)}, the model's {list(own[name].shape)}; {mend}")
    with torch.no_grad():
        for name, value in loaded.items():
            own[name].copy_(value)


def _opened(path: Path):
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights; `reprolib train EXPERIMENT` makes them")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no safetensors file ({error}); name one that `reprolib train` left") from None
