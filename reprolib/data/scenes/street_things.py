"""Drawing on a street: a spot with its scale, people, cyclists, and furniture that stands in front of them."""

from __future__ import annotations

import numpy as np

from reprolib.data.scenes.canvas import Canvas, blob, box, ellipse, stroke

CLASSES = ("person", "cyclist", "car", "bus")
PERSON, CYCLIST, CAR, BUS = range(4)

GLASS = np.array([0.13, 0.17, 0.21])
TYRE = np.array([0.06, 0.06, 0.07])
PAINTS = np.array([[0.9, 0.9, 0.9], [0.1, 0.1, 0.12], [0.7, 0.08, 0.08], [0.1, 0.25, 0.65], [0.75, 0.78, 0.82]])
CLOTHES = np.array([[0.85, 0.3, 0.1], [0.8, 0.1, 0.15], [0.9, 0.85, 0.8], [0.75, 0.2, 0.5], [0.15, 0.15, 0.2]])
JERSEYS = np.array([[0.75, 0.9, 0.1], [0.95, 0.75, 0.1], [0.1, 0.7, 0.6]])
COACHES = np.array([[0.95, 0.7, 0.1], [0.15, 0.6, 0.25], [0.85, 0.15, 0.1]])
MUTED = np.array([[0.45, 0.45, 0.47], [0.35, 0.38, 0.36], [0.5, 0.45, 0.4]])

Shapes = list[np.ndarray]


class Spot:
    """A place on the ground and its scale: local shapes are in metres, x to the right of it and y up from it."""

    def __init__(self, x: float, y: float, scale: float, sun: float) -> None:
        self.x, self.y, self.scale, self.sun = x, y, scale, sun

    def at(self, shape, mirror: int = 1) -> np.ndarray:
        shape = np.asarray(shape, np.float64)
        return np.stack([self.x + mirror * self.scale * shape[:, 0], self.y - self.scale * shape[:, 1]], 1)


def add(canvas: Canvas, spot: Spot, class_index: int | None, outlines: Shapes, colour, mirror: int) -> None:
    """A soft shadow on the ground, then the silhouette; None is something that is not annotated."""
    width = np.ptp(np.vstack(outlines)[:, 0])
    shadow = ellipse(0.5 * spot.sun, -0.02, 0.6 * width, 0.09 * width + 0.1)
    canvas.multiply(canvas.coverage(spot.at(shadow)), 0.6)
    patch = canvas.coverage(*(spot.at(outline, mirror) for outline in outlines))
    canvas.paint(patch, colour)
    canvas.hide(patch) if class_index is None else canvas.own(class_index, patch)


def part(canvas: Canvas, spot: Spot, shape, colour, mirror: int = 1) -> None:
    canvas.paint(canvas.coverage(spot.at(shape, mirror)), colour)


def shade(rng: np.random.Generator, canvas: Canvas, spot: Spot, shape, mirror: int = 1) -> None:
    canvas.multiply(canvas.coverage(spot.at(shape, mirror)), rng.uniform(0.65, 0.9))


def lacquer(rng: np.random.Generator, typical: np.ndarray = PAINTS) -> np.ndarray:
    """A colour from a palette, now and then any: colour is a hint of the class, shape decides."""
    colours = typical if rng.random() < 0.8 else PAINTS
    return colours[rng.integers(len(colours))] * rng.uniform(0.85, 1.1)


def _human(rng: np.random.Generator, lean: float = 0.0) -> dict[str, Shapes]:
    """Head, trunk and arms of someone upright, hips at the origin."""
    shoulder = (lean, 0.58)
    swing = rng.uniform(-0.24, 0.24)
    build = rng.uniform(0.42, 0.54)
    return {
        "trunk": [
            np.array(
                [
                    (-build * 0.42, -0.05),
                    (lean - build / 2, 0.55),
                    (lean + build / 2, 0.55),
                    (build * 0.42, -0.05),
                ]
            ),
            stroke(shoulder, (lean + swing, 0.05), 0.18),
            stroke(shoulder, (lean - swing, 0.05), 0.18),
        ],
        "head": [ellipse(lean * 1.25, 0.76, 0.125, 0.155, 12)],
    }


def _shift(shapes: Shapes, x: float, y: float, scale: float = 1.0) -> Shapes:
    return [shape * scale + (x, y) for shape in shapes]


def person(rng: np.random.Generator, canvas: Canvas, spot: Spot) -> None:
    tall, mirror = rng.uniform(0.72, 1.1), int(rng.choice([-1, 1]))
    stride = rng.uniform(0.0, 0.28)
    human = {k: _shift(v, 0, 0.88 * tall, tall) for k, v in _human(rng).items()}
    hip = (0, 0.9 * tall)
    legs = [stroke((s * 0.07, hip[1]), (s * (0.09 + stride) * tall, 0.02), 0.23 * tall) for s in (-1, 1)]
    trunk, trousers = lacquer(rng, CLOTHES), lacquer(rng, MUTED) * 0.6
    if rng.random() < 0.2:  # a coat or skirt
        legs.append(np.array([(-0.2, hip[1]), (-0.32, 0.45 * tall), (0.32, 0.45 * tall), (0.2, hip[1])]))
    add(canvas, spot, PERSON, [*human["trunk"], *human["head"], *legs], trunk, mirror)
    for leg in legs:
        part(canvas, spot, leg, trousers, mirror)
    shade(rng, canvas, spot, legs[0], mirror)
    for shape in human["trunk"]:
        part(canvas, spot, shape, trunk, mirror)
    shade(rng, canvas, spot, human["trunk"][1], mirror)
    _head(rng, canvas, spot, human["head"][0], mirror, helmet=False)


def _head(rng: np.random.Generator, canvas: Canvas, spot: Spot, head, mirror: int, *, helmet: bool) -> None:
    skin = np.array([0.78, 0.58, 0.46]) * rng.uniform(0.45, 1.1)
    part(canvas, spot, head, skin, mirror)
    top = head[head[:, 1] >= head[:, 1].mean() - 1e-6]
    part(
        canvas,
        spot,
        top,
        lacquer(rng) if helmet else np.array([0.2, 0.14, 0.1]) * rng.uniform(0.5, 2.5),
        mirror,
    )


def cyclist(rng: np.random.Generator, canvas: Canvas, spot: Spot) -> None:
    """Bicycle and rider together, from the side or, narrower, from the front."""
    mirror = int(rng.choice([-1, 1]))
    side = rng.random() < 0.8
    lean = rng.uniform(0.15, 0.4) if side else 0.0
    human = {k: _shift(v, -0.15 if side else 0, 0.98) for k, v in _human(rng, lean).items()}
    trunk, frame = lacquer(rng, JERSEYS), lacquer(rng)
    if side:
        wheels = [ellipse(x, 0.34, 0.34, 0.34) for x in (-0.55, 0.55)]
        pedal = rng.uniform(-0.1, 0.15)
        limbs = [stroke((-0.12, 1.0), (0.18, 0.66), 0.24), stroke((0.18, 0.66), (0.02 + pedal, 0.25), 0.2)]
        arms = [stroke((lean - 0.15, 1.5), (0.45, 1.08), 0.17)]
        bars = [stroke((-0.55, 0.34), (0, 0.75), 0.13), stroke((0, 0.75), (0.45, 0.8), 0.13)]
        bars += [stroke((0.55, 0.34), (0.42, 1.08), 0.13), stroke((-0.2, 0.95), (0.03, 0.3), 0.13)]
        bars += [np.array([(-0.3, 0.75), (0.42, 0.82), (0.25, 0.36), (-0.25, 0.3)])]  # a frame with its bags
    else:
        wheels = [box(-0.06, 0, 0.06, 0.68)]
        limbs = [stroke((s * 0.1, 1.0), (s * 0.2, rng.uniform(0.25, 0.4)), 0.17) for s in (-1, 1)]
        arms = [stroke((s * 0.2, 1.5), (s * 0.32, 1.08), 0.12) for s in (-1, 1)]
        bars = [stroke((-0.35, 1.05), (0.35, 1.05), 0.09), stroke((0, 0.6), (0, 1.05), 0.1)]
    outlines = [*wheels, *bars, *limbs, *arms, *human["trunk"][:1], *human["head"]]
    add(canvas, spot, CYCLIST, outlines, trunk, mirror)
    for wheel in wheels:
        part(canvas, spot, wheel, TYRE, mirror)
        middle = wheel.mean(0)
        part(canvas, spot, middle + 0.72 * (wheel - middle), (0.42, 0.42, 0.43), mirror)
    for shapes, colour in ((bars, frame), (limbs, lacquer(rng, MUTED) * 0.6), (human["trunk"][:1] + arms, trunk)):
        for shape in shapes:
            part(canvas, spot, shape, colour, mirror)
    _head(rng, canvas, spot, human["head"][0], mirror, helmet=rng.random() < 0.6)


def lamp(rng: np.random.Generator, canvas: Canvas, spot: Spot) -> None:
    arm = rng.choice([-1, 1]) * rng.uniform(0.6, 1.4)
    top = rng.uniform(4.5, 6)
    pole = [
        stroke((0, 0), (0, top), 0.2),
        stroke((0, top), (arm, top + 0.15), 0.14),
        ellipse(arm, top, 0.3, 0.13, 12),
    ]
    add(canvas, spot, None, pole, np.array([0.24, 0.25, 0.26]) * rng.uniform(0.6, 1.6), 1)


def tree(rng: np.random.Generator, canvas: Canvas, spot: Spot) -> None:
    top, spread = rng.uniform(2.6, 4), rng.uniform(0.9, 1.8)
    trunk = np.array([(-0.17, 0), (-0.1, top), (0.1, top), (0.17, 0)])
    crown = blob(rng, 0, top + 0.4 * spread, spread, 0.35)
    add(canvas, spot, None, [trunk, crown], np.array([0.27, 0.2, 0.14]), 1)
    green = np.array([0.17, 0.3, 0.13]) * rng.uniform(0.6, 1.4) * (1, rng.uniform(0.75, 1.1), 1)
    patch = canvas.coverage(spot.at(crown))
    canvas.paint(patch, green * (1 + 0.22 * rng.standard_normal((*patch.coverage.shape, 1))))
    part(canvas, spot, blob(rng, -0.25 * spread, top + 0.6 * spread, 0.5 * spread), green * 1.3)


def sign(rng: np.random.Generator, canvas: Canvas, spot: Spot) -> None:
    """A post with a round head: about as tall and as wide as a person."""
    pole = [stroke((0, 0), (0, 2.2), 0.12), ellipse(0, 2.25, 0.34, 0.34)]
    add(canvas, spot, None, pole, (0.45, 0.45, 0.46), 1)
    part(canvas, spot, pole[1], lacquer(rng, MUTED))
    part(canvas, spot, ellipse(0, 2.25, 0.2, 0.2), (0.85, 0.85, 0.83))


def pillar(rng: np.random.Generator, canvas: Canvas, spot: Spot) -> None:
    """A kiosk or a post box: a person's height, or a small van's box without wheels."""
    half, top = rng.uniform(0.25, 0.9), rng.uniform(1.2, 2.4)
    add(
        canvas,
        spot,
        None,
        [box(-half, 0, half, top), ellipse(0, top, half, 0.2 * half + 0.05)],
        lacquer(rng, MUTED),
        1,
    )
    part(canvas, spot, box(-0.75 * half, 0.5 * top, 0.75 * half, 0.88 * top), lacquer(rng, MUTED))
