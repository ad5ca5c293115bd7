"""A run over several processes that torchrun started: the rank of this process, and values sent between them.

In a process that torchrun did not start, every function treats it as the only process and costs nothing.
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

# How long a process waits for another, which may be preparing a data set. When a process dies, torchrun ends the others
# at once.
TIMEOUT = timedelta(hours=2)
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
def process_group(device: str | None = None) -> Iterator[str]:
    """Within, torchrun's processes are connected, and only the first prints; gives the device of this process.

    device: as `pick_device` returns it, which is the default. "cuda" is the GPU of this process' number on its
    machine. Raises ValueError for another GPU than that, or where there is none.
    """
    if not under_torchrun() or int(os.environ["WORLD_SIZE"]) == 1 or dist.is_initialized():
        yield device or pick_device()
        return
    local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local < gpus:
        torch.cuda.set_device(local)  # before anything uses a GPU: else each process takes memory on the first GPU
    device = device or pick_device()
    if device.startswith("cuda:"):
        raise ValueError(f"each of several processes takes its own GPU: say cuda, not {device}")
    if device == "cuda" and local >= gpus:
        raise ValueError(
            f"{os.environ['LOCAL_WORLD_SIZE']} processes on this machine, but {gpus} GPUs are visible; start one"
            " process per GPU, or choose the device cpu"
        )
    # gloo sends all that is not a tensor on a GPU.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)
    with contextlib.ExitStack() as stack:
        if rank():
            devnull = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(contextlib.redirect_stdout(devnull))
        yield device
    dist.destroy_process_group()  # not after an error: others may wait for it, and torchrun ends them


def gather(value: Value) -> list[Value]:
    """The values of all processes, by rank. All processes have to call."""
    if count() == 1:
        return [value]
    values: list[Value] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def gather_in_first(value: Value) -> list[Value]:
    """In the first process the values of all processes, by rank; in the others []. All processes have to call."""
    if count() == 1:
        return [value]
    values: list[Value] = [None] * count() if rank() == 0 else []
    dist.gather_object(value, values if rank() == 0 else None)
    return values


def from_first(make: Callable[[], Value]) -> Value:
    """What `make` returns in the first process, the only one that calls it. All processes have to call this function.

    An error of `make` is raised in the first process, and as OtherProcessError in the others.
    """
    if count() == 1:
        return make()
    message: list[tuple[Value | None, str]] = [(None, "")]
    if rank() == 0:
        try:
            message = [(make(), "")]
        except Exception as error:
            dist.broadcast_object_list([(None, f"{type(error).__name__}: {error}")])
            raise
    dist.broadcast_object_list(message)
    value, trouble = message[0]
    if trouble:
        raise OtherProcessError(trouble)
    return value


def after_first(make: Callable[[], Value]) -> Value:
    """What `make` returns. The first process calls it before the others do, who may read what it has written."""
    if count() == 1:
        return make()
    made: list[Value] = []
    from_first(lambda: made.append(make()))
    return made[0] if made else make()
