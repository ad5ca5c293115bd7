"""How the images of a step are divided into batches over processes, and how their gradients are averaged."""

from __future__ import annotations

import contextlib
import math
from contextlib import AbstractContextManager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from reprolib.engine.processes import count
from reprolib.params import Schedule


def divide_step(schedule: Schedule, *, processes: int) -> tuple[int, int]:
    """(batches of a step for each process, images of a batch).

    A step's images are cut into equal batches in their order, as few as both `accumulate` and the number of processes
    divide; the processes take them in turns. So `accumulate` is shared first: 2 on one process is 1 on each of two,
    with the same batches, hence the same gradients whatever a loss divides by.

    The gradient of a step is the mean over its batches. It equals that of a single large batch where losses are means
    over images; losses that divide by a batch's number of instances or samples, and batch norm, see the small batch.

    Raises ValueError where batches would be unequal.
    """
    for name in ("batch_size", "accumulate", "log_every", "checkpoint_every"):
        if getattr(schedule, name) < 1:
            raise ValueError(f"schedule: {name} must be at least 1, not {getattr(schedule, name)}")
    pieces = math.lcm(schedule.accumulate, processes)
    if schedule.batch_size % pieces:
        if processes == 1:
            raise ValueError(
                f"schedule: batch_size {schedule.batch_size} (images per step, all of them) is not divisible by"
                f" accumulate {schedule.accumulate}; change one of them in params.yaml"
            )
        raise ValueError(
            f"schedule: {processes} processes cannot share batch_size {schedule.batch_size} (images per step, all of"
            f" them) in {pieces} equal batches (accumulate {schedule.accumulate}); start another number of processes"
        )
    return pieces // processes, schedule.batch_size // pieces


def data_parallel(model: nn.Module, *, images: int) -> nn.Module:
    """The model itself in a single process, else wrapped so that gradients are averaged over the processes.

    images: in a batch of this process.
    """
    if count() == 1:
        return model
    if any(isinstance(module, _BatchNorm) and module.training for module in model.modules()):
        print(f"note: batch norm sees the {images} images of a process, not all of the step's", flush=True)
    # Which heads run may differ between processes, by what their images hold. Each process keeps its own statistics of
    # norms, as in the published engines; those of the first process are saved.
    return DistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=True)


def average_gradients(network: nn.Module, *, last: bool) -> AbstractContextManager:
    """For the forward and backward pass of a batch: gradients are averaged over processes in a step's last batch.

    They have then been summed over the batches before it. network: as `data_parallel` gives it.
    """
    if last or not isinstance(network, DistributedDataParallel):
        return contextlib.nullcontext()
    return network.no_sync()
