"""Street scenes: perspective, overlapping people and vehicles told apart by shape, posts and trees in front."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from reprolib.data.scenes.canvas import FRAME, Canvas, Instances, box, smooth_noise, to_bytes
from reprolib.data.scenes.street_things import CLASSES, Spot, cyclist, lamp, person, pillar, sign, tree
from reprolib.data.scenes.street_vehicles import bus, car

__all__ = ["CLASSES", "scene"]

EMPTY_SHARE = 0.02
# Metres above the street: a thing whose foot is d units below the horizon shows d / CAMERA units a metre.
CAMERA = 2.8
WALLS = np.array([[0.55, 0.48, 0.42], [0.5, 0.5, 0.5], [0.62, 0.58, 0.5], [0.45, 0.38, 0.35]])


class Kind(NamedTuple):
    """How often a thing appears and where: its foot lies from `far` to `near` units below the horizon."""

    draw: Callable[[np.random.Generator, Canvas, Spot], None]
    share: float
    far: float
    near: float
    spread: float  # reach to either side, in half widths of the road
    margin: float  # least distance from the frame's sides


KINDS = (
    Kind(person, 0.31, 46, 72, 1.5, 10),
    Kind(cyclist, 0.21, 44, 68, 1.2, 14),
    Kind(car, 0.27, 28, 44, 1.2, 24),
    Kind(bus, 0.21, 24, 32, 1.4, 26),
)
FURNITURE = (lamp, tree, sign, pillar)


def scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, Instances]:
    """One scene: uint8 [size, size, 3] and the visible parts [(class index, bool [size, size])], disjoint.

    Things are drawn from far to near, so what stands in front hides what is behind. The same rng state gives the
    same bytes.
    """
    canvas = Canvas(size)
    horizon = rng.uniform(26, 40)
    vanish, half_width = rng.uniform(20, 108), rng.uniform(1, 2)  # the road's, the latter per unit of depth
    _backdrop(rng, canvas, horizon, vanish, half_width)

    things: list[tuple[float, float, Callable]] = []  # depth below the horizon, column, what draws it
    if rng.random() >= EMPTY_SHARE:
        for _ in range(2 + rng.poisson(1.6)):
            kind = KINDS[rng.choice(len(KINDS), p=[kind.share for kind in KINDS])]
            depth = np.exp(rng.uniform(np.log(kind.far), np.log(kind.near)))
            columns = vanish + rng.uniform(-1, 1, 5) * half_width * depth * kind.spread
            columns = np.clip(columns, kind.margin, FRAME - kind.margin)
            # Of five places the freest: things overlap, but seldom hide each other whole.
            column = max(columns, key=lambda x: min((abs(x - other) for _, other, _ in things), default=0.0))
            things.append((depth, column, kind.draw))
            if kind.draw is person and rng.random() < 0.2:  # a second person beside the first
                things.append((depth + rng.uniform(-1, 1), column + depth * rng.uniform(0.15, 0.35), person))
    for _ in range(rng.poisson(1.5)):
        depth = rng.uniform(12, 55)
        column = vanish + rng.choice([-1, 1]) * depth * (half_width + rng.uniform(0.05, 0.5))
        things.append((depth, column, FURNITURE[rng.choice(len(FURNITURE), p=[0.35, 0.3, 0.2, 0.15])]))

    sun = rng.uniform(-1.2, 1.2)
    for depth, column, draw in sorted(things, key=lambda thing: thing[0]):
        draw(rng, canvas, Spot(column, horizon + depth, depth / CAMERA, sun))
    return _expose(rng, canvas, horizon), canvas.instances()


def _backdrop(rng: np.random.Generator, canvas: Canvas, horizon: float, vanish: float, half: float) -> None:
    """Sky, a row of houses, pavements, the road with its marks and patches."""
    size = canvas.size
    canvas.image[:] = np.array([0.62, 0.7, 0.8]) * rng.uniform(0.75, 1.2)
    canvas.image += 0.05 * smooth_noise(rng, size, 50, octaves=3)[..., None]
    left = -4.0
    while left < FRAME:
        width, top = rng.uniform(14, 40), rng.uniform(2, horizon - 8)
        wall = WALLS[rng.integers(len(WALLS))] * rng.uniform(0.7, 1.15)
        canvas.paint(canvas.coverage(box(left, top, left + width, horizon + 3)), wall)
        across, down = rng.uniform(4.5, 7.5), rng.uniform(5.5, 8)
        lit = wall * rng.uniform(0.7, 0.9)
        panes = [
            box(x, y, x + 0.5 * across, y + 0.6 * down)
            for x in np.arange(left + 1.5, left + width - 0.6 * across, across)
            for y in np.arange(top + 2, horizon - 4, down)
        ]
        if panes:
            canvas.paint(canvas.coverage(*panes), lit)
        left += width + (rng.uniform(3, 16) if rng.random() < 0.3 else 0)
    ground = box(-10, horizon, FRAME + 10, FRAME + 10)
    canvas.paint(canvas.coverage(ground), np.array([0.5, 0.48, 0.45]) * rng.uniform(0.9, 1.1))
    depth = FRAME - horizon + 10
    tarmac = np.array([0.33, 0.33, 0.35]) * rng.uniform(0.9, 1.15)
    for spread, colour in ((half * 1.06, (0.62, 0.61, 0.6)), (half, tarmac)):
        lane = np.array(
            [
                (vanish, horizon),
                (vanish - spread * depth, horizon + depth),
                (vanish + spread * depth, horizon + depth),
            ]
        )
        canvas.paint(canvas.coverage(lane), colour)
    reach = 8.0
    while reach < depth:
        mark = [(vanish + side * 0.025 * d, horizon + d) for side, d in ((-1, reach), (1, reach), (1, reach * 1.2))]
        mark = np.array([*mark, (vanish - 0.03 * reach, horizon + reach * 1.2)])
        canvas.paint(canvas.coverage(mark), (0.85, 0.85, 0.82), opacity=0.85)
        reach *= 1.45
    if rng.random() < 0.35:  # a crossing
        near = rng.uniform(20, 50)
        for share in np.linspace(-0.9, 0.9, 9):
            bar = [
                (vanish + half * d * (share + w), horizon + d) for d, w in ((near, 0), (near, 0.1), (near * 1.3, 0.1))
            ]
            bar = np.array([*bar, (vanish + half * near * 1.3 * share, horizon + near * 1.3)])
            canvas.paint(canvas.coverage(bar), (0.85, 0.85, 0.82), opacity=0.8)
    below = np.arange(size) > horizon * canvas.scale
    canvas.image[below] *= 1 + 0.04 * smooth_noise(rng, size, 14, octaves=4)[below][..., None]


def _expose(rng: np.random.Generator, canvas: Canvas, horizon: float) -> np.ndarray:
    """Time of day, haze with distance, falling light towards the corners, noise that grows in the dark."""
    size = canvas.size
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    light = rng.choice([1.0, 0.7], p=[0.9, 0.1]) * rng.uniform(0.9, 1.12)
    tint = 1 + rng.uniform(-0.1, 0.1, 3)
    vignette = 1 - rng.uniform(0, 0.6) * (axis[None, :] ** 2 + axis[:, None] ** 2)
    slope = 1 + rng.uniform(-0.3, 0.3) * axis[None, :]
    haze = rng.uniform(0, 0.2) * np.exp(-np.maximum(axis + 0.5 - horizon / FRAME, 0) * 9)[:, None, None]
    image = canvas.image * (1 - haze) + 0.7 * haze
    image = image * (light * vignette * slope)[..., None] * tint.astype(np.float32)
    grain = rng.uniform(0.008, 0.02) + 0.015 * (light < 0.7)
    return to_bytes(image + grain * rng.standard_normal(image.shape).astype(np.float32))
