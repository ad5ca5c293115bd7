"""How the images of a step are divided over processes, and gradients brought together again."""

from __future__ import annotations

import math

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from reprolib.engine.processes import count as process_count
from reprolib.params import Schedule


def share(schedule: Schedule, *, count: int) -> tuple[int, int]:
    """How many batches of how many images each of `count` processes takes of one step.

    A step's images are cut into equal batches in their order, as few as both `accumulate` and the processes divide;
    the processes take them in turns. So `accumulate` is shared first: 2 on one process is 1 on each of two, with the
    same batches, hence the same gradients whatever a loss divides by. Raises ValueError where batches would be unequal.
    """
    for name in ("batch_size", "accumulate", "log_every", "checkpoint_every"):
        if getattr(schedule, name) < 1:
            raise ValueError(f"schedule: {name} must be at least 1, not {getattr(schedule, name)}")
    pieces = math.lcm(schedule.accumulate, count)
    if schedule.batch_size % pieces:
        if count == 1:
            raise ValueError(
                f"schedule: batch_size {schedule.batch_size} (images per step, all of them) is not divisible by"
                f" accumulate {schedule.accumulate}; change one of them in params.yaml"
            )
        raise ValueError(
            f"schedule: {count} processes cannot share batch_size {schedule.batch_size} (images per step, all of them)"
            f" in {pieces} equal batches (accumulate {schedule.accumulate}); start another number of processes"
        )
    return pieces // count, schedule.batch_size // pieces


def shared(model: nn.Module, *, images: int) -> nn.Module:
    """The model, or with several processes what averages its gradients over them."""
    if process_count() == 1:
        return model
    if any(isinstance(module, _BatchNorm) and module.training for module in model.modules()):
        print(f"note: batch norm sees the {images} images of a process, not all of the step's", flush=True)
    # Which heads run may differ between processes, by what their images hold. Statistics of norms stay a process' own,
    # as in the published engines; the first one's are kept.
    return DistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=True)
