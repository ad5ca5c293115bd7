"""Batches: an endless stream that depends on nothing but the data set and the seed."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from reprolib.data.transforms import derived_seed, seeded

Batch = tuple[list[torch.Tensor], list[dict]]


def batches(
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    workers: int = 0,
    repeat_factor: float = 0.0,
    shard: tuple[int, int] = (0, 1),
    pin: bool = False,
) -> Batches:
    """Endless batches (images, targets): lists of uint8 [3, H, W] and of targets as the data set gives them,
    plain tensors.

    Epoch after epoch each item comes once, in an order drawn from (seed, epoch); batches run across the end
    of an epoch and are always full. An item's augmentation draws from (seed, epoch, position in the epoch).
    So the stream from batch `start` on is the stream from 0 on without its first `start` batches, for any
    number of workers.

    shard: (this process, of so many): it gets every so-many-th batch. `start` counts its own, so the stream is the same
    however many processes read it.

    pin: in memory from which a GPU can copy while it works.

    repeat_factor: threshold t of LVIS's repeat factor sampling (Gupta et al. 2019, section 4.2), 0 is off;
    the data set needs `image_labels`.
    """
    rank, count = shard
    if batch_size < 1 or start < 0 or workers < 0 or not 0 <= rank < count:
        raise ValueError(f"batch_size {batch_size}, start {start}, workers {workers} or shard {shard} cannot be")
    if not len(dataset):
        raise ValueError("the data set is empty")
    factors = repeat_factors(dataset.image_labels, threshold=repeat_factor) if repeat_factor else np.ones(len(dataset))
    items = _items(factors, seed=seed, start=start * count * batch_size)
    everyones = (list(itertools.islice(items, batch_size)) for _ in itertools.count())
    grouped = itertools.islice(everyones, rank, None, count)
    source = _Seeded(dataset)
    if workers == 0 and not pin:
        return Batches((source.__getitems__(batch) for batch in grouped), workers=workers)
    loader = DataLoader(
        source,
        batch_sampler=grouped,
        num_workers=workers,
        collate_fn=_unchanged,
        pin_memory=pin,
        generator=torch.Generator(),  # else it draws from the global stream, which training resumes exactly
    )
    return Batches(iter(loader), workers=workers)


class Batches:
    """The stream that `batches` gives, and how fast it could be."""

    def __init__(self, source: Iterator[tuple[Batch, float]], *, workers: int) -> None:
        self._source, self._readers = source, max(1, workers)
        self._images, self._seconds = 0, 0.0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch, seconds = next(self._source)
        self._images += len(batch[0])
        self._seconds += seconds
        return batch

    @property
    def images_per_second(self) -> float:
        """What the readers could deliver without pauses, from the time that they took for the images so far."""
        return self._readers * self._images / self._seconds if self._seconds else 0.0


def repeat_factors(image_labels: Sequence[set[int]], *, threshold: float) -> np.ndarray:
    """How often each image comes per epoch, float64 [images], at least 1: max over its classes c of
    max(1, sqrt(threshold / f(c))), where f(c) is the share of images that hold class c."""
    images_of = Counter(label for labels in image_labels for label in labels)
    share = {label: count / len(image_labels) for label, count in images_of.items()}
    per_class = {label: max(1.0, math.sqrt(threshold / value)) for label, value in share.items()}
    return np.array([max((per_class[label] for label in labels), default=1.0) for labels in image_labels])


def _items(factors: np.ndarray, *, seed: int, start: int) -> Iterator[tuple[int, int]]:
    """Endless (index, seed of the item's augmentation) from the start-th on."""
    for epoch in itertools.count():
        order = _epoch(factors, seed=seed, epoch=epoch)
        for position in range(start, len(order)):
            yield int(order[position]), derived_seed(seed, epoch, position)
        start = max(0, start - len(order))


def _epoch(factors: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Indices of one epoch in order; a factor of 2.3 is twice or, with probability 0.3, three times."""
    rng = np.random.default_rng([seed, epoch])
    repeats = np.floor(factors).astype(np.int64)
    if (factors > repeats).any():
        repeats += rng.random(len(factors)) < factors - repeats
    return rng.permutation(np.repeat(np.arange(len(factors)), repeats))


class _Seeded(Dataset):
    """Batches of a data set by [(index, seed), ...], as plain tensors: tv_tensors are for transforms only."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitems__(self, items: list[tuple[int, int]]) -> tuple[Batch, float]:
        """The batch, and the seconds that it took to make in the process that made it."""
        began = time.perf_counter()
        images, targets = [], []
        for index, seed in items:
            with seeded(seed):
                image, target = self.dataset[index]
            images.append(_plain(image))
            targets.append({key: _plain(value) for key, value in target.items()})
        return (images, targets), time.perf_counter() - began


def _plain(value: object) -> object:
    return value.as_subclass(torch.Tensor) if isinstance(value, torch.Tensor) else value


def _unchanged(batch: tuple[Batch, float]) -> tuple[Batch, float]:
    return batch
