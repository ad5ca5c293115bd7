"""The device of a run: choosing it, its name and memory, moving data to it."""

from __future__ import annotations

import os
import resource
import sys

import torch
from torch import Tensor

from reprolib.evaluation.environment import cpu_name

OVERRIDE = "REPROLIB_DEVICE"


def pick_device() -> str:
    """ "cuda" where a CUDA device really computes, else "cpu"; the environment variable REPROLIB_DEVICE overrides it.

    Raises ValueError when the override names no device, RuntimeError when the named device does not work.
    """
    override = os.environ.get(OVERRIDE, "").strip()
    if not override:
        if not torch.cuda.is_available():
            return "cpu"
        trouble = _trouble("cuda")
        if trouble:
            print(f"note: CUDA was found but does not work ({trouble}); using the CPU", flush=True)
        return "cpu" if trouble else "cuda"
    try:
        kind = torch.device(override).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"{OVERRIDE}={override!r} names no device; use cpu, cuda or cuda:<index>, or unset it")
    trouble = _trouble(override)
    if trouble:
        raise RuntimeError(f"{OVERRIDE}={override} does not work ({trouble}); unset it or see `reprolib doctor`")
    return override


def hardware_name(device: str) -> str:
    """The product name of the GPU, or of the processor with the threads in use: "AMD EPYC, 2 threads"."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"


def peak_memory_mb(device: str) -> float:
    """Most memory used so far, in MiB: by tensors on a GPU, by the whole process on a CPU."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 2**20  # macOS counts bytes, Linux KiB


def synchronise(device: str) -> None:
    """Wait until the device has finished all its work, so that times taken afterwards are right."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def to_device(images: list[Tensor], targets: list[dict], *, device: str) -> tuple[list[Tensor], list[dict]]:
    """Images uint8 [3,H,W] -> float [3,H,W] in 0..1, and targets, as plain tensors on the device.

    Bytes are copied, a quarter of the size of floats. Raises TypeError for images of another type.
    """
    moved = []
    for image in images:
        if image.dtype != torch.uint8:
            raise TypeError(f"a data set's images must be uint8 [3,H,W], not {image.dtype} {list(image.shape)}")
        moved.append(image.as_subclass(Tensor).to(device, non_blocking=True).float().div_(255))
    return moved, [
        {
            key: value.as_subclass(Tensor).to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for key, value in target.items()
        }
        for target in targets
    ]


def _trouble(device: str) -> str:
    """Why a small computation fails on the device, or "". A driver may list a GPU that torch has no code for."""
    try:
        (torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)).sum().item()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return ""


def use_cpu_threads(count: int) -> None:
    """Let torch's CPU operators use `count` threads; 0 leaves it as it is."""
    if count:
        torch.set_num_threads(count)
