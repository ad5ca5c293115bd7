"""Augmentation with torchvision's transforms v2, and random numbers that depend on the item alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torchvision.transforms import v2

PER_INSTANCE = ("labels", "area", "iscrowd")


def training_transform(*, flip: bool) -> v2.Compose:
    """Transform of (image, target). Whatever is added goes before the last step, which removes what it moved out
    of view."""
    steps: list[torch.nn.Module] = [v2.RandomHorizontalFlip(p=0.5)] if flip else []
    return v2.Compose([*steps, RemoveUnseen()])


class RemoveUnseen(torch.nn.Module):
    """Removes the instances whose box is under 1 px or out of the image from all fields of the target.

    `SanitizeBoundingBoxes`, applied where there is something to remove: it copies all masks, most of a large item's
    time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sanitize = v2.SanitizeBoundingBoxes(min_size=1, labels_getter=_per_instance)

    def forward(self, image: torch.Tensor, target: dict) -> tuple[torch.Tensor, dict]:
        boxes = target["boxes"].as_subclass(torch.Tensor)
        far = torch.tensor(target["boxes"].canvas_size[::-1])
        seen = (boxes[:, 2:] - boxes[:, :2] >= 1) & (boxes[:, :2] >= 0) & (boxes[:, 2:] <= far)
        if bool(seen.all()):
            return image, target
        # Not an instance's mask, for which sanitizing would take it.
        of_image = {key: target.pop(key) for key in ("semantic",) if key in target}
        image, target = self.sanitize(image, target)
        return image, target | of_image


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's CPU random numbers from `seed` within, and go on afterwards as if nothing had been drawn.

    Not `torch.manual_seed`: that would reseed CUDA too, whose state is the training loop's.
    """
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def derived_seed(seed: int, *position: int) -> int:
    """A seed for one position of a run, unrelated to those of neighbouring positions and seeds (63 bits).

    Sums would not do: seed 0 at batch 1 would draw the same numbers as seed 1 at batch 0.
    """
    return int(np.random.SeedSequence((seed, *position)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _per_instance(inputs: tuple) -> tuple[torch.Tensor, ...]:
    target = inputs[1]
    return tuple(target[key] for key in PER_INSTANCE)
