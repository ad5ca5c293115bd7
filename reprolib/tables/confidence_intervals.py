"""How far a reproduced number, or the difference of two, may be from what the same recipe gives again.

Two things vary: which images the validation split happens to hold (variances over a paired bootstrap,
`reprolib.evaluation.bootstrap`), and the seed of a training (variances between runs). Their variances add:

    se^2 = V_images + V_seeds,    interval = value +- t(level, df) * se

V_images is the variance, over resamples of the images, of the mean over the seeds whose matches there are; of a
difference, of the difference of both means on the same resamples. V_seeds is s^2/n of n runs with their own seeds
(n - 1 degrees of freedom; of a difference with two or more common seeds, of the differences by seed); where there is a
single run, the variance between seeds that the profile's other records show (`reprolib.tables.seed_noise`), with the
degrees of freedom of that. df is Welch's and Satterthwaite's: se^4 / sum(V_i^2 / df_i), where the bootstrap counts as
known exactly. The interval is symmetric: percentile, basic and BCa intervals of the same draws, which cannot take the
seeds in, cover a known truth no better (`python -m benchmarks coverage`).
Where there is one run and no such measurement, the interval is over images only, and `complete` is False.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.95
IMAGES_ONLY = "images only"


@dataclass(frozen=True)
class Interval:
    """An interval for a reproduced number or difference, in the number's unit."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def widened(self, by: float) -> Interval:
        """Both ends moved outwards, for example by the rounding of the number that it is compared with."""
        return Interval(self.low - by, self.high + by)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Variance between seeds, pooled over experiments, with its degrees of freedom, and which experiments; elsewhere:
    whether they are on other data than the runs that it stands for."""

    variance: float
    freedom: int
    experiments: tuple[str, ...]
    elsewhere: bool = False

    @property
    def source(self) -> str:
        """What an interval's source says of it."""
        return f"seed noise of {', '.join(self.experiments)}" + (" (other data)" if self.elsewhere else "")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the runs of one experiment gave for a metric.

    values: by seed. draws: by seed, the same metric on each resample of the images [B], NaN where a resample has no
    such object; of the seeds whose matches there are. images: which images those are resamples of.
    """

    values: Mapping[int, float]
    draws: Mapping[int, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))
    images: str = ""

    @property
    def mean(self) -> float:
        """Over seeds."""
        return statistics.fmean(self.values.values())

    def only(self, seeds: Sequence[int]) -> Measured:
        """The runs of some seeds."""
        return Measured(
            values={seed: self.values[seed] for seed in seeds},
            draws={seed: draws for seed, draws in self.draws.items() if seed in seeds},
            images=self.images,
        )


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number or difference with its standard error.

    source: where the interval comes from, for example "80 images, 3 seeds". complete: whether that is all that varies.
    """

    value: float
    error: float
    freedom: float
    source: str
    complete: bool

    def interval(self, level: float = LEVEL) -> Interval:
        """The interval that covers with probability `level`."""
        half = t_quantile(level, self.freedom) * self.error
        return Interval(self.value - half, self.value + half)

    def p_value(self) -> float:
        """Of the hypothesis that the number is 0, two-sided."""
        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        return t_tails(abs(self.value) / self.error, self.freedom)


def estimate(measured: Measured, *, noise: Noise | None = None) -> Estimate | None:
    """The mean over seeds; None where nothing says how far it may be off, or nothing is measured."""
    if not measured.values:
        return None
    return _combined(measured.mean, _between_seeds([measured], noise), _mean_draws(measured))


def estimate_gain(measured: Measured, base: Measured, *, noise: Noise | None = None) -> Estimate | None:
    """The difference of two experiments' means: of two or more common seeds by seed, else of all runs of each.

    None as in `estimate`.
    """
    if not measured.values or not base.values:
        return None
    measured, base, common = paired(measured, base)
    variances = _between_seeds([measured, base], noise)
    if common:
        by_seed = [measured.values[seed] - base.values[seed] for seed in common]
        variances = [_Variance(statistics.variance(by_seed) / len(common), len(common) - 1, f"{len(common)} seeds")]
    ours, theirs = _mean_draws(measured), _mean_draws(base)
    same = measured.images == base.images and ours is not None and theirs is not None
    draws = ours - theirs if same else None
    return _combined(measured.mean - base.mean, variances, draws)


def gain(measured: Measured, base: Measured) -> float | None:
    """The difference of two experiments' means, over the runs that `paired` takes; None where either has not run."""
    if not measured.values or not base.values:
        return None
    measured, base, _ = paired(measured, base)
    return measured.mean - base.mean


def paired(measured: Measured, base: Measured) -> tuple[Measured, Measured, list[int]]:
    """The runs that a difference is taken between, and their common seeds: those alone where there are two or more, so
    that what a seed does to both cancels; all runs of each, and no common seeds, where not."""
    common = sorted(set(measured.values) & set(base.values))
    return (measured.only(common), base.only(common), common) if len(common) > 1 else (measured, base, [])


@dataclass(frozen=True)
class _Variance:
    """The variance that one source contributes; value None: not measured."""

    value: float | None
    freedom: float
    source: str


def _between_seeds(sides: Sequence[Measured], noise: Noise | None) -> list[_Variance]:
    """The variance between seeds of one number, or of both sides of a difference."""
    variances = []
    for side in sides:
        values = list(side.values.values())
        if len(values) > 1:
            variances.append(
                _Variance(statistics.variance(values) / len(values), len(values) - 1, f"{len(values)} seeds")
            )
    single = len(sides) - len(variances)
    if single and noise is None:
        variances.append(_Variance(None, math.inf, ""))
    elif single:  # one measurement serves both sides, which share its error
        variances.append(_Variance(single * noise.variance, noise.freedom, noise.source))
    return variances


def _mean_draws(measured: Measured) -> np.ndarray | None:
    """The mean over seeds on each resample; None where a run has none, or too few resamples have such objects."""
    return sum(measured.draws.values()) / len(measured.draws) if measured.draws else None


def _combined(value: float, seeds: Sequence[_Variance], draws: np.ndarray | None) -> Estimate | None:
    complete = all(each.value is not None for each in seeds)
    variances = list(seeds) if complete else []
    if draws is not None:
        defined = draws[draws == draws]  # without NaN
        if len(defined) > len(draws) // 2:
            variances.insert(0, _Variance(float(defined.var(ddof=1)), math.inf, "images"))
    if not variances:
        return None
    variance = sum(each.value for each in variances)
    spread = sum(each.value**2 / each.freedom for each in variances)
    return Estimate(
        value=value,
        error=math.sqrt(variance),
        freedom=variance**2 / spread if spread else math.inf,
        source=" + ".join(dict.fromkeys(each.source for each in variances)) if complete else IMAGES_ONLY,
        complete=complete,
    )


def holm(p_values: Sequence[float], *, level: float = LEVEL) -> tuple[list[float], list[float]]:
    """Holm's step-down adjustment of several tests that belong together (Scand. J. Statist. 6, 1979).

    Returns:
        Adjusted p-values, to be compared with 1 - level; and the level of each test's interval: it excludes 0 exactly
        where Holm's procedure rejects.
    """
    count = len(p_values)
    adjusted, levels = [0.0] * count, [0.0] * count
    largest, alpha, rejecting = 0.0, 0.0, True
    for rank, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = largest
        if rejecting:  # after the first that is not rejected, the level stays
            alpha = (1 - level) / (count - rank)
            rejecting = p_values[index] < alpha
        levels[index] = 1 - alpha
    return adjusted, levels


def t_quantile(level: float, freedom: float) -> float:
    """The t that Student's distribution stays within, to both sides, with probability `level`."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + level / 2))


def t_tails(t: float, freedom: float) -> float:
    """The probability that Student's t is beyond +-t; freedom is positive and may be fractional."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))
