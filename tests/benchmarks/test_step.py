"""The profile of a training step is of the loop that trains, on the experiment's data."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks import step as bench_step
from reprolib.models.parts import BACKWARD, LOADER, OPTIMISER
from reprolib.papers.addresses import resolve_address
from reprolib.params import load_profile, resolve


def profiled(name, folder, monkeypatch):
    profile = load_profile("demo")
    monkeypatch.chdir(folder)  # data are made here
    sets = {"street": {"train": 4, "val": 1, "size": 64, "seed": 1}}
    run = resolve(dataclasses.replace(profile, datasets=sets), resolve_address(name), 0)
    schedule = dataclasses.replace(run.schedule, min_sizes=(64,), max_size=64)
    return bench_step.run_step(dataclasses.replace(run, schedule=schedule), device="cpu", steps=1, operators=5)


@pytest.mark.parametrize("name", ["coco-mask_rcnn_r50", "coco-solov2_r50-location_attention"])
def test_every_part_of_a_step_is_timed(name, tmp_path, monkeypatch, capsys):
    result = profiled(name, tmp_path, monkeypatch)
    assert "iter " not in capsys.readouterr().out  # nor would --json be JSON
    parts = result["parts"]
    assert min(parts.values()) > 0, parts
    assert {LOADER, BACKWARD, OPTIMISER} < set(parts)
    # It all happens within the steps, and little of a step outside of the parts.
    assert result["seconds"] == pytest.approx(sum(parts.values()))
    assert result["training"]["iterations"] == bench_step.WARM_UP + 1
    assert "convolution" in result["operators"]
    said = bench_step.text(result)
    assert f"{name} under demo: a step of 2 images on cpu" in said and "backbone backward" in said
    assert "training, a step of 2 images: the host waits" in said and "as a GPU would, counted on the CPU" in said
    assert sum(times for times, *_ in result["waits"]["training"]) < 10 and result["waits"]["inference"]
    assert not list(tmp_path.glob("work*"))  # nothing is kept


def test_counts_start_at_one():
    with pytest.raises(ValueError, match="steps and operators start at 1, not steps=0"):
        bench_step.run_step(None, device="cpu", steps=0)
