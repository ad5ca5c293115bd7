"""Both detectors train on the same images and are scored alike; the same weights score the same."""

from __future__ import annotations

import dataclasses
import json

import pytest

from benchmarks import parity as bench_parity
from benchmarks.__main__ import main
from benchmarks.against_torchvision import OURS, THEIRS
from benchmarks.parity import EXACT, METRICS, SAME
from reprolib.params import load_profile


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    demo = load_profile("demo")
    profile = dataclasses.replace(
        demo,
        datasets={"street": {"train": 4, "val": 2, "size": 64, "seed": 1}},
        scale=dataclasses.replace(demo.scale, channels=16, box_hidden=32, score_threshold=1e-3),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("parity"))  # data are made here
        return bench_parity.run_parity("street", profile, seeds=(3, 4), iterations=2, input_size=(64, 96))


def test_the_same_weights_detect_the_same(result) -> None:
    assert list(result["runs"]) == ["3", "4"]
    for run in result["runs"].values():
        assert run[SAME]["detections"] == run[THEIRS]["detections"] > 0
    assert result["exact"] <= EXACT


def test_both_start_alike_and_train_by_themselves(result) -> None:
    for run in result["runs"].values():
        ours, theirs = run[OURS]["loss"], run[THEIRS]["loss"]
        assert ours == pytest.approx(theirs, rel=0.2) and ours != theirs  # drawn boxes differ
    assert result["iterations"] == 2 and result["images"] == [4, 2]


def runs(*pairs):
    return {
        seed: {name: dict.fromkeys(METRICS, value) for name, value in zip((OURS, THEIRS, SAME), values, strict=True)}
        for seed, values in enumerate(pairs)
    }


def test_differences_and_spreads_are_over_the_seeds() -> None:
    compared = bench_parity._compared(runs((21.0, 20.0, 20.01), (23.5, 22.0, 21.97)))
    assert compared["difference"] == dict.fromkeys(METRICS, pytest.approx(1.25))
    assert compared["spread"] == {OURS: dict.fromkeys(METRICS, 2.5), THEIRS: dict.fromkeys(METRICS, 2.0)}
    assert compared["exact"] == pytest.approx(0.03)


def test_the_command_line_prints_it_and_fails_where_the_same_weights_differ(result, monkeypatch, capsys) -> None:
    seen = {}
    given = [result, result | {"exact": 0.2}]
    monkeypatch.setattr(bench_parity, "run_parity", lambda *names, **options: seen.update(options) or given.pop(0))
    options = ["parity", "--profile", "demo", "--device", "cpu", "--seeds", "5", "6", "--iterations", "7"]
    assert main(options) == 0
    assert list(seen["seeds"]) == [5, 6] and seen["iterations"] == 7 and seen["input_size"] is None
    assert "seed 3: ours, torchvision's weights" in capsys.readouterr().out
    assert main([*options, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["exact"] == 0.2


def test_impossible_counts_are_refused() -> None:
    for wrong in ({"seeds": ()}, {"seeds": (1, 1)}, {"iterations": 0}):
        with pytest.raises(ValueError, match="different seeds and one iteration or more"):
            bench_parity.run_parity("street", load_profile("demo"), **wrong)
