"""What a comparison of a reproduced with a reported number may claim.

Seven words, none of which can flatter. Intervals come from seeds here; anything else that gives an `Interval`
(a paired bootstrap over images, say) is judged by the same functions.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REPRODUCED = "reproduced"  # the interval contains the reported number
SAME_DIRECTION = "same direction"  # an effect of the reported sign, of another size
CONTRADICTED = "contradicted"  # the interval excludes the reported number and does not bear out its sign
INCONCLUSIVE = "inconclusive"  # the interval is too wide to tell, or there is none
NOT_COMPARABLE = "not comparable"  # other data, scale or machine than the publication's
NOT_RUN = "not run"
REPORTED_ONLY = "reported only"  # the suite cannot run it: nothing to implement, or a quoted number
VERDICTS = (
    REPRODUCED,
    SAME_DIRECTION,
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_COMPARABLE,
    NOT_RUN,
    REPORTED_ONLY,
)
NOT_REPORTED = "not reported"  # no verdict: a row of the suite's own, which the publication does not print

# Two-sided 95% quantiles of Student's t by degrees of freedom.
_T95 = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    7: 2.365,
    8: 2.306,
    9: 2.262,
    10: 2.228,
    15: 2.131,
    20: 2.086,
    30: 2.042,
    60: 2.000,
}


@dataclass(frozen=True)
class Interval:
    """A 95% interval for a reproduced number or difference, in the number's unit."""

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


def t_interval(values: Sequence[float]) -> Interval | None:
    """95% interval for the mean of independent values, one per seed; None for fewer than two."""
    if len(values) < 2:
        return None
    freedom = len(values) - 1
    quantile = _T95[max(known for known in _T95 if known <= freedom)]  # the next lower one: never too narrow
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return Interval(mean - half, mean + half)


def difference_interval(values: Mapping[int, float], baseline: Mapping[int, float]) -> Interval | None:
    """95% interval for the mean difference to a baseline, paired by seed; None below two common seeds."""
    common = sorted(set(values) & set(baseline))
    return t_interval([values[seed] - baseline[seed] for seed in common])


def judge_value(*, reported: float, rounding: float, interval: Interval | None, resolution: float = 1.0) -> str:
    """Judge a number on its own; an interval wider than +- `resolution`, or none, cannot tell.

    rounding: half a unit of the last printed digit. resolution: in the number's unit (percentage points).
    """
    if interval is None or interval.half_width > resolution:
        return INCONCLUSIVE
    return REPRODUCED if reported in interval.widened(rounding) else CONTRADICTED


def judge_difference(*, reported: float, rounding: float, interval: Interval | None) -> str:
    """Judge the effect of a component: a difference to the table's baseline row.

    rounding: of the reported difference, the sum of both numbers' halves of the last digit.
    """
    if interval is None:
        return INCONCLUSIVE
    inside = reported in interval.widened(rounding)
    if 0.0 in interval:
        return INCONCLUSIVE if inside else CONTRADICTED
    if inside:
        return REPRODUCED
    same_sign = (interval.low > 0) == (reported > 0) and reported != 0
    return SAME_DIRECTION if same_sign else CONTRADICTED


def judge_count(*, reported: float, rounding: float, reproduced: float, tolerance: float) -> str:
    """Judge a number without chance, such as parameters; `tolerance` is relative to the reported number."""
    within = abs(reproduced - reported) <= rounding + tolerance * abs(reported)
    return REPRODUCED if within else CONTRADICTED
