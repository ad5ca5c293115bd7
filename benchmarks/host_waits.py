"""Where the host waits for the device: counted by source line of the package, also on a machine without a GPU.

A host gives a GPU work faster than the GPU does it, until the host asks for a value: then the queue runs empty.
`count_waits` lets tensors say that they are on a CUDA device while they are computed on the CPU. The code then takes
its paths for GPUs, and what CUDA would wait for is counted (`benchmarks.wait_causes`). Tensors that are made without
naming a device are the host's, and reading them is free. On a real GPU `cuda_waits` counts what torch's own
synchronisation check reports.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

import reprolib
from benchmarks.wait_causes import COPIED, READ, index_copies, operator_waits

PACKAGE = Path(reprolib.__file__).resolve().parent
PASSED = {str(PACKAGE / "models/on_device.py")}  # it waits on behalf of its callers, whose lines are counted
DEVICE, HOST = torch.device("cuda", 0), torch.device("cpu")
MAKERS = (torch.tensor, torch.as_tensor, Tensor.new_tensor)
READERS = (Tensor.cpu, Tensor.numpy, Tensor.tolist)


class Wait(NamedTuple):
    """Why the host waits, and the innermost line of the package that makes it wait."""

    place: str  # for example "models/samples.py:41 draw"
    cause: str


@contextmanager
def count_waits() -> Iterator[Counter[Wait]]:
    """Within, what CUDA would wait for is counted, the backward pass included; computed on the CPU.

    Tensors that exist already count as the device's. Not seen: what an operator's kernel does inside beyond the known
    causes, and code that the package runs outside of torch.
    """
    seen: Counter[Wait] = Counter()
    host = WeakIdKeyDictionary()  # tensors on the host; all others are the device's
    operators = _Operators(seen, host)
    with operators, _Pretence(seen, host, operators):
        yield seen


@contextmanager
def cuda_waits() -> Iterator[Counter[Wait]]:
    """Within, the waits that torch's synchronisation check reports are counted; for a real GPU."""
    seen: Counter[Wait] = Counter()
    shown, mode = warnings.showwarning, torch.cuda.get_sync_debug_mode()

    def note(message: Warning | str, *others: object, **more: object) -> None:
        if "synchronizing" in str(message):
            seen[Wait(_place(), "as CUDA reports")] += 1
        else:
            shown(message, *others, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode(mode)
            warnings.showwarning = shown


class _Operators(TorchDispatchMode):
    """Sees every operator, whoever calls it."""

    def __init__(self, seen: Counter[Wait], host: WeakIdKeyDictionary) -> None:
        super().__init__()
        self.seen, self.host, self.quiet = seen, host, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not self.quiet:
            cause, times = operator_waits(func, args, kwargs)
            if times and not all(tensor in self.host for tensor in _tensors(args)):
                self.seen[Wait(_place(), cause)] += times
        return func(*args, **kwargs)


class _Pretence(TorchFunctionMode):
    """Sees every call of torch from Python: says where tensors are, and what is copied between host and device."""

    def __init__(self, seen: Counter[Wait], host: WeakIdKeyDictionary, operators: _Operators) -> None:
        super().__init__()
        self.seen, self.host, self.operators = seen, host, operators

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        on_device = any(tensor not in self.host for tensor in _tensors((args, kwargs)))
        if getattr(func, "__name__", "") == "__get__":
            return self._attribute(func, args, on_device)
        if func is Tensor.to:
            return self._moved(args, kwargs)
        asked = kwargs.get("device")
        if asked is not None:
            on_device = torch.device(asked).type == DEVICE.type
            kwargs["device"] = HOST
        if func in MAKERS:
            data = args[1] if func is Tensor.new_tensor else args[0] if args else kwargs["data"]
            was = isinstance(data, Tensor) and data not in self.host
            on_device = on_device if asked is not None or func is Tensor.new_tensor else was
            if on_device and not was:
                self._note(COPIED)
        elif func in READERS and on_device:
            self._note(READ)
            if func is Tensor.cpu:
                return self._placed(args[0].clone(), on_device=False)
        elif func in (Tensor.__getitem__, Tensor.__setitem__) and args[0] not in self.host:
            copies, silent = index_copies(args[1], args[2] if len(args) > 2 else None, self.host)
            for _ in range(copies):
                self._note(COPIED)
            return self._placed(self._run(func, args, kwargs, quiet=silent), on_device=True)
        # With a number of classes CUDA leaves the check of the labels to its kernel; a CPU reads them.
        quiet = func is torch.nn.functional.one_hot and (len(args) > 1 or "num_classes" in kwargs)
        return self._placed(self._run(func, args, kwargs, quiet=quiet), on_device=on_device)

    def _attribute(self, func: Callable, args: tuple, on_device: bool) -> object:
        name = func.__self__.__name__
        if name == "device":
            return DEVICE if on_device else HOST
        if name in ("is_cuda", "is_cpu"):
            return on_device == (name == "is_cuda")
        return self._placed(func(*args), on_device=on_device)

    def _moved(self, args: tuple, kwargs: dict) -> Tensor:
        """`Tensor.to`: a type, a device, both, or another tensor's."""
        tensor, *rest = args
        was, target = tensor not in self.host, None
        for number, value in enumerate(rest):
            if isinstance(value, str | torch.device):
                target, rest[number] = torch.device(value).type == DEVICE.type, HOST
            elif isinstance(value, Tensor):
                target = value not in self.host
        if kwargs.get("device") is not None:
            target = torch.device(kwargs["device"]).type == DEVICE.type
            kwargs["device"] = HOST
        result = tensor.to(*rest, **kwargs)
        if target is None or target == was:
            return self._placed(result, on_device=was)
        if not (target and kwargs.get("non_blocking")):  # the loader's memory is pinned
            self._note(COPIED if target else READ)
        return self._placed(result.clone() if result is tensor else result, on_device=target)

    def _run(self, func: Callable, args: tuple, kwargs: dict, *, quiet: bool) -> object:
        before, self.operators.quiet = self.operators.quiet, self.operators.quiet or quiet
        try:
            return func(*args, **kwargs)
        finally:
            self.operators.quiet = before

    def _placed(self, result: object, *, on_device: bool) -> object:
        if not on_device:
            for tensor in _tensors(result):
                self.host[tensor] = True
        return result

    def _note(self, cause: str) -> None:
        self.seen[Wait(_place(), cause)] += 1


def _tensors(values: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _place() -> str:
    """The innermost frame of the package: path in it, line and function."""
    frame = sys._getframe()
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(str(PACKAGE)) and name not in PASSED:
            path = Path(name).relative_to(PACKAGE).as_posix()
            return f"{path}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"
