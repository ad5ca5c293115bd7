"""Batches on the device, and how long the process waited for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from reprolib.data.loader import Batches, batches
from reprolib.engine import processes
from reprolib.engine.devices import to_device
from reprolib.engine.sharing import divide_step
from reprolib.models.parts import INPUT, LOADER, part
from reprolib.params import Schedule


class DeviceBatch(NamedTuple):
    """A batch as the model takes it, images and targets on the device; `image_ids` on the host."""

    images: list[Tensor]
    targets: list[dict]
    image_ids: list[int]


def training_feed(dataset: Dataset, schedule: Schedule, *, seed: int, start: int, device: str) -> Feed:
    """This process' batches of a run, from iteration `start` on."""
    count = processes.count()
    step_batches, batch_images = divide_step(schedule, processes=count)
    stream = batches(
        dataset,
        batch_size=batch_images,
        seed=seed,
        start=start * step_batches,
        workers=schedule.workers,
        repeat_factor=schedule.repeat_factor,
        shard=(processes.rank(), count),
        pin=torch.device(device).type == "cuda",
    )
    return Feed(stream, device=device)


class Feed:
    """Batches of an endless stream, on the device.

    On a GPU the next batch is copied on a stream of its own while the network works on the current batch; that needs
    batches in pinned memory. `waited`: seconds in which this process stood still for the loader. A GPU may have had
    work left in that time: its own standstill is at most that long.
    """

    def __init__(self, stream: Batches, *, device: str) -> None:
        self.stream, self.device, self.waited = stream, device, 0.0
        on_gpu = torch.device(device).type == "cuda"
        self.copies = torch.cuda.Stream(device) if on_gpu else None
        self.coming: DeviceBatch | None = None

    def __iter__(self) -> Iterator[DeviceBatch]:
        return self

    def __next__(self) -> DeviceBatch:
        if self.copies is None:
            return self._take()
        batch = self.coming or self._copy()
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.copies)
        for tensor in (*batch.images, *(value for target in batch.targets for value in target.values())):
            if isinstance(tensor, Tensor):
                tensor.record_stream(computing)  # its memory belongs to the copying stream
        self.coming = self._copy()
        return batch

    @property
    def loader_images_per_second(self) -> float:
        """What the loader's processes could deliver, see `Batches.images_per_second`."""
        return self.stream.images_per_second

    def _copy(self) -> DeviceBatch:
        with torch.cuda.stream(self.copies):
            return self._take()

    def _take(self) -> DeviceBatch:
        with part(LOADER):
            began = time.perf_counter()
            images, targets = next(self.stream)
            self.waited += time.perf_counter() - began
        with part(INPUT):
            image_ids = [int(target["image_id"]) for target in targets]
            return DeviceBatch(*to_device(images, targets, device=self.device), image_ids)
