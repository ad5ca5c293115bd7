"""The verdicts on a reproduced beside a reported number, and `judge`, the only function that decides on one.

A `Comparison` holds all that a verdict rests on: what is reported, what was reproduced, its interval
(`confidence_intervals`), and what stands in the way of a comparison (`comparability`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reprolib.tables.confidence_intervals import Interval

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

COUNT_TOLERANCE = {"params_M": 0.005, "flops_G": 0.01}  # relative, of metrics without chance; rounding comes on top
RESOLUTION = 1.0  # percentage points; an interval wider than +- this says nothing about a level


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A reported and a reproduced number, with everything that the verdict rests on.

    kind: what the reported number is.
        level: a number on its own.
        gain: a difference of two numbers.
        sign: only the direction of a difference is claimed: `reported` is 1 or -1.
        count: a number without chance (parameters, a fact about data), `reproduced` within `tolerance`, relative.
    reported: None where the publication prints none. rounding: how far the printed digits may be off it.
    reproduced: None where nothing has been run or measured. interval: of `reproduced`, None where nothing gives one.
    complete: whether the interval holds all that varies; one over images alone, of a single run, does not.
    runnable: whether anything could run it. obstacles: why the two are not comparable. assumed: whether the system's
    design is partly a guess, which cannot reproduce a number, only its direction.
    """

    kind: Literal["level", "gain", "sign", "count"]
    reported: float | None
    rounding: float = 0.0
    reproduced: float | None = None
    interval: Interval | None = None
    complete: bool = True
    tolerance: float = 0.0
    runnable: bool = True
    measured: bool = True
    obstacles: Sequence[str] = ()
    assumed: bool = False


def judge(comparison: Comparison) -> str:
    """The verdict, one of `VERDICTS`, or NOT_REPORTED where there is nothing to compare with."""
    if not comparison.runnable:
        return REPORTED_ONLY
    if not comparison.measured:
        return NOT_RUN
    if comparison.reported is None:
        return NOT_REPORTED
    if comparison.obstacles:
        return NOT_COMPARABLE
    if comparison.kind == "count":
        return _count(comparison)
    if comparison.interval is None or not comparison.complete:
        return INCONCLUSIVE
    word = {"level": _level, "gain": _gain, "sign": _sign}[comparison.kind](comparison, comparison.interval)
    return SAME_DIRECTION if comparison.assumed and word == REPRODUCED else word


def _count(comparison: Comparison) -> str:
    allowed = comparison.rounding + comparison.tolerance * abs(comparison.reported)
    return REPRODUCED if abs(comparison.reproduced - comparison.reported) <= allowed else CONTRADICTED


def _level(comparison: Comparison, interval: Interval) -> str:
    if interval.half_width > RESOLUTION:
        return INCONCLUSIVE
    return REPRODUCED if comparison.reported in interval.widened(comparison.rounding) else CONTRADICTED


def _gain(comparison: Comparison, interval: Interval) -> str:
    inside = comparison.reported in interval.widened(comparison.rounding)
    if 0.0 in interval:
        return INCONCLUSIVE if inside else CONTRADICTED
    if inside:
        return REPRODUCED
    same_sign = (interval.low > 0) == (comparison.reported > 0) and comparison.reported != 0
    return SAME_DIRECTION if same_sign else CONTRADICTED


def _sign(comparison: Comparison, interval: Interval) -> str:
    if 0.0 in interval:
        return INCONCLUSIVE
    return REPRODUCED if (interval.low > 0) == (comparison.reported > 0) else CONTRADICTED
