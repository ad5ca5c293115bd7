"""The parts of an inference and of a training step: code that runs one announces it, and a listener may time it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Image to batch; batch to C2..; C2.. to the pyramid; learned layers behind it; the selection (NMS) of proposals and
# detections, and masks to the size of the image given.
INPUT, BACKBONE, NECK, HEAD, POST_PROCESSING = PARTS = ("input", "backbone", "neck", "head", "post-processing")
# Of a training step besides: reading a batch; what the model does outside its parts, losses above all (the RoI heads'
# are of their head); gradients; clipping and the update of the weights.
LOADER, LOSSES, BACKWARD, OPTIMISER = "loader", "losses", "backward", "optimiser"

_running: ContextVar[str] = ContextVar("running", default="")
_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


@contextmanager
def part(name: str) -> Iterator[None]:
    """What runs within, or a function under `@part(name)`, is of that part; inside another one, of the inner."""
    listener = _listener.get()
    if listener is None:
        yield
        return
    outer = _running.set(name)
    listener(name)
    try:
        yield
    finally:
        _running.reset(outer)
        listener(_running.get())


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Within, listener(name) is called in this thread when a part begins or goes on; "" is outside all parts."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
