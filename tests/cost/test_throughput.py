"""Seconds per image from multiply-adds: fits worked out by hand, and how far they say they are off."""

import pytest

from reprolib.cost.throughput import ANCHORS, Point, fit, published_hardware


def points(*pairs):
    return [Point(name=str(index), flops=flops, seconds=seconds) for index, (flops, seconds) in enumerate(pairs)]


def test_what_lies_on_a_line_is_found_and_missed_by_nothing():
    found = fit(points((100, 3.0), (200, 5.0), (400, 9.0), (1000, 21.0)))
    assert (found.fixed, found.slope) == (pytest.approx(1.0), pytest.approx(0.02))
    assert found.ratios == pytest.approx([1.0] * 4) and found.worst == pytest.approx(1.0)
    assert found.seconds(300) == pytest.approx(7.0)


def test_two_points_have_no_fixed_part_and_each_is_estimated_from_the_other():
    found = fit(points((100, 1.0), (200, 4.0)))
    # Of (100 k - 1)**2 + (200 k / 4 - 1)**2 the minimum is at k = (100 + 50) / (100**2 + 50**2).
    assert (found.fixed, found.slope) == (0.0, pytest.approx(150 / 12_500))
    assert found.ratios == pytest.approx((2.0, 0.5))
    assert found.typical == found.worst == pytest.approx(2.0)


def test_nothing_takes_negative_time():
    falling = fit(points((100, 4.0), (200, 3.0), (400, 2.0)))
    assert falling.slope == 0.0 and 2.0 < falling.fixed < 4.0
    steep = fit(points((100, 1.0), (200, 3.0), (400, 8.0)))
    assert steep.fixed == 0.0 and steep.slope > 0.0


def test_a_single_point_scales_and_says_nothing_of_its_error():
    found = fit(points((100, 2.0)))
    assert found.seconds(50) == pytest.approx(1.0)
    assert found.ratios == () and found.typical is None and found.worst is None
    with pytest.raises(ValueError, match="no measured speed"):
        fit([])


def test_anchors_are_the_published_figures_per_device():
    first = next(one for one in ANCHORS if one.experiment == "coco-mask_rcnn_r50")
    assert published_hardware(first) == "NVIDIA V100, float32"
    assert 8 / first.train_seconds == pytest.approx(61, abs=0.5)  # images per second of 8 GPUs, as MODEL_ZOO.md
    assert all(one.train_seconds and one.test_seconds and one.source for one in ANCHORS)
