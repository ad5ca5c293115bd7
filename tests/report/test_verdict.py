"""What a comparison may claim, by hand-made cases."""

from __future__ import annotations

import pytest

from reprolib.report.verdict import (
    Interval,
    difference_interval,
    judge_count,
    judge_difference,
    judge_value,
    t_interval,
)


def test_t_interval_of_three_seeds():
    # mean 2, standard deviation 1, t(2) = 4.303: half width 4.303 / sqrt(3)
    interval = t_interval([1.0, 2.0, 3.0])
    assert interval.low == pytest.approx(2 - 2.4843, abs=1e-3)
    assert interval.high == pytest.approx(2 + 2.4843, abs=1e-3)


def test_degrees_of_freedom_between_two_known_ones_take_the_wider_interval():
    values = [0.0, 1.0] * 7  # 13 degrees of freedom, between the table's 10 and 15
    assert t_interval(values).half_width == pytest.approx(2.228 * 0.5189 / 14**0.5, rel=1e-3)


def test_one_seed_gives_no_interval():
    assert t_interval([1.0]) is None
    assert difference_interval({0: 1.0, 1: 2.0}, {1: 1.0, 2: 3.0}) is None


def test_differences_are_paired_by_seed():
    # seeds differ by 10 points, the effect is 1.0 +- 0.1: only pairing sees it
    interval = difference_interval({0: 31.0, 1: 41.1, 2: 20.9}, {0: 30.0, 1: 40.0, 2: 20.0, 3: 99.0})
    assert 0.7 < interval.low < 1.0 < interval.high < 1.3


@pytest.mark.parametrize(
    ("reported", "interval", "word"),
    [
        (35.3, Interval(35.0, 35.5), "reproduced"),
        (35.54, Interval(35.0, 35.5), "reproduced"),  # within the rounding of the printed number
        (35.8, Interval(35.0, 35.5), "contradicted"),
        (35.3, Interval(33.0, 37.0), "inconclusive"),  # contains it, and much else
        (35.3, None, "inconclusive"),
    ],
)
def test_a_number_on_its_own(reported, interval, word):
    assert judge_value(reported=reported, rounding=0.05, interval=interval) == word


@pytest.mark.parametrize(
    ("reported", "interval", "word"),
    [
        (1.6, Interval(1.2, 1.8), "reproduced"),
        (1.6, Interval(-0.5, 1.8), "inconclusive"),  # contains the effect and no effect
        (1.6, Interval(0.2, 0.9), "same direction"),
        (1.6, Interval(2.2, 2.9), "same direction"),
        (1.6, Interval(-0.9, -0.2), "contradicted"),
        (1.6, Interval(-0.3, 0.4), "contradicted"),  # no effect where one is reported
        (-1.0, Interval(-3.0, -2.0), "same direction"),
        (0.0, Interval(0.5, 0.9), "contradicted"),
        (1.6, None, "inconclusive"),
    ],
)
def test_the_effect_of_a_component(reported, interval, word):
    assert judge_difference(reported=reported, rounding=0.01, interval=interval) == word


def test_counts_have_no_interval():
    assert judge_count(reported=44.3, rounding=0.05, reproduced=44.34, tolerance=0.0) == "reproduced"
    assert judge_count(reported=140.0, rounding=0.05, reproduced=140.66, tolerance=0.005) == "reproduced"
    assert judge_count(reported=75.0, rounding=0.05, reproduced=73.2, tolerance=0.005) == "contradicted"
