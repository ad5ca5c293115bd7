"""Scenes from above: dense small oriented objects in rows, with shadows, and things that look like them."""

from __future__ import annotations

import numpy as np

from reprolib.data.scenes import aerial_objects as objects
from reprolib.data.scenes.aerial_objects import CLASSES, Spot, centred, cover
from reprolib.data.scenes.canvas import Canvas, Instances, box, smooth_noise, stroke, to_bytes

__all__ = ["CLASSES", "scene"]

EMPTY_SHARE = 0.02
VIEW = 84.0  # units along a side
QUARTER = np.pi / 2
GRASS, SOIL = np.array([0.33, 0.42, 0.24]), np.array([0.5, 0.42, 0.31])
CONCRETE, ASPHALT = np.array([0.48, 0.47, 0.45]), np.array([0.32, 0.32, 0.34])
SURROUNDS = np.array([[0.25, 0.45, 0.32], [0.5, 0.32, 0.25], [0.3, 0.38, 0.55], [0.45, 0.45, 0.45]])
YELLOW = np.array([0.8, 0.7, 0.2])


def scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, Instances]:
    """One scene: uint8 [size, size, 3] and its objects [(class index, bool [size, size])], never overlapping.

    The ground is cut into lots along one street grid; each is a car park, an apron, a tank farm, sports, a yard or
    houses. The same rng state gives the same bytes.
    """
    canvas = Canvas(size, frame=VIEW)
    tint = 1 + 0.07 * smooth_noise(rng, size, 40, octaves=4) + 0.03 * smooth_noise(rng, size, 4)
    canvas.image += (GRASS, SOIL, GRASS, CONCRETE)[rng.integers(4)]
    canvas.image *= np.clip(tint, 0.5, 1.5)[..., None]

    azimuth, slant = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.5)
    sun = (slant * np.cos(azimuth), slant * np.sin(azimuth))
    side, street = rng.uniform(52, 76), rng.uniform(8, 12)
    x, y = VIEW / 2 + rng.uniform(-0.5, 0.5, 2) * side
    crossing = Spot(x, y, rng.uniform(0, np.pi), sun)
    empty = rng.random() < EMPTY_SHARE
    if rng.random() < 0.75:
        _streets(rng, canvas, crossing, side, street, traffic=not empty)

    lots = [_parking, _apron, _apron, _tanks, _tanks, _sports, _sports, _yard, _yard]
    favourite = lots[rng.integers(len(lots))]
    for u in (-1.5, -0.5, 0.5, 1.5):
        for v in (-1.5, -0.5, 0.5, 1.5):
            centre = crossing.beside(u * side, v * side, QUARTER * rng.integers(2))
            if not (-25 < centre.x < VIEW + 25 and -25 < centre.y < VIEW + 25):
                continue
            lot = favourite if rng.random() < 0.45 else lots[rng.integers(len(lots))]
            if empty or rng.random() < 0.12:
                lot = _houses
            lot(rng, canvas, centre, (side - street) / 2 - 1)

    light = rng.uniform(0.85, 1.12) * (1 + rng.uniform(-0.06, 0.06, 3))
    grain = rng.uniform(0.008, 0.025) * rng.standard_normal(canvas.image.shape)
    return to_bytes(canvas.image * light.astype(np.float32) + grain), canvas.instances()


def _streets(
    rng: np.random.Generator, canvas: Canvas, crossing: Spot, side: float, width: float, *, traffic: bool
) -> None:
    axes = [crossing.beside(0, 0, turn) for turn in (0, QUARTER)]
    middles = [lane * side for lane in (-1, 0, 1)]
    roads = [axis.at(box(-200, v - width / 2, 200, v + width / 2)) for axis in axes for v in middles]
    canvas.paint(canvas.coverage(*roads), ASPHALT * rng.uniform(0.8, 1.3))
    dashes = [
        axis.at(stroke((u, v), (u + 3.5, v), 0.6)) for axis in axes for v in middles for u in np.arange(-120, 120, 8.0)
    ]
    canvas.paint(canvas.coverage(*dashes), objects.CHALK, opacity=0.6)
    for axis in axes if traffic else ():
        for v in middles:
            for _ in range(rng.poisson(0.6)):
                way = rng.choice([-1, 1])
                spot = axis.beside(rng.uniform(-90, 90), v + way * width / 4, 0 if way > 0 else np.pi)
                vehicle = objects.large_vehicle if rng.random() < 0.25 else objects.small_vehicle
                vehicle(rng, canvas, spot)


def _pave(rng: np.random.Generator, canvas: Canvas, lot: Spot, half: float, ground: np.ndarray) -> np.ndarray:
    """Surface the lot; returns its colour."""
    colour = ground * rng.uniform(0.85, 1.15)
    patch = cover(canvas, lot, centred(2 * half, 2 * half))
    canvas.paint(patch, colour * (1 + 0.03 * rng.standard_normal((*patch.coverage.shape, 1))))
    return colour


def _parking(rng: np.random.Generator, canvas: Canvas, lot: Spot, half: float) -> None:
    """Rows of marked bays, some with a small vehicle; empty bays keep their markings."""
    _pave(rng, canvas, lot, half, ASPHALT)
    bay, depth = rng.uniform(6.6, 7.8), rng.uniform(12.5, 14.5)
    bays = [
        (u, v)
        for v in np.arange(-half + depth / 2 + 1, half - depth / 2, depth * 1.45)
        for u in np.arange(-half + bay, half - bay / 2, bay)
    ]
    edges = [
        stroke((u + side * bay / 2, v - depth / 2), (u + side * bay / 2, v + depth / 2), 0.5)
        for u, v in bays
        for side in (-1, 1)
    ]
    canvas.paint(cover(canvas, lot, *edges), objects.CHALK, opacity=0.6)
    filled = rng.uniform(0.15, 0.65)
    for u, v in bays:
        if rng.random() < filled:
            turn = rng.choice([-1, 1]) * QUARTER + rng.normal(0, 0.04)
            objects.small_vehicle(rng, canvas, lot.beside(*(np.array([u, v]) + rng.normal(0, 0.3, 2)), turn))


def _yard(rng: np.random.Generator, canvas: Canvas, lot: Spot, half: float) -> None:
    """Lorries and coaches side by side, beside containers of their size without cabs."""
    _pave(rng, canvas, lot, half, (CONCRETE, ASPHALT)[rng.integers(2)])
    step = rng.uniform(9.5, 13)
    for v in (-half / 2, half / 2):
        for u in np.arange(-half + 6, half - 4, step):
            turn = rng.choice([-1, 1]) * QUARTER + rng.normal(0, 0.05)
            spot = lot.beside(*(np.array([u, v]) + rng.normal(0, 0.8, 2)), turn)
            draw = rng.random()
            if draw < 0.55:
                objects.large_vehicle(rng, canvas, spot)
            elif draw < 0.62:
                objects.container(rng, canvas, spot)


def _apron(rng: np.random.Generator, canvas: Canvas, lot: Spot, half: float) -> None:
    """Planes at their stands with guide lines, and a few vehicles between."""
    _pave(rng, canvas, lot, half, CONCRETE)
    span = rng.uniform(20, 29)
    step = span * rng.uniform(1.08, 1.3)
    row = np.arange(-half + step / 2, half - step / 3, step)
    guides = [stroke((-half, 0.85 * half), (half, 0.85 * half), 0.8)]
    guides += [stroke((u, row[0]), (u, 0.85 * half), 0.6) for u in row]
    canvas.paint(cover(canvas, lot, *guides), YELLOW, opacity=0.6)
    for v in row:
        for u in row:
            if rng.random() < 0.85:
                spot = lot.beside(u, v, -QUARTER + rng.normal(0, 0.12))
                objects.plane(rng, canvas, spot, span * rng.uniform(0.85, 1.05))
    for _ in range(rng.poisson(1.2)):
        spot = lot.beside(*rng.uniform(-0.9, 0.9, 2) * half, QUARTER * rng.integers(2))
        objects.small_vehicle(rng, canvas, spot)


def _tanks(rng: np.random.Generator, canvas: Canvas, lot: Spot, half: float) -> None:
    """A farm of round tanks, with gaps, foundations and trees."""
    ground = _pave(rng, canvas, lot, half, (SOIL, CONCRETE)[rng.integers(2)])
    radius = rng.uniform(5, 10)
    step = 2 * radius + rng.uniform(1.5, 6)
    row = np.arange(-half + step / 2, half - step / 3, step)
    for v in row:
        for u in row:
            spot, draw = lot.beside(u, v), rng.random()
            if draw < 0.72:
                objects.tank(rng, canvas, spot, radius * rng.uniform(0.75, 1))
            elif draw < 0.8:
                objects.foundation(canvas, spot, radius, ground)
            elif draw < 0.9:
                objects.tree(rng, canvas, spot, radius * 0.7)


def _sports(rng: np.random.Generator, canvas: Canvas, lot: Spot, half: float) -> None:
    """Courts side by side, some of another game, and trees at the edge."""
    _pave(rng, canvas, lot, half, GRASS)
    width, gap = rng.uniform(13, 20), rng.uniform(1.5, 5)
    length, surround = 1.9 * width, SURROUNDS[rng.integers(len(SURROUNDS))]
    for u in np.arange(-half + width / 2 + 1, half - width / 2, width + gap):
        for v in (-half / 2, half / 2) if length < half else (0.0,):
            draw = rng.random()
            if draw < 0.76:
                spot = lot.beside(u, v, QUARTER)
                objects.court(rng, canvas, spot, length, width, surround, tennis=draw < 0.62)
    for _ in range(rng.integers(1, 5)):
        spot = lot.beside(rng.uniform(-half, half), rng.choice([-1, 1]) * 0.9 * half)
        objects.tree(rng, canvas, spot, rng.uniform(3, 6))


def _houses(rng: np.random.Generator, canvas: Canvas, lot: Spot, half: float) -> None:
    """Roofs and trees: nothing that is annotated."""
    for _ in range(rng.integers(2, 6)):
        spot = lot.beside(*rng.uniform(-0.75, 0.75, 2) * half, QUARTER * rng.integers(2))
        objects.house(rng, canvas, spot)
    for _ in range(rng.integers(2, 8)):
        objects.tree(rng, canvas, lot.beside(*rng.uniform(-1, 1, 2) * half), rng.uniform(2.5, 6.5))
