"""Drawing shared by the generated families: shapes, antialiased painting, the owner of each pixel, textures.

Coordinates are in units of 1/128 of the frame's side, x to the right and y down, so a family draws the same scene
at any size; only noise is per pixel. Shapes are arrays of points [N, 2]. A pixel belongs to a shape when the shape
covers at least half of it, and the same coverage blends the colours: masks fit what is seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

FRAME = 128.0  # units along a side
MIN_PIXELS = 12  # an instance with fewer visible pixels is not annotated
MIN_VISIBLE = 0.15  # nor an instance of whose pixels inside the frame a smaller share is visible
SUBPIXELS = 4

Instances = list[tuple[int, np.ndarray]]


class Patch(NamedTuple):
    """Coverage of a shape, 0..1, within a window of the frame."""

    rows: slice
    columns: slice
    coverage: np.ndarray  # float32 [h, w]


class Canvas:
    """An image in the making and its instances in painter's order: what comes later hides what came before."""

    def __init__(self, size: int, *, channels: int = 3, frame: float = FRAME) -> None:
        """`frame`: units along a side, fewer for a closer view."""
        self.size = size
        self.scale = size / frame
        self.image = np.zeros((size, size, channels), np.float32)
        self.owner = np.zeros((size, size), np.int32)  # 0: background, k: the k-th instance
        self._added: list[tuple[int, int]] = []  # class index, pixels inside the frame

    def coverage(self, *shapes: np.ndarray) -> Patch:
        """Share of each pixel that the union of `shapes` covers; an empty patch when they lie outside the frame."""
        points = np.concatenate(shapes) * self.scale
        limits = np.array([np.floor(points.min(0)), np.ceil(points.max(0)) + 1])
        (left, top), (right, bottom) = np.clip(limits, 0, self.size).astype(int).tolist()
        rows, columns = slice(top, bottom), slice(left, right)
        if left >= right or top >= bottom:
            return Patch(rows, columns, np.zeros((bottom - top, right - left), np.float32))
        # Pillow's integer coordinates name subpixel centres, hence the half.
        points = (points - (left, top)) * SUBPIXELS - 0.5
        bitmap = Image.new("L", ((right - left) * SUBPIXELS, (bottom - top) * SUBPIXELS))
        draw = ImageDraw.Draw(bitmap)
        start = 0
        for shape in shapes:
            draw.polygon(points[start : start + len(shape)].ravel().tolist(), fill=255)
            start += len(shape)
        return Patch(rows, columns, np.asarray(bitmap.reduce(SUBPIXELS), np.float32) / 255)

    def paint(self, patch: Patch, colour, *, opacity: float = 1.0) -> None:
        """Blend `colour` (scalar, [C] or [h, w, C]) over the image."""
        window = self.image[patch.rows, patch.columns]
        window += (opacity * patch.coverage[..., None]) * (np.asarray(colour, np.float32) - window)

    def multiply(self, patch: Patch, factor: float) -> None:
        """Darken or brighten what is under the patch: shadows, wakes."""
        self.image[patch.rows, patch.columns] *= 1 + (factor - 1) * patch.coverage[..., None]

    def taken(self, patch: Patch) -> bool:
        """Whether an instance owns a pixel that the patch touches."""
        return bool((self.owner[patch.rows, patch.columns][patch.coverage > 0] > 0).any())

    def own(self, class_index: int, patch: Patch) -> None:
        """Add an instance whose silhouette is `patch`, in front of everything so far."""
        inside = patch.coverage >= 0.5
        self._added.append((class_index, int(inside.sum())))
        self.owner[patch.rows, patch.columns][inside] = len(self._added)

    def hide(self, patch: Patch) -> None:
        """Put something that is no instance in front of everything so far."""
        self.owner[patch.rows, patch.columns][patch.coverage >= 0.5] = 0

    def instances(self) -> Instances:
        """The visible parts, disjoint, in the order they were added: [(class index, bool [H, W])]."""
        visible = np.bincount(self.owner.ravel(), minlength=len(self._added) + 1)[1:]
        return [
            (class_index, self.owner == number)
            for number, ((class_index, pixels), seen) in enumerate(zip(self._added, visible, strict=True), 1)
            if seen >= MIN_PIXELS and seen >= MIN_VISIBLE * pixels
        ]


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Image 0..1 [H, W, 1 or 3] as uint8 [H, W, 3]."""
    image = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def place(points: np.ndarray, x: float, y: float, angle: float = 0.0) -> np.ndarray:
    """Turn local points by `angle` (radians, clockwise on screen) and move their origin to (x, y)."""
    cosine, sine = np.cos(angle), np.sin(angle)
    points = np.asarray(points, np.float64)
    return points @ np.array([[cosine, sine], [-sine, cosine]]) + (x, y)


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, corners: int = 24) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([x + radius_x * np.cos(turn), y + radius_y * np.sin(turn)], 1)


def stroke(start, end, width: float) -> np.ndarray:
    """A straight line of a given width as a shape."""
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-6)
    across = np.array([-along[1], along[0]]) * width / 2
    return np.stack([start + across, end + across, end - across, start - across])


def blob(rng: np.random.Generator, x: float, y: float, radius: float, rough: float = 0.25) -> np.ndarray:
    """An irregular roundish shape: a tree crown, an islet."""
    turn = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    reach = np.ones(18)
    for wave in (2, 3, 5):
        reach += rough / wave * rng.uniform(-1.5, 1.5) * np.cos(wave * turn + rng.uniform(0, 2 * np.pi))
    return np.stack([x + radius * reach * np.cos(turn), y + radius * reach * np.sin(turn)], 1)


def smooth_noise(rng: np.random.Generator, size: int, cell: float, octaves: int = 1) -> np.ndarray:
    """Smooth noise, float32 [size, size], mean 0 and deviation about 1, features of about `cell` units."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cells = max(2, round(FRAME * 2**octave / cell)) + 1
        grid = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
        total += np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC)) * 0.55**octave
    return total / max(float(total.std()), 1e-6)


def blur(image: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of float32 [H, W, C], standard deviation `radius` in pixels."""
    reach = max(1, int(np.ceil(2.5 * radius)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padding = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(image, padding, mode="edge")
        length = image.shape[axis]
        image = sum(
            weight * (padded[k : k + length] if axis == 0 else padded[:, k : k + length])
            for k, weight in enumerate(kernel)
        )
    return image


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x [1, size] and y [size, 1] of the pixel centres, in units."""
    centres = ((np.arange(size) + 0.5) * (FRAME / size)).astype(np.float32)
    return centres[None, :], centres[:, None]
