"""What the aerial scenes are made of: annotated objects, and roofs, trees, containers that look like them."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from reprolib.data.scenes.canvas import Canvas, Patch, blob, box, ellipse, place, stroke

CLASSES = ("plane", "storage_tank", "large_vehicle", "small_vehicle", "tennis_court")
PLANE, TANK, LARGE, SMALL, COURT = range(5)

BODIES = np.array(
    [
        [0.92, 0.92, 0.9],
        [0.8, 0.8, 0.82],
        [0.5, 0.52, 0.55],
        [0.12, 0.12, 0.14],
        [0.62, 0.12, 0.1],
        [0.15, 0.25, 0.5],
    ]
)
ROOFS = np.array([[0.55, 0.3, 0.22], [0.5, 0.5, 0.52], [0.68, 0.62, 0.55]])
CONTAINERS = np.array([[0.6, 0.25, 0.15], [0.2, 0.35, 0.5], [0.75, 0.72, 0.65], [0.25, 0.4, 0.3]])
FIELDS = np.array([[0.3, 0.4, 0.55], [0.6, 0.36, 0.26], [0.3, 0.5, 0.36]])
GLASS = np.array([0.1, 0.12, 0.15])
CHALK = np.array([0.9, 0.9, 0.88])


class Spot(NamedTuple):
    """Where an object lies, which way its +x points, and where shadows fall: units per unit of height."""

    x: float
    y: float
    angle: float
    sun: tuple[float, float]

    def at(self, shape) -> np.ndarray:
        return place(shape, self.x, self.y, self.angle)

    def beside(self, u: float, v: float, turn: float = 0.0) -> Spot:
        """The spot at (u, v) of this one's axes, turned further."""
        ((x, y),) = self.at([[u, v]])
        return self._replace(x=float(x), y=float(y), angle=self.angle + turn)


def pick(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    return colours[rng.integers(len(colours))] * rng.uniform(0.85, 1.1)


def cover(canvas: Canvas, spot: Spot, *shapes) -> Patch:
    return canvas.coverage(*(spot.at(shape) for shape in shapes))


def centred(length: float, width: float) -> np.ndarray:
    return box(-length / 2, -width / 2, length / 2, width / 2)


def _shadow(canvas: Canvas, outline: np.ndarray, sun: tuple[float, float], height: float) -> None:
    shift = np.array(sun) * height
    canvas.multiply(canvas.coverage(outline, outline + shift / 2, outline + shift), 0.55)


def _add(
    canvas: Canvas, spot: Spot, class_index: int | None, parts: list[np.ndarray], colour, *, height: float
) -> bool:
    """Shadow and body of one object, unless it would lie over an instance; returns whether it was drawn.

    With class None it is not annotated.
    """
    patch = cover(canvas, spot, *parts)
    if canvas.taken(patch):
        return False
    for part in parts:
        _shadow(canvas, spot.at(part), spot.sun, height)
    canvas.paint(patch, colour)
    if class_index is not None:
        canvas.own(class_index, patch)
    return True


def small_vehicle(rng: np.random.Generator, canvas: Canvas, spot: Spot) -> None:
    l, w = rng.uniform(9, 11.5) / 2, rng.uniform(4.3, 5.2) / 2  # noqa: E741
    side = [(-l, 0.8 * w), (-0.85 * l, w), (0.7 * l, w), (l, 0.6 * w)]
    body = np.array([*side, *((u, -v) for u, v in side[::-1])])
    if not _add(canvas, spot, SMALL, [body], pick(rng, BODIES), height=1.4):
        return
    for near, far in ((0.12, 0.42), (-0.75, -0.5)):
        canvas.paint(cover(canvas, spot, box(near * l, -0.75 * w, far * l, 0.75 * w)), GLASS)


def large_vehicle(rng: np.random.Generator, canvas: Canvas, spot: Spot) -> None:
    """A lorry, its cab apart from the cargo box, or a coach with hatches on its roof."""
    l, w = rng.uniform(19, 26) / 2, rng.uniform(6.4, 7.6) / 2  # noqa: E741
    lorry = rng.random() < 0.65
    front = l * rng.uniform(0.5, 0.6) if lorry else l
    parts = [box(-l, -w, front, w)]
    if lorry:
        cab = box(front + 0.9, -0.85 * w, l, 0.85 * w)
        parts += [box(front - 0.5, -0.35 * w, front + 1.5, 0.35 * w), cab]
    if not _add(canvas, spot, LARGE, parts, pick(rng, BODIES), height=2.6):
        return
    if lorry:
        canvas.paint(cover(canvas, spot, cab), pick(rng, BODIES))
        _ribs(canvas, spot, -l, front, w)
    else:
        for hatch in (-0.5, 0.1, 0.5):
            top = box(hatch * l - 1.2, -0.4 * w, hatch * l + 1.2, 0.4 * w)
            canvas.multiply(cover(canvas, spot, top), 0.72)
    canvas.paint(cover(canvas, spot, box(l - 1.5, -0.78 * w, l - 0.5, 0.78 * w)), GLASS)


def container(rng: np.random.Generator, canvas: Canvas, spot: Spot) -> None:
    """A lorry's cargo box without the lorry: not annotated."""
    length, width = rng.uniform(14, 22), rng.uniform(5.8, 6.8)
    if _add(canvas, spot, None, [centred(length, width)], pick(rng, CONTAINERS), height=2.2):
        _ribs(canvas, spot, -length / 2, length / 2, width / 2)


def _ribs(canvas: Canvas, spot: Spot, back: float, front: float, half_width: float) -> None:
    lines = [stroke((x, -half_width), (x, half_width), 0.5) for x in np.arange(back + 1.5, front - 1, 2.5)]
    canvas.multiply(cover(canvas, spot, *lines), 0.85)


def plane(rng: np.random.Generator, canvas: Canvas, spot: Spot, span: float) -> None:
    """Nose towards +x; the wings' sweep, the body's width and the engines vary."""
    half, body = span * rng.uniform(0.5, 0.58), span * rng.uniform(0.07, 0.09)
    sweep, chord = span * rng.uniform(0.08, 0.2), span * rng.uniform(0.2, 0.26)
    root = rng.uniform(0.05, 0.2) * half
    hull = [(half, 0), (0.88 * half, -body), (-0.7 * half, -body), (-half, -0.3 * body)]
    parts = [np.array([*hull, *((u, -v) for u, v in hull[:0:-1])])]
    for side in (-1, 1):
        tip, tail = side * span / 2, side * span * 0.19
        wing = [(root + chord / 2, 0), (root - sweep + 0.25 * chord, tip), (root - sweep - 0.25 * chord, tip)]
        fin = [(-0.62 * half, 0), (-0.86 * half, tail), (-1.04 * half, tail), (-0.97 * half, 0)]
        parts += [np.array([*wing, (root - chord / 2, 0)]), np.array(fin)]
        for reach in (0.3, 0.55) if span > 26 else (0.32,):
            nose = root - sweep * reach + 0.35 * chord
            parts.append(stroke((nose - 0.1 * span, reach * tip), (nose, reach * tip), 0.045 * span))
    if not _add(canvas, spot, PLANE, parts, BODIES[0] * rng.uniform(0.9, 1.08), height=2.0):
        return
    canvas.paint(cover(canvas, spot, stroke((-0.7 * half, 0), (-half, 0), 0.8)), pick(rng, BODIES[3:]))
    shaded = stroke((-0.7 * half, 0.5 * body), (0.85 * half, 0.5 * body), body)
    canvas.multiply(cover(canvas, spot, shaded), 0.85)


def tank(rng: np.random.Generator, canvas: Canvas, spot: Spot, radius: float) -> None:
    colour = np.array([0.86, 0.86, 0.84]) if rng.random() < 0.7 else np.array([0.6, 0.55, 0.48])
    colour = colour * rng.uniform(0.9, 1.1)
    if not _add(canvas, spot, TANK, [ellipse(0, 0, radius, radius, 32)], colour, height=4.0):
        return
    floating = rng.random() < 0.4  # a roof lower than the rim lies in the rim's shadow
    inner = ellipse(0, 0, 0.86 * radius, 0.86 * radius, 32)
    canvas.paint(cover(canvas, spot, inner), colour * (0.7 if floating else 0.94))
    if floating:
        x, y = np.array([spot.x, spot.y]) + 0.12 * radius * np.array(spot.sun)
        canvas.paint(canvas.coverage(ellipse(x, y, 0.72 * radius, 0.72 * radius)), colour * 0.9)
    stair = spot.beside(0, 0, rng.uniform(0, 2 * np.pi))
    canvas.multiply(cover(canvas, stair, stroke((0, 0), (0.95 * radius, 0), 0.7)), 0.6)


def foundation(canvas: Canvas, spot: Spot, radius: float, colour: np.ndarray) -> None:
    """The ring left by a tank that was taken away: flat, not annotated."""
    for share, shade in ((0.9, 0.75), (0.78, 0.95)):
        disc = ellipse(0, 0, radius * share, radius * share)
        canvas.paint(cover(canvas, spot, disc), colour * shade, opacity=0.8)


def court(
    rng: np.random.Generator, canvas: Canvas, spot: Spot, length: float, width: float, surround, *, tennis: bool
) -> None:
    """The surfaced rectangle with its lines is the object; with a circle and no net it is another game's."""
    outline = cover(canvas, spot, centred(length, width))
    if canvas.taken(outline):
        return
    canvas.paint(outline, np.asarray(surround) * rng.uniform(0.9, 1.1))
    if tennis:
        canvas.own(COURT, outline)
    a, b = 0.39 * length, 0.36 * width
    corners = centred(2 * a, 2 * b)
    canvas.paint(cover(canvas, spot, corners), pick(rng, FIELDS))
    lines = [*pairwise(corners), (corners[3], corners[0])]
    if tennis:
        lines += [((-a, s * 0.75 * b), (a, s * 0.75 * b)) for s in (-1, 1)]
        lines += [((s * 0.52 * a, -0.75 * b), (s * 0.52 * a, 0.75 * b)) for s in (-1, 1)]
        lines += [((-0.52 * a, 0), (0.52 * a, 0))]
    else:
        ring = ellipse(0, 0, 0.4 * b, 0.4 * b, 12)
        lines += [((0, -b), (0, b)), *pairwise(ring), (ring[-1], ring[0])]
        for s in (-1, 1):
            area = [(s * a, -0.4 * b), (s * 0.65 * a, -0.4 * b), (s * 0.65 * a, 0.4 * b), (s * a, 0.4 * b)]
            lines += pairwise(area)
    chalk = cover(canvas, spot, *(stroke(start, end, 0.6) for start, end in lines))
    canvas.paint(chalk, CHALK, opacity=0.85)
    if tennis:
        canvas.multiply(cover(canvas, spot, stroke((0, -0.43 * width), (0, 0.43 * width), 0.8)), 0.45)


def house(rng: np.random.Generator, canvas: Canvas, spot: Spot) -> None:
    """A roof with a ridge, at times of a lorry's size: not annotated."""
    length, width = rng.uniform(9, 24), rng.uniform(5, 13)
    if _add(canvas, spot, None, [centred(length, width)], pick(rng, ROOFS), height=3.0):
        canvas.multiply(cover(canvas, spot, box(-length / 2, 0, length / 2, width / 2)), 0.78)


def tree(rng: np.random.Generator, canvas: Canvas, spot: Spot, radius: float) -> None:
    """A round crown, as a tank is round: not annotated."""
    green = np.array([0.16, 0.27, 0.13]) * rng.uniform(0.7, 1.3)
    crown = blob(rng, 0, 0, radius)
    if not _add(canvas, spot, None, [crown], green, height=3.0):
        return
    patch = cover(canvas, spot, crown)
    canvas.paint(patch, green * (1 + 0.25 * rng.standard_normal((*patch.coverage.shape, 1))))
    lit = blob(rng, spot.x - spot.sun[0], spot.y - spot.sun[1], radius * 0.55)
    canvas.paint(canvas.coverage(lit), green * 1.35, opacity=0.6)
