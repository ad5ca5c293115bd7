"""The benchmark of evaluation backends, on a few images."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as pycocotools_mask

from benchmarks import evaluation as bench_evaluation
from benchmarks.__main__ import main


def test_both_backends_agree_and_the_report_is_whole():
    report = bench_evaluation.run_evaluation(images=20, detections=600, rounds=2)
    assert report["difference"] <= bench_evaluation.EQUAL
    for part in (report["bbox"], report["segm"]):
        assert 0 < part["AP"] < 100
        assert min(part["hotcoco"], part["pycocotools"], part["ratio"]) > 0
    slow, fast = (report["bbox"][name] + report["segm"][name] for name in ("pycocotools", "hotcoco"))
    assert report["ratio"] == pytest.approx(slow / fast)
    assert "600 detections" in bench_evaluation.text(report)
    json.dumps(report, allow_nan=False)


def test_what_is_generated_is_the_seeds_and_masks_fit_their_boxes():
    document, results = bench_evaluation.generate(images=10, detections=200, seed=3)
    assert (document, results) == bench_evaluation.generate(images=10, detections=200, seed=3)
    assert results != bench_evaluation.generate(images=10, detections=200, seed=4)[1]
    assert (len(document["images"]), len(document["annotations"]), len(results)) == (10, 74, 200)
    for one in results[:20]:
        mask = pycocotools_mask.decode(one["segmentation"])
        rows, columns = np.nonzero(mask)
        assert one["area"] == mask.sum() > 0
        x, y, width, height = one["bbox"]
        assert (x, y, x + width, y + height) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_the_verb_fails_where_the_backends_differ(monkeypatch, capsys):
    report = bench_evaluation.run_evaluation(images=5, detections=50)
    for difference, status in ((0.0, 0), (2e-12, 1)):
        monkeypatch.setattr(bench_evaluation, "run_evaluation", lambda d=difference, **_: report | {"difference": d})
        assert main(["evaluation"]) == status
        assert f"{difference:.1e}" in capsys.readouterr().out


def test_nothing_to_time_is_refused():
    with pytest.raises(ValueError, match="start at 1"):
        bench_evaluation.run_evaluation(images=0)
