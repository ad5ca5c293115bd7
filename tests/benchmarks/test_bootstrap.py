"""The benchmarks of the bootstrap: its speed, and whether its intervals cover what they should."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import bootstrap as bench_bootstrap
from benchmarks import coverage as bench_coverage
from benchmarks.__main__ import main
from benchmarks.bootstrap import generate_matches
from reprolib.evaluation.bootstrap import average_precision


def test_the_report_is_whole(monkeypatch, capsys):
    report = bench_bootstrap.run_bootstrap(images=30, resamples=20)
    assert (report["images"], report["detections"], report["objects"]) == (30, [3000, 3000], 222)
    assert report["AP"][0] > report["AP"][1] > 0
    assert report["difference"] == pytest.approx(report["AP"][0] - report["AP"][1])
    assert report["standard_error"] > 0
    json.dumps(report, allow_nan=False)
    monkeypatch.setattr(bench_bootstrap, "run_bootstrap", lambda **_: report)
    assert main(["bootstrap"]) == 0
    assert "20 resamples of 30 images" in capsys.readouterr().out


def test_pairing_narrows_a_difference():
    report = bench_bootstrap.run_bootstrap(images=300, resamples=100)
    assert report["standard_error"] < report["standard_error_unpaired"]


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="start at 2"):
        bench_bootstrap.run_bootstrap(images=1)


def test_generated_matches_are_sound():
    matches = generate_matches(images=40, classes=6, seed=2)
    assert (matches.objects[:, 0] == matches.objects[:, 1:].sum(axis=1)).all()
    for index in range(6):
        here = slice(matches.offsets[index], matches.offsets[index + 1])
        assert (np.diff(matches.image[here]) >= 0).all()
        same = np.diff(matches.image[here]) == 0
        assert (np.diff(matches.score[here])[same] <= 0).all()
        hits = (matches.matched[0, here] & 1).sum()
        assert hits <= matches.objects[index, 0].sum()


def test_a_subset_is_what_its_counts_say():
    matches = generate_matches(images=40, classes=3, per_image=20, seed=2)
    chosen = np.array([1, 5, 6, 17, 30, 39])
    counts = np.zeros((40, 1), np.uint8)
    counts[chosen] = 1
    whole = average_precision(matches, counts)
    part = average_precision(bench_coverage.subset(matches, chosen), np.ones((6, 1), np.uint8))
    assert all(np.array_equal(whole[name], part[name], equal_nan=True) for name in whole)


def test_intervals_by_hand():
    draws = np.arange(1, 1001) / 1000
    flat = np.ones(10)  # no skewness
    assert bench_coverage.percentile(0.5, draws, flat) == pytest.approx((0.025975, 0.975025))
    assert bench_coverage.basic(0.6, draws, flat) == pytest.approx((0.224975, 1.174025))
    low, high = bench_coverage.normal(0.5, draws, flat)
    assert (low + high) / 2 == pytest.approx(0.5)
    assert high - low == pytest.approx(2 * 1.959964 * draws.std(ddof=1))
    # half of the draws are below the estimate: nothing to correct
    assert bench_coverage.bca(0.5005, draws, flat) == pytest.approx((0.025975, 0.975025))
    # 0.699 of them: 2 * 0.5215 - 1.96 = -0.917, below which lies 0.1796
    assert bench_coverage.bca(0.7, draws, flat)[0] == pytest.approx(0.1804, abs=1e-4)


def test_intervals_cover_a_known_truth():
    """A short version of `python -m benchmarks coverage`, whose 400 trials and more take minutes."""
    report = bench_coverage.run_coverage(images=(80,), trials=50, resamples=100, population=3000, methods=["normal"])
    shares = [found["normal"] for found in report["80"].values()]
    assert 0.92 <= np.mean(shares) <= 0.98
    assert min(shares) >= 0.86  # 50 trials: a share of 0.95 has a standard error of 0.03
    text = bench_coverage.text(report)
    assert "80 images" in text and "difference of AP" in text
    json.dumps(report, allow_nan=False)


@pytest.mark.slow
def test_intervals_cover_a_known_truth_at_length():
    report = bench_coverage.run_coverage(methods=["normal"])
    for count in bench_coverage.IMAGES:
        for name in ("AP", "difference of AP"):
            assert 0.92 <= report[str(count)][name]["normal"] <= 0.98
