"""What a comparison of a reproduced with a reported number may claim: seven words, none of which can flatter.

`verdict` is the only place that decides. It is given what is reported, what was reproduced, the interval of that
(`reprolib.tables.uncertainty`), and what stands in the way of a comparison (`reprolib.tables.comparable`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reprolib.tables.uncertainty import Interval

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

RESOLUTION = 1.0  # percentage points; an interval wider than +- this says nothing about a level


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything that a verdict rests on.

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


def verdict(case: Case) -> str:
    """The verdict, one of `VERDICTS`, or NOT_REPORTED where there is nothing to compare with."""
    if not case.runnable:
        return REPORTED_ONLY
    if not case.measured:
        return NOT_RUN
    if case.reported is None:
        return NOT_REPORTED
    if case.obstacles:
        return NOT_COMPARABLE
    if case.kind == "count":
        return _count(case)
    if case.interval is None or not case.complete:
        return INCONCLUSIVE
    word = {"level": _level, "gain": _gain, "sign": _sign}[case.kind](case, case.interval)
    return SAME_DIRECTION if case.assumed and word == REPRODUCED else word


def _count(case: Case) -> str:
    within = abs(case.reproduced - case.reported) <= case.rounding + case.tolerance * abs(case.reported)
    return REPRODUCED if within else CONTRADICTED


def _level(case: Case, interval: Interval) -> str:
    if interval.half_width > RESOLUTION:
        return INCONCLUSIVE
    return REPRODUCED if case.reported in interval.widened(case.rounding) else CONTRADICTED


def _gain(case: Case, interval: Interval) -> str:
    inside = case.reported in interval.widened(case.rounding)
    if 0.0 in interval:
        return INCONCLUSIVE if inside else CONTRADICTED
    if inside:
        return REPRODUCED
    same_sign = (interval.low > 0) == (case.reported > 0) and case.reported != 0
    return SAME_DIRECTION if same_sign else CONTRADICTED


def _sign(case: Case, interval: Interval) -> str:
    if 0.0 in interval:
        return INCONCLUSIVE
    return REPRODUCED if (interval.low > 0) == (case.reported > 0) else CONTRADICTED
