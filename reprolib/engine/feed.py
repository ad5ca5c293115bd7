"""Batches on the device, and how long was waited for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from reprolib.data.loader import Batch
from reprolib.engine.devices import to_device
from reprolib.models.parts import INPUT, LOADER, part


class Fed(NamedTuple):
    """A batch as the model takes it, images and targets on the device; `image_ids` on the host."""

    images: list[Tensor]
    targets: list[dict]
    image_ids: list[int]


class Feed:
    """Batches of an endless stream, on the device.

    On a GPU the next batch is copied on a stream of its own while the network works on this one; that takes batches in
    pinned memory. `waited`: seconds in which this process stood still for the loader; on a GPU, which may have had
    work left, at most the time that it stood still.
    """

    def __init__(self, stream: Iterator[Batch], *, device: str) -> None:
        self.stream, self.device, self.waited = stream, device, 0.0
        on_gpu = torch.device(device).type == "cuda"
        self.copies = torch.cuda.Stream(device) if on_gpu else None
        self.coming: Fed | None = None

    def __iter__(self) -> Iterator[Fed]:
        return self

    def __next__(self) -> Fed:
        if self.copies is None:
            return self._take()
        batch = self.coming or self._copy()
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.copies)
        for tensor in (*batch.images, *(value for target in batch.targets for value in target.values())):
            if isinstance(tensor, Tensor):
                tensor.record_stream(computing)  # its memory is the copying stream's
        self.coming = self._copy()
        return batch

    def _copy(self) -> Fed:
        with torch.cuda.stream(self.copies):
            return self._take()

    def _take(self) -> Fed:
        with part(LOADER):
            began = time.perf_counter()
            images, targets = next(self.stream)
            self.waited += time.perf_counter() - began
        with part(INPUT):
            image_ids = [int(target["image_id"]) for target in targets]
            return Fed(*to_device(images, targets, device=self.device), image_ids)
