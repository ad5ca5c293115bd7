"""Batches: an endless stream that depends on nothing but the data set and the seed."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from reprolib.data.transforms import seeded

Batch = tuple[list[torch.Tensor], list[dict]]


def batches(
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    workers: int = 0,
    repeat_factor: float = 0.0,
) -> Iterator[Batch]:
    """Endless batches (images, targets): lists of uint8 [3, H, W] and of targets as the data set gives them,
    plain tensors.

    Epoch after epoch each item comes once, in an order drawn from (seed, epoch); batches run across the end
    of an epoch and are always full. An item's augmentation draws from (seed, epoch, position in the epoch).
    So the stream from batch `start` on is the stream from 0 on without its first `start` batches, for any
    number of workers.

    repeat_factor: threshold t of LVIS's repeat factor sampling (Gupta et al. 2019, section 4.2), 0 is off;
    the data set needs `image_labels`.
    """
    if batch_size < 1 or start < 0 or workers < 0:
        raise ValueError(f"batch_size {batch_size}, start {start} or workers {workers} cannot be")
    if not len(dataset):
        raise ValueError("the data set is empty")
    factors = repeat_factors(dataset.image_labels, threshold=repeat_factor) if repeat_factor else np.ones(len(dataset))
    items = _items(factors, seed=seed, start=start * batch_size)
    grouped = (list(itertools.islice(items, batch_size)) for _ in itertools.count())
    source = _Seeded(dataset)
    if workers == 0:
        return (_transpose([source[item] for item in batch]) for batch in grouped)
    loader = DataLoader(
        source,
        batch_sampler=grouped,
        num_workers=workers,
        collate_fn=_transpose,
        generator=torch.Generator(),  # else it draws from the global stream, which training resumes exactly
    )
    return iter(loader)


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
            yield int(order[position]), _seed(seed, epoch, position)
        start = max(0, start - len(order))


def _epoch(factors: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Indices of one epoch in order; a factor of 2.3 is twice or, with probability 0.3, three times."""
    rng = np.random.default_rng([seed, epoch])
    repeats = np.floor(factors).astype(np.int64)
    if (factors > repeats).any():
        repeats += rng.random(len(factors)) < factors - repeats
    return rng.permutation(np.repeat(np.arange(len(factors)), repeats))


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class _Seeded(Dataset):
    """Items of a data set by (index, seed), as plain tensors: tv_tensors are for transforms only."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, item: tuple[int, int]) -> tuple[torch.Tensor, dict]:
        index, seed = item
        with seeded(seed):
            image, target = self.dataset[index]
        return _plain(image), {key: _plain(value) for key, value in target.items()}


def _plain(value: object) -> object:
    return value.as_subclass(torch.Tensor) if isinstance(value, torch.Tensor) else value


def _transpose(items: list[tuple[torch.Tensor, dict]]) -> Batch:
    return [image for image, _ in items], [target for _, target in items]
