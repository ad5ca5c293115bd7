"""Vehicles of the street scenes, from the side and from the front or back."""

from __future__ import annotations

import numpy as np

from reprolib.data.scenes.canvas import Canvas, box, ellipse
from reprolib.data.scenes.street_things import BUS, CAR, COACHES, GLASS, TYRE, Spot, add, lacquer, part, shade


def _wheels(canvas: Canvas, spot: Spot, positions, radius: float, mirror: int) -> None:
    for x in positions:
        part(canvas, spot, ellipse(x, radius, radius, radius), TYRE, mirror)
        part(canvas, spot, ellipse(x, radius, 0.5 * radius, 0.5 * radius, 12), (0.5, 0.5, 0.52), mirror)


def _lights(rng: np.random.Generator, canvas: Canvas, spot: Spot, x: float, y: float, front: bool) -> None:
    colour = np.array([1.0, 0.97, 0.85]) if front else np.array([0.8, 0.08, 0.06])
    for s in (-1, 1):
        part(canvas, spot, ellipse(s * x, y, 0.14, 0.1, 12), colour * rng.uniform(0.7, 1.1))


def car(rng: np.random.Generator, canvas: Canvas, spot: Spot) -> None:
    mirror, paint, high = int(rng.choice([-1, 1])), lacquer(rng), rng.uniform(1.38, 1.75)
    waist = 0.62 * high
    if rng.random() < 0.8:
        half = rng.uniform(1.75, 2.1)
        hood, tail = rng.uniform(0.45, 0.62), rng.uniform(0.45, 0.95)  # hatchbacks and estates end steeply
        body = [(-half, 0.3), (-half, 0.85 * waist), (-half * tail, waist), (half * hood, waist)]
        body += [(half * 0.95, 0.8 * waist), (half, 0.55), (half, 0.3)]
        roof = [(-half * tail, waist - 0.05), (-half * tail * 0.75, high), (half * 0.15, high)]
        roof += [(half * hood, waist - 0.05)]
        body, roof = np.array(body), np.array(roof)
        axles = (-0.62 * half, 0.62 * half)
        tyres = [ellipse(x, 0.32, 0.32, 0.32) for x in axles]
        add(canvas, spot, CAR, [body, roof, *tyres], paint, mirror)
        shade(rng, canvas, spot, box(-half, 0.3, half, 0.55), mirror)
        middle = roof.mean(0)
        part(canvas, spot, middle + (roof - middle) * (0.86, 0.72), GLASS, mirror)
        part(canvas, spot, box(-0.12, waist, 0.02, high - 0.06), paint, mirror)
        _wheels(canvas, spot, axles, 0.32, mirror)
        return
    half, front = rng.uniform(0.82, 0.95), rng.random() < 0.5
    body = np.array([(-half, 0.25), (-half, waist), (-0.9 * half, waist + 0.05), (0.9 * half, waist + 0.05)])
    body = np.vstack([body, [(half, waist), (half, 0.25)]])
    roof = np.array([(-0.92 * half, waist), (-0.7 * half, high), (0.7 * half, high), (0.92 * half, waist)])
    tyres = [box(s * 0.75 * half - 0.12, 0, s * 0.75 * half + 0.12, 0.4) for s in (-1, 1)]
    add(canvas, spot, CAR, [body, roof, *tyres], paint, 1)
    for tyre in tyres:
        part(canvas, spot, tyre, TYRE)
    part(canvas, spot, body, paint)
    part(canvas, spot, roof.mean(0) + (roof - roof.mean(0)) * (0.86, 0.75), GLASS)
    part(canvas, spot, box(-0.85 * half, 0.25, 0.85 * half, 0.42), TYRE * 2)
    _lights(rng, canvas, spot, 0.75 * half, 0.72 * waist, front)


def bus(rng: np.random.Generator, canvas: Canvas, spot: Spot) -> None:
    """One even box on wheels with windows all along, twice as high as a car."""
    mirror, paint = int(rng.choice([-1, 1])), lacquer(rng, COACHES)
    high = rng.uniform(2.8, 3.3)
    if rng.random() < 0.85:
        half = rng.uniform(2.5, 3.2)
        body = np.array(
            [
                (-half, 0.35),
                (-half, high - 0.1),
                (-half + 0.15, high),
                (half - 0.35, high),
                (half, high - 0.5),
            ]
        )
        body = np.vstack([body, [(half, 0.35)]])
        axles = (-0.6 * half, 0.62 * half)
        tyres = [ellipse(x, 0.45, 0.45, 0.45) for x in axles]
        add(canvas, spot, BUS, [body, *tyres], paint, mirror)
        pane = rng.uniform(0.9, 1.3)
        for x in np.arange(-half + 0.25, half - 1.2, pane):
            part(canvas, spot, box(x, 1.45, x + pane - 0.14, high - 0.45), GLASS, mirror)
        part(canvas, spot, box(half - 0.3, 1.1, half, high - 0.5), GLASS, mirror)
        for x in (half - 1.2, -0.1 * half):
            part(canvas, spot, box(x, 0.45, x + 0.75, high - 0.5), GLASS * 1.4, mirror)
        shade(rng, canvas, spot, box(-half, 0.35, half, 0.75), mirror)
        _wheels(canvas, spot, axles, 0.45, mirror)
        return
    half, front = rng.uniform(1.15, 1.3), rng.random() < 0.6
    body = np.array([(-half, 0.3), (-half, high - 0.2), (-0.88 * half, high), (0.88 * half, high), (half, high - 0.2)])
    body = np.vstack([body, [(half, 0.3)]])
    tyres = [box(s * 0.75 * half - 0.16, 0, s * 0.75 * half + 0.16, 0.5) for s in (-1, 1)]
    add(canvas, spot, BUS, [body, *tyres], paint, 1)
    for tyre in tyres:
        part(canvas, spot, tyre, TYRE)
    part(canvas, spot, body, paint)
    part(canvas, spot, box(-0.9 * half, 1.15 if front else 1.7, 0.9 * half, high - 0.6), GLASS)
    sign = np.array([0.95, 0.7, 0.1]) if front else GLASS
    part(canvas, spot, box(-0.6 * half, high - 0.45, 0.6 * half, high - 0.18), sign)
    part(canvas, spot, box(-half, 0.3, half, 0.5), TYRE * 2.5)
    _lights(rng, canvas, spot, 0.78 * half, 0.75, front)
