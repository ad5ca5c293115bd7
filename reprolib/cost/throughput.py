"""Seconds per image on named hardware: measured where a record has them, else extrapolated from multiply-adds.

The model is seconds = fixed + multiply-adds * slope, fitted to what was measured on one kind of hardware: the suite's
own records, or else published speeds. How far it is off is what it misses each of them by when fitted to the others.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ENOUGH = 3  # points for a fixed part beside the slope


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measured speed: seconds per image on one device, and the multiply-adds of that image's forward pass."""

    name: str
    flops: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A published speed, seconds per image on one device; the experiment is what was timed, at COCO's paper scale.

    short_sides: of the training images. None: not published.
    """

    hardware: str
    precision: str
    experiment: str
    train_seconds: float | None
    test_seconds: float | None
    source: str
    short_sides: tuple[int, ...] = (640, 672, 704, 736, 768, 800)


_DETECTRON2 = "detectron2 MODEL_ZOO.md, 8 GPUs, 16 images a step"
_NVIDIA = "NVIDIA DeepLearningExamples, Mask R-CNN for PyTorch"
_V100, _A100 = "NVIDIA V100", "NVIDIA A100 80GB"
# Seconds per step * GPUs / images of the step, or 1 / images per second.
ANCHORS = (
    Anchor(
        hardware=_V100,
        precision="float32",
        experiment="coco-mask_rcnn_r50",
        train_seconds=0.261 * 8 / 16,
        test_seconds=0.043,
        source=_DETECTRON2,
    ),
    Anchor(
        hardware=_V100,
        precision="float32",
        experiment="coco-mask_rcnn_r101",
        train_seconds=0.340 * 8 / 16,
        test_seconds=0.056,
        source=_DETECTRON2,
    ),
    Anchor(
        hardware=_V100,
        precision="float32",
        experiment="coco-cascade_mask_rcnn_r50",
        train_seconds=0.328 * 8 / 16,
        test_seconds=0.053,
        source=_DETECTRON2,
    ),
    Anchor(
        hardware=_A100,
        precision="TF32",
        experiment="coco-mask_rcnn_r50",
        train_seconds=1 / 23,
        test_seconds=1 / 24,
        source=f"{_NVIDIA}, 1 GPU, 12 images a step",
        short_sides=(800,),
    ),
    Anchor(
        hardware=_A100,
        precision="mixed float16",
        experiment="coco-mask_rcnn_r50",
        train_seconds=1 / 24,
        test_seconds=1 / 24,
        source=f"{_NVIDIA}, 1 GPU, 12 images a step",
        short_sides=(800,),
    ),
)
DEFAULT_HARDWARE = f"{_A100}, TF32"  # the newest that is published; TF32 is torch's default for convolutions there


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Seconds per image as fixed + flops * slope. ratios: estimate by measured of every point, itself left out of the
    fit; empty for a single point."""

    fixed: float
    slope: float
    points: int
    ratios: tuple[float, ...]

    def seconds(self, flops: int) -> float:
        return self.fixed + self.slope * flops

    @property
    def typical(self) -> float | None:
        """The median factor, at least 1, by which a left-out point was missed."""
        return statistics.median(map(_factor, self.ratios)) if self.ratios else None

    @property
    def worst(self) -> float | None:
        return max(map(_factor, self.ratios)) if self.ratios else None


def fit(points: Sequence[Point]) -> Fit:
    """Least squares of the relative error, both parts at least 0. Raises ValueError without points."""
    if not points:
        raise ValueError("no measured speed to fit to")
    ratios = []
    if len(points) > 1:
        for index, left_out in enumerate(points):
            fixed, slope = _solve([*points[:index], *points[index + 1 :]])
            ratios.append((fixed + slope * left_out.flops) / left_out.seconds)
    fixed, slope = _solve(points)
    return Fit(fixed=fixed, slope=slope, points=len(points), ratios=tuple(ratios))


def _solve(points: Sequence[Point]) -> tuple[float, float]:
    """fixed, slope that minimise the sum of (estimate / seconds - 1)**2, in one variable where few points are."""
    ones = [1 / point.seconds for point in points]
    works = [point.flops / point.seconds for point in points]
    a, b, c = (_dot(ones, ones), _dot(ones, works), _dot(works, works))
    right_one, right_work = sum(ones), sum(works)
    only_slope = (0.0, right_work / c)
    determinant = a * c - b * b
    if len(points) < ENOUGH or determinant <= 1e-9 * a * c:
        return only_slope
    fixed = (right_one * c - right_work * b) / determinant
    slope = (right_work * a - right_one * b) / determinant
    if fixed < 0:
        return only_slope
    return (right_one / a, 0.0) if slope < 0 else (fixed, slope)


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(left, right, strict=True))


def _factor(ratio: float) -> float:
    return max(ratio, 1 / ratio)


def recorded_hardware(record: Mapping) -> str:
    """The hardware and precision of a record's training, for example `AMD EPYC, 1 thread, float32`.

    The record names the machine of the evaluation; `train` and `evaluate` of a run are taken to share it.
    """
    on_gpu = str(record["training"]["device"]).startswith("cuda")
    precision = record["recipe"].get("precision", "float32") if on_gpu else "float32"
    return f"{record['speed']['hardware']}, {precision}"


def published_hardware(anchor: Anchor) -> str:
    return f"{anchor.hardware}, {anchor.precision}"
