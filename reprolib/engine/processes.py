"""One run over several processes that torchrun started: which one this is, and what they tell each other.

In a process that torchrun did not start, every function here is that of the only process, and costs nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from reprolib.engine.devices import pick_device

# A process waits so long for another one, which may be preparing a data set. One that dies is noticed at once: torchrun
# then ends the others.
PATIENCE = timedelta(hours=2)
Value = TypeVar("Value")


class OtherProcessError(RuntimeError):
    """The first process failed; the message is its own."""


def rank() -> int:
    """Number of this process, 0 is the first."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """How many processes work on this run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def under_torchrun() -> bool:
    """Whether this process is one of torchrun's."""
    return dist.is_torchelastic_launched()


@contextlib.contextmanager
def joined(device: str | None = None) -> Iterator[str]:
    """Within, torchrun's processes know each other, and only the first one prints; gives the device of this process.

    device: as `pick_device` returns it, by default what that picks. "cuda" is the GPU of this process' number on its
    machine. Raises ValueError for another GPU than that, or where there is none.
    """
    if not under_torchrun() or int(os.environ["WORLD_SIZE"]) == 1 or dist.is_initialized():
        yield device or pick_device()
        return
    local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local < gpus:
        torch.cuda.set_device(local)  # before anything touches a GPU: each process would leave its trace on the first
    device = device or pick_device()
    if device.startswith("cuda:"):
        raise ValueError(f"each of several processes takes its own GPU: say cuda, not {device}")
    if device == "cuda" and local >= gpus:
        raise ValueError(
            f"{os.environ['LOCAL_WORLD_SIZE']} processes on this machine, but {gpus} GPUs are visible; start one"
            " process per GPU, or choose the device cpu"
        )
    # What is no tensor of a GPU goes through gloo.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    with contextlib.ExitStack() as quiet:
        if rank():
            nowhere = quiet.enter_context(Path(os.devnull).open("w"))
            quiet.enter_context(contextlib.redirect_stdout(nowhere))
        yield device
    dist.destroy_process_group()  # not after an error: others may wait in it, and torchrun ends them


def everyone(value: Value) -> list[Value]:
    """The value of every process, by rank; all of them have to ask."""
    if count() == 1:
        return [value]
    found: list[Value] = [None] * count()
    dist.all_gather_object(found, value)
    return found


def to_first(value: Value) -> list[Value]:
    """In the first process the value of every process, by rank; in the others nothing. All of them have to call."""
    if count() == 1:
        return [value]
    found: list[Value] = [None] * count() if rank() == 0 else []
    dist.gather_object(value, found if rank() == 0 else None)
    return found


def from_first(make: Callable[[], Value]) -> Value:
    """What `make` gives in the first process, which alone calls it; all of them have to ask.

    Raises there what `make` raises, and OtherProcessError in the others.
    """
    if count() == 1:
        return make()
    box: list[tuple[Value | None, str]] = [(None, "")]
    if rank() == 0:
        try:
            box = [(make(), "")]
        except Exception as error:
            dist.broadcast_object_list([(None, f"{type(error).__name__}: {error}")])
            raise
    dist.broadcast_object_list(box)
    value, trouble = box[0]
    if trouble:
        raise OtherProcessError(trouble)
    return value


def after_first(make: Callable[[], Value]) -> Value:
    """What `make` gives; the other processes call it when the first one has, which may have built what it reads."""
    if count() == 1:
        return make()
    own: list[Value] = []
    from_first(lambda: own.append(make()))
    return own[0] if own else make()
