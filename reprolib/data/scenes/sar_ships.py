"""Radar scenes: oriented ships under speckle, offshore and moored, with land, wakes and bright clutter."""

from __future__ import annotations

import numpy as np

from reprolib.data.scenes.canvas import (
    FRAME,
    Canvas,
    Instances,
    Patch,
    blob,
    blur,
    box,
    ellipse,
    grid,
    place,
    smooth_noise,
    stroke,
    to_bytes,
)

CLASSES = ("ship",)
EMPTY_SHARE = 0.02


def scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, Instances]:
    """One scene: grey uint8 [size, size, 3] and its ships [(0, bool [size, size])], never overlapping.

    The same rng state gives the same bytes. The canvas holds backscatter intensity; speckle multiplies it and the
    square root turns it into amplitude.
    """
    canvas = Canvas(size, channels=1)
    canvas.image[..., 0] = _sea(rng, size)
    kind = rng.choice(["open", "coast", "harbour"], p=[0.45, 0.25, 0.3])
    land = np.zeros((size, size), bool)
    berths: list[tuple[float, float, float]] = []
    if kind != "open":
        land, berths = _shore(rng, canvas, harbour=kind == "harbour")
    _sea_clutter(rng, canvas, land)

    if rng.random() >= EMPTY_SHARE:
        if berths:
            _moor(rng, canvas, land, berths)
        ships_left = 1 + rng.poisson(3.5 if kind == "open" else 2.0)
        convoy = rng.uniform(0, 2 * np.pi)  # neighbours often share a heading
        for _ in range(8 * ships_left):
            if ships_left == 0:
                break
            length = _length(rng)
            heading = convoy + rng.normal(0, 0.3) if rng.random() < 0.4 else rng.uniform(0, 2 * np.pi)
            x, y = rng.uniform(2, FRAME - 2, 2)
            ships_left -= _ship(rng, canvas, land, x, y, heading, length, moving=rng.random() < 0.4)
    return _develop(rng, canvas.image), canvas.instances()


def _length(rng: np.random.Generator) -> float:
    return float(np.clip(rng.lognormal(np.log(27), 0.4), 14, 72))


def _sea(rng: np.random.Generator, size: int) -> np.ndarray:
    """Backscatter of wind and swell, [size, size]."""
    x, y = grid(size)
    level = rng.uniform(0.015, 0.09)
    wind = np.exp(rng.uniform(0.1, 0.5) * smooth_noise(rng, size, 60, octaves=3))
    heading, wavelength = rng.uniform(0, np.pi), rng.uniform(5, 14)
    phase = (x * np.cos(heading) + y * np.sin(heading)) * (2 * np.pi / wavelength)
    swell = 1 + rng.uniform(0, 0.35) * np.sin(phase + smooth_noise(rng, size, 30))
    return level * wind * swell


def _shore(
    rng: np.random.Generator, canvas: Canvas, *, harbour: bool
) -> tuple[np.ndarray, list[tuple[float, float, float]]]:
    """Land with buildings, in a harbour with piers; returns the land [H, W] and berths (x, y, seaward heading)."""
    size = canvas.size
    x, y = grid(size)
    seaward = rng.uniform(0, 2 * np.pi)
    normal = np.array([np.cos(seaward), np.sin(seaward)])
    along = np.array([-normal[1], normal[0]])
    origin = np.array([64.0, 64.0]) - normal * rng.uniform(8, 46)
    distance = (x - origin[0]) * normal[0] + (y - origin[1]) * normal[1]  # positive at sea
    if not harbour:
        distance = distance + rng.uniform(4, 12) * smooth_noise(rng, size, 40, octaves=4)
    land = distance < 0

    piers, berths = [], []
    if harbour:
        for t in np.arange(rng.uniform(-80, -50), 80, rng.uniform(34, 60)):
            if rng.random() < 0.75:
                width, length = rng.uniform(4, 11), rng.uniform(28, 60)
                lean = seaward + rng.choice([0.0, rng.uniform(-0.3, 0.3)])
                root = origin + along * t
                piers.append(place(box(-6, -width / 2, length, width / 2), *root, lean))
                for side in (-1, 1):
                    for reach in (0.3, 0.75):
                        spot = place([[reach * length, side * (width / 2)]], *root, lean)[0]
                        outwards = lean + side * np.pi / 2
                        berths.append((*spot, outwards))
            else:
                for step in (8, 30):
                    berths.append((*(origin + along * (t + step)), seaward))
        patch = canvas.coverage(*piers) if piers else None
        if patch is not None:
            land[patch.rows, patch.columns] |= patch.coverage >= 0.5

    ground = rng.uniform(0.08, 0.25) * np.exp(rng.uniform(0.3, 0.6) * smooth_noise(rng, size, 22, octaves=4))
    if harbour:
        ground = 0.5 * ground + 0.5 * ground.mean()
    canvas.image[..., 0] = np.where(land, ground, canvas.image[..., 0])

    # Bright clutter on land: sheds and streets lined up with the quay, elongated and as bright as ships.
    before = canvas.image.copy()
    for _ in range(rng.poisson(16 if harbour else 8)):
        spot = origin - normal * rng.uniform(3, 75) + along * rng.uniform(-80, 80)
        turn = seaward + rng.choice([0, np.pi / 2]) + rng.normal(0, 0.06 if harbour else 0.5)
        length, width = rng.uniform(4, 18), rng.uniform(2, 5)
        shape = place(box(-length / 2, -width / 2, length / 2, width / 2), *spot, turn)
        canvas.paint(canvas.coverage(shape), rng.uniform(0.25, 1.3))
    for pier in piers:  # a crane or bollard row along the pier
        middle = pier.mean(0) + rng.normal(0, 3, 2)
        canvas.paint(canvas.coverage(stroke(middle, middle + normal * rng.uniform(2, 9), 1.3)), rng.uniform(0.3, 1.2))
    canvas.image = np.where(land[..., None], canvas.image, before)
    return land, berths


def _sea_clutter(rng: np.random.Generator, canvas: Canvas, land: np.ndarray) -> None:
    """What is bright at sea and no ship: islets, buoys, smeared ghosts of targets outside the frame."""
    if rng.random() < 0.35:
        for _ in range(rng.integers(1, 4)):
            islet = blob(rng, *rng.uniform(0, FRAME, 2), rng.uniform(2, 7), 0.6)
            canvas.paint(canvas.coverage(islet), rng.uniform(0.15, 0.5))
            patch = canvas.coverage(islet)
            land[patch.rows, patch.columns] |= patch.coverage > 0
    for _ in range(rng.poisson(0.8)):
        canvas.paint(canvas.coverage(ellipse(*rng.uniform(0, FRAME, 2), 1.1, 1.1)), rng.uniform(0.5, 2))
    if rng.random() < 0.3:
        x, y = rng.uniform(10, FRAME - 10, 2)
        for step in range(3):
            ghost = place(ellipse(0, 0, rng.uniform(6, 11), 1.6), x, y + 2.2 * step, rng.normal(0, 0.1))
            canvas.paint(canvas.coverage(ghost), rng.uniform(0.12, 0.3), opacity=0.5)


def _moor(rng: np.random.Generator, canvas: Canvas, land: np.ndarray, berths: list[tuple[float, float, float]]) -> None:
    """Ships alongside quays and piers, sometimes two or three abreast."""
    for x, y, outwards in berths:
        if rng.random() < 0.5:
            continue
        offset = rng.uniform(0.3, 1.5)
        length = min(_length(rng), 40)
        for _ in range(rng.choice([1, 2, 3], p=[0.65, 0.25, 0.1])):
            width = _width(rng, length)
            offset += width / 2
            heading = outwards + rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.03)
            spot = x + np.cos(outwards) * offset, y + np.sin(outwards) * offset
            _ship(rng, canvas, land, *spot, heading, length, width=width, moored=True)
            offset += width / 2 + rng.uniform(0.8, 1.6)
            length *= rng.uniform(0.75, 1.05)


def _width(rng: np.random.Generator, length: float) -> float:
    return max(5.0, length / rng.uniform(2.8, 4.6))


def _ship(
    rng: np.random.Generator,
    canvas: Canvas,
    land: np.ndarray,
    x: float,
    y: float,
    heading: float,
    length: float,
    *,
    width: float = 0.0,
    moving: bool = False,
    moored: bool = False,
) -> bool:
    """Draw one ship unless it would lie on land or on another ship; returns whether it was drawn."""
    width = width or _width(rng, length)
    half, beam = length / 2, width / 2
    bow, stern = rng.uniform(0.5, 0.8), rng.uniform(0.55, 1.0)
    hull_points = np.array(
        [
            [half, 0],
            [half * (bow + 0.12), -beam * 0.62],
            [half * bow * 0.8, -beam],
            [-half * 0.75, -beam],
            [-half, -beam * stern],
            [-half, beam * stern],
            [-half * 0.75, beam],
            [half * bow * 0.8, beam],
            [half * (bow + 0.12), beam * 0.62],
        ]
    )
    hull = canvas.coverage(place(hull_points, x, y, heading))
    room = hull if moored else canvas.coverage(place(hull_points * (1 + 3 / length, 1 + 3 / width), x, y, heading))
    if canvas.taken(room) or (land[hull.rows, hull.columns] & (hull.coverage > 0.5)).any():
        return False
    if moving:
        _wake(rng, canvas, x, y, heading, half, beam)

    strength = float(np.clip(rng.lognormal(np.log(0.55), 0.5), 0.2, 2.2))
    canvas.paint(hull, strength)
    canvas.own(0, hull)
    # Superstructure and deck cargo: a bright bridge, bands across the deck, a bright rim towards the radar.
    bridge = rng.uniform(-0.75, -0.35) * half if rng.random() < 0.75 else rng.uniform(0.2, 0.5) * half
    parts = [box(bridge - 0.09 * length, -0.8 * beam, bridge + 0.07 * length, 0.8 * beam)]
    parts += [
        box(at - 0.03 * length, -0.75 * beam, at + 0.03 * length, 0.75 * beam)
        for at in np.linspace(-0.3, 0.55, rng.integers(0, 5)) * half
    ]
    for index, part in enumerate(parts):
        _within(canvas, hull, part, x, y, heading, strength * rng.uniform(1.4, 3.5 if index == 0 else 2.0))
    _within(canvas, hull, box(-half, 0.15 * beam, half, beam), x, y, heading, strength * rng.uniform(0.45, 0.9))
    if rng.random() < 0.3:
        _sidelobes(rng, canvas, *place([[bridge, 0]], x, y, heading)[0], strength)
    return True


def _within(canvas: Canvas, hull: Patch, part: np.ndarray, x: float, y: float, heading: float, level: float) -> None:
    """Paint a part of a ship, kept inside its hull."""
    patch = canvas.coverage(place(part, x, y, heading))
    inside = np.zeros_like(canvas.owner, np.float32)
    inside[hull.rows, hull.columns] = hull.coverage
    canvas.paint(patch._replace(coverage=np.minimum(patch.coverage, inside[patch.rows, patch.columns])), level)


def _sidelobes(rng: np.random.Generator, canvas: Canvas, x: float, y: float, strength: float) -> None:
    """The cross that a very bright scatterer leaves along range and azimuth."""
    columns, rows = grid(canvas.size)
    across, down = np.abs(columns - x), np.abs(rows - y)
    reach, level = rng.uniform(1.5, 3.5), strength * rng.uniform(0.5, 1.6)
    ripple = 0.6 + 0.4 * np.cos(across * 1.9), 0.6 + 0.4 * np.cos(down * 1.9)
    cross = np.exp(-((down / 0.7) ** 2)) * ripple[0] / (1 + (across / reach) ** 2)
    cross += np.exp(-((across / 0.7) ** 2)) * ripple[1] / (1 + (down / reach) ** 2)
    canvas.image[..., 0] += level * cross


def _wake(
    rng: np.random.Generator, canvas: Canvas, x: float, y: float, heading: float, half: float, beam: float
) -> None:
    """Dark turbulent trail and, at times, the bright arms of the bow wave, fading astern."""
    reach, opening = half * rng.uniform(2.5, 6), np.radians(rng.uniform(7, 18))
    arms = rng.random() < 0.6
    steps = np.linspace(0, reach, 6)
    for near, far, fade in zip(steps[:-1], steps[1:], np.linspace(1, 0.15, 5), strict=True):
        trail = stroke((-half - near, 0), (-half - far, 0), 1.2 * beam)
        _stir(canvas, place(trail, x, y, heading), 1 - 0.65 * fade)
        for side in (-1, 1) if arms else ():
            arm = [(half - d, side * (0.5 + d * np.tan(opening))) for d in (near, far)]
            _stir(canvas, place(stroke(*arm, 1.1), x, y, heading), 1 + 1.6 * fade)


def _stir(canvas: Canvas, shape: np.ndarray, factor: float) -> None:
    """Darken or brighten the water, not the ships that lie there."""
    patch = canvas.coverage(shape)
    water = canvas.owner[patch.rows, patch.columns] == 0
    canvas.multiply(patch._replace(coverage=patch.coverage * water), factor)


def _develop(rng: np.random.Generator, intensity: np.ndarray) -> np.ndarray:
    """Speckle of a few looks, a slightly wide point response, amplitude, gain: uint8 [H, W, 3]."""
    looks = rng.uniform(2, 6)
    speckled = intensity * rng.standard_gamma(looks, intensity.shape).astype(np.float32) / np.float32(looks)
    speckled = blur(speckled, rng.uniform(0.35, 0.65))
    return to_bytes(np.sqrt(speckled) * rng.uniform(0.8, 1.25))
