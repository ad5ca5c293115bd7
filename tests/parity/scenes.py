"""Generated images and instances, the same to the bit on every machine: whole numbers from one generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLASSES = 3
SIZES = ((96, 128), (80, 128))  # the second one is padded to the size of the first one
STUFF_CLASSES, UNLABELLED = 183, 255
BLOCK = 8  # px; the background is made of squares of one colour


@dataclass(frozen=True, kw_only=True)
class Scene:
    """image: uint8 [H,W,3], RGB. masks: bool [N,H,W]. boxes: float32 [N,4] xyxy. labels: [N] in 0..CLASSES-1.
    stuff: [H,W], classes in 0..STUFF_CLASSES-1, or UNLABELLED.
    """

    image: np.ndarray
    masks: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    stuff: np.ndarray


def make_scenes(*, seed: int = 0, sides: tuple[int, int] = (26, 70)) -> list[Scene]:
    """One scene per size of SIZES; its instances are ellipses with sides (px) from `sides`."""
    random = np.random.RandomState(seed)  # this generator's numbers never change between versions of numpy
    return [_scene(random, height, width, sides) for height, width in SIZES]


def _scene(random: np.random.RandomState, height: int, width: int, sides: tuple[int, int]) -> Scene:
    blocks = random.randint(0, 256, (height // BLOCK, width // BLOCK, 3))
    image = blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)
    rows, columns = np.mgrid[:height, :width]
    masks = []
    for _ in range(5):
        w, h = random.randint(*sides, 2)
        x, y = random.randint(0, width - w), random.randint(0, height - h)
        inside = (2 * columns + 1 - 2 * x - w) ** 2 * h**2 + (2 * rows + 1 - 2 * y - h) ** 2 * w**2 < w**2 * h**2
        image[inside] = (image[inside] + 3 * random.randint(0, 256, 3)) // 4
        masks.append(inside)
    edges = [(columns[m].min(), rows[m].min(), columns[m].max() + 1, rows[m].max() + 1) for m in masks]
    return Scene(
        image=image.astype(np.uint8),
        masks=np.stack(masks),
        boxes=np.array(edges, dtype=np.float32),
        labels=random.randint(0, CLASSES, len(masks)),
        stuff=_stuff(height, width),
    )


def _stuff(height: int, width: int) -> np.ndarray:
    """A map whose cells of BLOCK px have a class, one in eight has none."""
    random = np.random.RandomState(height)
    cells = random.randint(0, STUFF_CLASSES, (height // BLOCK, width // BLOCK))
    cells[random.randint(0, 8, cells.shape) == 0] = UNLABELLED
    return cells.repeat(BLOCK, 0).repeat(BLOCK, 1)
