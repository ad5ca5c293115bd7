"""What a comparison may claim, by hand-made cases."""

from __future__ import annotations

import pytest

from reprolib.tables.confidence_intervals import Interval
from reprolib.tables.verdicts import NOT_REPORTED, VERDICTS, Comparison, judge

OTHER_DATA = ("other data (street stands in for coco)",)

CASES = [
    # a number on its own
    ("level", 35.3, Interval(35.0, 35.5), {}, "reproduced"),
    ("level", 35.54, Interval(35.0, 35.5), {}, "reproduced"),  # within the rounding of the printed number
    ("level", 35.56, Interval(35.0, 35.5), {}, "contradicted"),
    ("level", 35.8, Interval(35.0, 35.5), {}, "contradicted"),
    ("level", 35.3, Interval(33.0, 37.0), {}, "inconclusive"),  # contains it, and much else
    ("level", 39.0, Interval(33.0, 37.0), {}, "inconclusive"),
    ("level", 35.3, None, {}, "inconclusive"),
    ("level", 35.3, Interval(35.0, 35.5), {"complete": False}, "inconclusive"),  # images only, one run
    ("level", 35.8, Interval(35.0, 35.5), {"complete": False}, "inconclusive"),
    ("level", 35.3, Interval(35.0, 35.5), {"obstacles": OTHER_DATA}, "not comparable"),
    ("level", 35.8, Interval(35.0, 35.5), {"obstacles": OTHER_DATA}, "not comparable"),
    ("level", 35.3, None, {"measured": False}, "not run"),
    ("level", 35.3, None, {"measured": False, "obstacles": OTHER_DATA}, "not run"),
    ("level", 35.3, None, {"runnable": False, "measured": False}, "reported only"),
    ("level", None, Interval(35.0, 35.5), {"obstacles": OTHER_DATA}, "not reported"),
    ("level", None, None, {"measured": False}, "not run"),
    # the effect of a component
    ("gain", 1.6, Interval(1.2, 1.8), {}, "reproduced"),
    ("gain", 1.84, Interval(1.2, 1.8), {}, "reproduced"),
    ("gain", 1.6, Interval(-0.5, 1.8), {}, "inconclusive"),  # contains the effect and no effect
    ("gain", 1.6, Interval(0.2, 0.9), {}, "same direction"),
    ("gain", 1.6, Interval(2.2, 2.9), {}, "same direction"),
    ("gain", 1.6, Interval(-0.9, -0.2), {}, "contradicted"),
    ("gain", 1.6, Interval(-0.3, 0.4), {}, "contradicted"),  # no effect where one is reported
    ("gain", -1.0, Interval(-3.0, -2.0), {}, "same direction"),
    ("gain", 0.0, Interval(0.5, 0.9), {}, "contradicted"),
    ("gain", 1.6, None, {}, "inconclusive"),
    ("gain", 1.6, Interval(1.2, 1.8), {"complete": False}, "inconclusive"),
    ("gain", 1.6, Interval(1.2, 1.8), {"assumed": True}, "same direction"),  # of a guessed design
    ("gain", 1.6, Interval(-0.9, -0.2), {"assumed": True}, "contradicted"),
    ("gain", 1.6, Interval(1.2, 1.8), {"obstacles": OTHER_DATA, "assumed": True}, "not comparable"),
    ("gain", None, Interval(1.2, 1.8), {}, "not reported"),
    # a claimed direction
    ("sign", 1.0, Interval(0.1, 5.0), {}, "reproduced"),
    ("sign", 1.0, Interval(-0.1, 5.0), {}, "inconclusive"),
    ("sign", 1.0, Interval(-5.0, -0.1), {}, "contradicted"),
    ("sign", -1.0, Interval(-5.0, -0.1), {}, "reproduced"),
    ("sign", -1.0, Interval(0.1, 5.0), {}, "contradicted"),
    ("sign", 1.0, None, {}, "inconclusive"),
    ("sign", 1.0, Interval(0.1, 5.0), {"obstacles": OTHER_DATA}, "not comparable"),
    # without chance
    ("count", 44.3, None, {"reproduced": 44.34}, "reproduced"),
    ("count", 140.0, None, {"reproduced": 140.66, "tolerance": 0.005}, "reproduced"),
    ("count", 75.0, None, {"reproduced": 73.2, "tolerance": 0.005}, "contradicted"),
    ("count", 75.0, None, {"reproduced": 75.0, "obstacles": OTHER_DATA}, "not comparable"),
]


@pytest.mark.parametrize(("kind", "reported", "interval", "more", "word"), CASES)
def test_the_verdict_of_a_case(kind, reported, interval, more, word):
    middle = (interval.low + interval.high) / 2 if interval else None
    comparison = Comparison(
        **{"kind": kind, "reported": reported, "rounding": 0.05, "reproduced": middle, "interval": interval} | more
    )
    assert judge(comparison) == word


def test_the_cases_know_every_verdict():
    assert {word for *_, word in CASES} == {*VERDICTS, NOT_REPORTED}


@pytest.mark.parametrize("kind", ["level", "gain", "sign", "count"])
@pytest.mark.parametrize("reported", [-1.0, 0.0, 1.0, 40.0])
@pytest.mark.parametrize("interval", [None, Interval(0.9, 1.1), Interval(-2.0, 2.0), Interval(39.9, 40.1)])
def test_nothing_is_judged_against_an_obstacle(kind, reported, interval):
    comparison = Comparison(kind=kind, reported=reported, reproduced=1.0, interval=interval, obstacles=OTHER_DATA)
    assert judge(comparison) == "not comparable"
