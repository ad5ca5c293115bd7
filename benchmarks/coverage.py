"""How often 95% intervals over images cover the truth, in a simulation that knows it.

`python -m benchmarks coverage` draws data sets from a population of generated images, in which the AP of two
systems is known, and counts how often the intervals of AP and of the difference contain it. Four intervals from the
same draws: `normal` is the estimate +- 1.96 standard deviations of the draws, which is what tables use
(`reprolib.tables.confidence_intervals`); `percentile`, `basic` and `bca` (bias-corrected and accelerated) are beside
it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.bootstrap import generate_matches
from benchmarks.report import show
from reprolib.evaluation.bootstrap import average_precision, resample_counts
from reprolib.evaluation.matches import Matches
from reprolib.tables.confidence_intervals import LEVEL

POPULATION, CLASSES, DETECTIONS_PER_IMAGE = 20_000, 5, 20
QUALITIES = (0.75, 0.65)
METRICS = ("AP", "AP50", "AP75", "APs")
IMAGES = (80, 300)
TRIALS, RESAMPLES = 400, 300


def subset(matches: Matches, images: np.ndarray) -> Matches:
    """The matches of some images. images: their positions, ascending."""
    place = np.full(len(matches.image_ids), -1)
    place[images] = np.arange(len(images))
    kept = place[matches.image] >= 0
    return dataclasses.replace(
        matches,
        image_ids=matches.image_ids[images],
        objects=matches.objects[:, :, images],
        offsets=np.concatenate([[0], kept.cumsum()])[matches.offsets],
        image=place[matches.image[kept]].astype(np.int32),
        score=matches.score[kept],
        matched=matches.matched[:, kept],
        ignored=matches.ignored[:, kept],
    )


def normal(value: float, draws: np.ndarray, _: np.ndarray) -> tuple[float, float]:
    """The estimate +- z standard deviations of the draws."""
    half = _z(0.5 + LEVEL / 2) * draws.std(ddof=1)
    return value - half, value + half


def percentile(_value: float, draws: np.ndarray, _: np.ndarray) -> tuple[float, float]:
    """Quantiles of the draws."""
    low, high = np.quantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)


def basic(value: float, draws: np.ndarray, without: np.ndarray) -> tuple[float, float]:
    """Quantiles of the draws, mirrored at the estimate."""
    low, high = percentile(value, draws, without)
    return 2 * value - high, 2 * value - low


def bca(value: float, draws: np.ndarray, without: np.ndarray) -> tuple[float, float]:
    """Efron's (J. Amer. Statist. Assoc. 82, 1987): quantiles moved by the bias of the draws and by the skewness of the
    estimates without one image each, `without`."""
    share = np.clip(np.mean(draws < value), 1 / len(draws), 1 - 1 / len(draws))
    bias = _z(float(share))
    from_mean = without.mean() - without
    scale = (from_mean**2).sum() ** 1.5
    skew = float((from_mean**3).sum() / (6 * scale)) if scale else 0.0
    ends = []
    for level in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2):
        moved = bias + _z(level)
        ends.append(statistics.NormalDist().cdf(bias + moved / (1 - skew * moved)))
    low, high = np.quantile(draws, ends)
    return float(low), float(high)


METHODS: Mapping[str, Callable] = {"normal": normal, "percentile": percentile, "basic": basic, "bca": bca}


def run_coverage(
    *,
    images: Sequence[int] = IMAGES,
    trials: int = TRIALS,
    resamples: int = RESAMPLES,
    population: int = POPULATION,
    methods: Sequence[str] = tuple(METHODS),
    seed: int = 0,
) -> dict[str, object]:
    """Share of intervals that contain the population's value: by number of images, what is estimated, and method.

    `bias`: of the estimates from data sets of that size, in percentage points.
    """
    pair = [
        generate_matches(images=population, classes=CLASSES, per_image=DETECTIONS_PER_IMAGE, quality=quality, seed=seed)
        for quality in QUALITIES
    ]
    truth = _estimates(pair, np.ones((population, 1), np.uint8))
    rng = np.random.default_rng(seed + 1)
    report: dict[str, object] = {"trials": trials, "resamples": resamples, "population": population}
    report["truth"] = {name: float(value[0]) for name, value in truth.items()}
    for count in images:
        covered = {name: dict.fromkeys(methods, 0) for name in truth}
        errors = {name: [] for name in truth}
        for trial in range(trials):
            chosen = np.sort(rng.choice(population, count, replace=False))
            sampled = [subset(matches, chosen) for matches in pair]
            drawn = _estimates(sampled, resample_counts(count, resamples=resamples, seed=trial))
            others = [np.ones((count, 1), np.uint8)]
            if "bca" in methods:
                others.append(1 - np.eye(count, dtype=np.uint8))
            whole = _estimates(sampled, np.concatenate(others, axis=1))
            for name, values in whole.items():
                value, draws = float(values[0]), drawn[name][~np.isnan(drawn[name])]
                errors[name].append(value - report["truth"][name])
                for method in methods:
                    low, high = METHODS[method](value, draws, values[1:])
                    covered[name][method] += low <= report["truth"][name] <= high
        report[str(count)] = {
            name: {method: hits / trials for method, hits in by_method.items()}
            | {"bias": float(np.mean(errors[name])), "sd": float(np.std(errors[name], ddof=1))}
            for name, by_method in covered.items()
        }
    return report


def text(report: dict) -> str:
    """The report as a table."""
    trials = report["trials"]
    error = math.sqrt(0.95 * 0.05 / trials)
    lines = [
        f"coverage of 95% intervals, {trials} data sets each, {report['resamples']} resamples; a share's own standard"
        f" error is {100 * error:.1f} points"
    ]
    for count, by_name in report.items():
        if isinstance(by_name, dict) and count != "truth":
            methods = [name for name in METHODS if name in by_name["AP"]]
            lines.append(f"{count + ' images':24}" + "".join(f"{name:>12}" for name in (*methods, "bias", "sd")))
            for name, values in by_name.items():
                shares = "".join(f"{100 * values[method]:>11.1f}%" for method in methods)
                lines.append(f"{name:24}{shares}{values['bias']:>12.2f}{values['sd']:>12.2f}")
    return "\n".join(lines)


def _estimates(pair: Sequence[Matches], counts: np.ndarray) -> dict[str, np.ndarray]:
    """AP of the first system, and its difference to the second, by name."""
    ours, theirs = (average_precision(matches, counts) for matches in pair)
    values = {name: ours[name] for name in METRICS}
    return values | {f"difference of {name}": ours[name] - theirs[name] for name in METRICS}


def _z(level: float) -> float:
    return statistics.NormalDist().inv_cdf(level)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks coverage`."""
    parser.add_argument("--trials", type=int, default=TRIALS, help=f"data sets of each size; by default {TRIALS}")


def main(options: argparse.Namespace) -> int:
    """Run and show."""
    report = run_coverage(trials=options.trials)
    show(options, report, text)
    return 0
