"""Standard errors, intervals and their joint level, by hand and by the tables of Student's t."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from reprolib.tables.confidence_intervals import Measured, Noise, estimate, estimate_gain, holm, t_quantile, t_tails

NOISE = Noise(variance=0.25, freedom=3, experiments=("a",))


@pytest.mark.parametrize(
    ("freedom", "level", "t"),
    [
        (1, 0.95, 12.7062),
        (2, 0.95, 4.3027),
        (3, 0.95, 3.1824),
        (10, 0.95, 2.2281),
        (13, 0.95, 2.1604),
        (30, 0.95, 2.0423),
        (120, 0.95, 1.9799),
        (math.inf, 0.95, 1.95996),
        (1, 0.99, 63.6567),
        (5, 0.99, 4.0321),
        (5, 0.5, 0.7267),
    ],
)
def test_students_t_is_the_one_of_the_tables(freedom, level, t):
    assert t_quantile(level, freedom) == pytest.approx(t, abs=1e-4)
    assert t_tails(t, freedom) == pytest.approx(1 - level, abs=1e-5)


def test_t_with_two_degrees_of_freedom_has_a_closed_form():
    for t in (0.01, 0.5, 1.0, 4.0, 50.0):
        assert t_tails(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-10)


def test_broken_degrees_of_freedom_lie_between():
    assert t_quantile(0.95, 3) < t_quantile(0.95, 2.5) < t_quantile(0.95, 2)
    assert t_quantile(0.95, 1e6) == pytest.approx(t_quantile(0.95, math.inf), abs=1e-4)


def test_three_seeds():
    estimated = estimate(Measured(values={0: 1.0, 1: 2.0, 2: 3.0}))
    interval = estimated.interval()  # mean 2, standard deviation 1, t(2) = 4.303: half width 4.303 / sqrt(3)
    assert (interval.low, interval.high) == (pytest.approx(2 - 2.4841, abs=1e-3), pytest.approx(2 + 2.4841, abs=1e-3))
    assert (estimated.source, estimated.complete) == ("3 seeds", True)


def test_one_seed_alone_gives_no_interval():
    assert estimate(Measured(values={0: 1.0})) is None
    assert estimate(Measured(values={})) is None
    assert estimate_gain(Measured(values={0: 1.0, 1: 2.0}), Measured(values={1: 1.0})) is None


def test_one_seed_with_images_alone_is_not_complete():
    draws = {0: np.array([1.0, 2.0, 3.0])}
    estimated = estimate(Measured(values={0: 2.2}, draws=draws))
    assert (estimated.source, estimated.complete, estimated.value, estimated.error) == ("images only", False, 2.2, 1.0)
    assert estimated.interval().half_width == pytest.approx(1.95996, abs=1e-4)


def test_variances_of_images_and_seeds_add():
    draws = {0: np.array([1.0, 2.0, 3.0])}
    estimated = estimate(Measured(values={0: 2.2}, draws=draws), noise=NOISE)
    assert estimated.error == pytest.approx(math.sqrt(1.25))
    assert estimated.freedom == pytest.approx(1.25**2 / (0.25**2 / 3))  # Welch and Satterthwaite
    assert (estimated.source, estimated.complete) == ("images + seed noise of a", True)


def test_own_seeds_go_before_the_noise_of_others():
    estimated = estimate(Measured(values={0: 1.0, 1: 2.0, 2: 3.0}), noise=NOISE)
    assert (estimated.error, estimated.freedom, estimated.source) == (
        pytest.approx(math.sqrt(1 / 3)),
        pytest.approx(2),
        "3 seeds",
    )


def test_gains_are_paired_by_seed():
    # seeds differ by 10 points, the effect is 1.0 +- 0.1: only pairing sees it
    ours, base = {0: 31.0, 1: 41.1, 2: 20.9}, {0: 30.0, 1: 40.0, 2: 20.0, 3: 99.0}
    estimated = estimate_gain(Measured(values=ours), Measured(values=base))
    assert estimated.value == pytest.approx(1.0)
    assert 0.7 < estimated.interval().low < 1.0 < estimated.interval().high < 1.3


def test_gains_are_paired_by_resample():
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 5, 1000)
    ours = Measured(values={0: 31.0}, draws={0: 31 + shared + rng.normal(0, 0.1, 1000)}, images="a")
    base = Measured(values={0: 30.0}, draws={0: 30 + shared}, images="a")
    assert estimate_gain(ours, base).error == pytest.approx(0.1, rel=0.1)
    elsewhere = Measured(values={0: 30.0}, draws={0: 30 + shared}, images="b")
    assert estimate_gain(ours, elsewhere) is None


def test_two_single_runs_have_the_noise_twice():
    estimated = estimate_gain(Measured(values={0: 3.0}), Measured(values={0: 1.0}), noise=NOISE)
    assert (estimated.value, estimated.error, estimated.freedom) == (
        2.0,
        pytest.approx(math.sqrt(0.5)),
        pytest.approx(3),
    )
    many = Measured(values={0: 1.0, 1: 2.0, 2: 3.0, 3: 2.0})
    uneven = estimate_gain(Measured(values={0: 3.0}), many, noise=NOISE)
    own = statistics.variance([1.0, 2.0, 3.0, 2.0]) / 4
    assert (uneven.value, uneven.error) == (1.0, pytest.approx(math.sqrt(0.25 + own)))
    assert uneven.source == "4 seeds + seed noise of a"


def test_resamples_without_such_objects_are_left_out_unless_most_are():
    nan = math.nan
    some = estimate(Measured(values={0: 2.0}, draws={0: np.array([1.0, nan, 2.0, 3.0])}))
    assert some.error == pytest.approx(1.0)
    assert estimate(Measured(values={0: 2.0}, draws={0: np.array([1.0, nan, nan, 3.0])})) is None


def test_holm_by_hand():
    # 0.01 * 3 = 0.03; 0.02 * 2 = 0.04; 0.04 * 1
    adjusted, levels = holm([0.02, 0.04, 0.01])
    assert adjusted == pytest.approx([0.04, 0.04, 0.03])
    assert levels == pytest.approx([1 - 0.05 / 2, 0.95, 1 - 0.05 / 3])
    # the second is not rejected (0.03 > 0.025), so neither is the third, though 0.04 < 0.05
    adjusted, levels = holm([0.03, 0.04, 0.01])
    assert adjusted == pytest.approx([0.06, 0.06, 0.03])
    assert levels == pytest.approx([1 - 0.05 / 2, 1 - 0.05 / 2, 1 - 0.05 / 3])
    assert holm([]) == ([], [])


def test_an_interval_at_holms_level_excludes_zero_exactly_where_holm_rejects():
    rng = np.random.default_rng(1)
    for _ in range(50):
        estimated = [
            estimate(Measured(values=dict(enumerate(rng.normal(rng.choice([0.0, 1.0]), 0.5, 4).tolist()))))
            for _ in range(5)
        ]
        adjusted, levels = holm([each.p_value() for each in estimated])
        for each, p_value, level in zip(estimated, adjusted, levels, strict=True):
            assert (0.0 not in each.interval(level)) == (p_value < 0.05)
