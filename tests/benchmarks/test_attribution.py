"""Taking a faster piece back changes how ours computes, not what; and every part of both detectors is timed."""

from __future__ import annotations

import dataclasses
import json
import shlex

import pytest
import torch

from benchmarks import attribution as bench_attribution
from benchmarks import parts as bench_parts
from benchmarks.__main__ import main
from benchmarks.against_torchvision import OURS, TASKS, THEIRS, prepare_work
from benchmarks.attribution import ALL, BOTH, INFERENCE, PIECES, TRAINING
from reprolib.models.two_stage import roi_pooler
from reprolib.params import load_profile

SIZES = {"image_size": (96, 128), "batch_size": 1, "instances": 3, "backbone": "resnet18"}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def thin():
    return dataclasses.replace(
        load_profile("demo").scale, norm="published", frozen_stages=2, channels=16, box_hidden=32, detections=20
    )


@pytest.fixture(scope="module")
def result():
    return bench_attribution.run_attribution(rounds=1, input_size=(96, 128), scale=thin(), **SIZES)


def test_every_piece_is_taken_back_where_it_is_used(result) -> None:
    for task in BOTH:
        pieces = [name for name, piece in PIECES.items() if task in piece.tasks]
        assert list(result[task]["seconds"]) == [OURS, *pieces, ALL, THEIRS]
        for name, seconds in result[task]["seconds"].items():
            assert result[task]["ratios"][name][0] == pytest.approx(seconds / result[task]["seconds"][OURS])


def test_no_piece_changes_what_comes_out(result) -> None:
    """The images are not resized here, so that mask targets are the same too."""
    assert min(result["detections"]) >= 10
    for name, apart in result[TRAINING]["differences"].items():
        assert apart["loss"] < 1e-5, name
    for name, apart in result[INFERENCE]["differences"].items():
        assert apart["detections"] == 0, name
        assert apart["boxes"] < 1e-2 and apart["scores"] < 1e-4 and apart["pixels"] == 0, name
    # Of those that add in another order something is left: the exchange does take place.
    for name in ("convolutions channels last", "RoIAlign by embedding_bag"):
        apart = {**result[INFERENCE]["differences"][name], **result[TRAINING]["differences"][name]}
        assert apart["boxes"] + apart["loss"] > 0


def test_each_exchange_reaches_what_runs_and_is_undone() -> None:
    work = prepare_work(device="cpu", input_size=(64, 96), scale=thin(), **SIZES)
    kernel = roi_pooler.roi_align_cpu
    for name, piece in PIECES.items():
        before = dict(work.optimisers)
        with bench_attribution.reverted([name], work):
            work.inference(OURS)
            if TRAINING in piece.tasks:
                work.train_step(OURS)
            assert (roi_pooler.roi_align_cpu is not kernel) == (name == "RoIAlign by embedding_bag")
            assert (work.optimisers != before) == (name == "fused optimiser")
        assert roi_pooler.roi_align_cpu is kernel and work.optimisers == before
    resized = bench_attribution.differences(work, TRAINING, {OURS: (), "x": ("mask targets without resizing",)})
    assert resized["x"]["loss"] > 1e-4, "resizing masks changes the targets"


def test_the_tables_say_so(result, monkeypatch, capsys, tmp_path) -> None:
    seen = {}
    monkeypatch.setattr(bench_attribution, "run_attribution", lambda **options: seen.update(options) or result)
    out = tmp_path / "made" / "here.json"
    options = ["attribution", "--tasks", "inference", "--device", "cpu", "--precision", "bfloat16", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["__main__.py", *options])
    assert main(options) == 0
    assert seen["tasks"] == ["inference"] and seen["precision"] == "bfloat16"
    shown = capsys.readouterr().out
    assert "pasting inside the box, as booleans" in shown and "0 mask pixels" in shown
    written = json.loads(out.read_text())
    assert written["inference"] == result["inference"]
    assert {"command", "date", "code", "environment"} < set(written)
    assert shown.strip() in out.with_suffix(".md").read_text()
    assert written["command"] == shlex.join(["python", "-m", "benchmarks", *options])
    seen.clear()
    assert main(["attribution", "--device", "cpu", "--out", str(tmp_path / "x.txt")]) == 2
    assert "has to end in .json" in capsys.readouterr().err and not seen, "refused before anything is timed"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_parts_add_up_to_the_whole(precision) -> None:
    found = bench_parts.run_parts(rounds=1, input_size=(64, 96), scale=thin(), precision=precision, **SIZES)
    training_only = {"mask targets", *(part for part in bench_parts.PARTS if "backward" in part), "update"}
    inference_only = {"detections: NMS", "masks pasted"}
    for task in TASKS:
        for name in (OURS, THEIRS):
            parts = found[task][name]["parts"]
            assert sum(parts.values()) == pytest.approx(found[task][name]["seconds"], rel=0.05, abs=1e-3)
            idle = training_only if task == INFERENCE else inference_only
            # torchvision calls what pastes also in training, where it does nothing.
            assert sum(parts[part] for part in idle) < 0.01 * found[task][name]["seconds"]
            used = set(bench_parts.PARTS) - idle
            assert all(parts[part] > 0 for part in used), (task, name, parts)
    assert "whole" in bench_parts.text(found)
    assert torch.Tensor.backward.__module__ == "torch._tensor", "the clock is taken off"


@pytest.mark.parametrize("run", [bench_attribution.run_attribution, bench_parts.run_parts])
def test_what_cannot_be_timed_is_refused(run) -> None:
    for wrong in ({"rounds": 0}, {"tasks": ["sleep"]}, {"tasks": []}):
        with pytest.raises(ValueError, match="rounds start at 1 and tasks are of train_step, inference"):
            run(**wrong)
    with pytest.raises(ValueError, match="precision is one of float32, bfloat16"):
        run(precision="int8")
    with pytest.raises(ValueError, match="batch_size=0"):
        run(batch_size=0)
