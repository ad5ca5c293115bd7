"""The benchmark compares like with like and says what it measured."""

from __future__ import annotations

import argparse
import json

import pytest
import torch

from reprolib import bench


@pytest.fixture(scope="module")
def result():
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, 2))
    yield bench.run_bench(rounds=1, image_size=(96, 128), input_size=(64, 96), batch_size=1, instances=2)
    torch.set_num_threads(before)


def test_both_sides_do_the_same_work(result) -> None:
    assert result["detections"]["ours"] == result["detections"]["torchvision"]
    assert min(result["detections"]["ours"]) >= 50


def test_ratios_are_torchvision_over_ours(result) -> None:
    for task in ("train_step", "inference"):
        part = result[task]
        assert part["ours"] > 0
        assert part["ratio"] == pytest.approx(part["torchvision"] / part["ours"])  # one round: no median


def test_command_line_prints_a_table_or_json_and_fails_when_slower(result, monkeypatch, capsys) -> None:
    seen = {}
    monkeypatch.setattr(bench, "run_bench", lambda **options: seen.update(options) or result)
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    arguments = parser.parse_args(["--device", "cpu", "--rounds", "3", "--input-size", "64", "96", "--json"])
    code = bench.run(arguments)
    assert seen["rounds"] == 3 and seen["input_size"] == (64, 96)
    assert json.loads(capsys.readouterr().out)["inference"]["ratio"] == result["inference"]["ratio"]
    assert code == (min(result["inference"]["ratio"], result["train_step"]["ratio"]) < 1)
    bench.run(parser.parse_args([]))
    out = capsys.readouterr().out
    assert "inference, masks pasted" in out and "96x128" in out


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds=0"):
        bench.run_bench(rounds=0)
