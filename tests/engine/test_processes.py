"""Two processes of one run, over gloo: gradients, logs, resumes and evaluations equal those of one process."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reprolib.data.loader import batches
from reprolib.engine.sharing import divide_step
from reprolib.params import Schedule

SCRIPT = Path(__file__).with_name("process_run.py")


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """The folder in which the script has run all cases, see process_run.py."""
    folder = tmp_path_factory.mktemp("processes")
    made = subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "weights.pt", weights_only=True)


def log(folder: Path) -> list[dict]:
    clocks = ("images_per_second", "data_share", "seconds", "memory_mb")
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in clocks} for line in lines]


def test_gradients_equal_those_of_one_process_where_losses_are_means_over_images(done):
    """Plain SGD, one step at a rate of 1: the weights move by the gradient."""
    one, two = weights(done / "mean-1"), weights(done / "mean-2")
    start = torch.load(done / "start.pt", weights_only=True)
    moved = {name: start[name] - one[name] for name in start}
    assert max(value.abs().max().item() for value in moved.values()) > 0.01
    for name in start:
        torch.testing.assert_close(start[name] - two[name], moved[name], rtol=1e-4, atol=1e-6)
    assert log(done / "mean-1")[0]["losses"] == pytest.approx(log(done / "mean-2")[0]["losses"], rel=1e-5)


def test_a_detector_that_samples_rois_sees_each_process_images_as_an_accumulated_batch(done):
    """`accumulate: 2` on one process and two processes are the same batches and draws: the same weights, bit for bit.

    Without it the losses of one process divide by the samples of all its images, and the gradients differ.
    """
    one, two, whole = (weights(done / name) for name in ("rois-accumulated-1", "rois-2", "rois-1"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.allclose(whole[name], two[name], rtol=1e-3, atol=1e-6) for name in two)


@pytest.mark.parametrize("name", ["toy-2", "toy-2-then-1", "toy-1-then-2"])
def test_a_run_goes_on_with_another_number_of_processes(done, name):
    """Parameters alone: the statistics of batch norm are those of the images that the first process saw."""
    wanted, found = weights(done / "toy-1"), weights(done / name)
    trained = [key for key in wanted if "running" not in key and "num_batches" not in key]
    assert trained and all(torch.equal(wanted[key], found[key]) for key in trained)
    for one, other in zip(log(done / "toy-1"), log(done / name), strict=True):  # no line twice, none missing
        assert one.pop("losses") == pytest.approx(other.pop("losses"), rel=1e-6)
        for key in ("loss", "gradient_norm"):
            assert one.pop(key) == pytest.approx(other.pop(key), rel=1e-6)
        assert one == other


def test_the_summary_counts_all_processes(done):
    one, two = (json.loads((done / f"toy-{count}" / "summary.json").read_text()) for count in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["images_seen"] == two["images_seen"] == 48
    assert one["final_losses"] == pytest.approx(two["final_losses"])


def test_all_processes_name_the_images_that_spoilt_a_loss(done):
    """Image 104 is in one process' batch; the other one only sees the gradient."""
    first, second = ((done / f"spoilt-{rank}.txt").read_text() for rank in range(2))
    assert first == second and "loss_box = nan" in first and "104" in first


def test_an_error_of_the_first_process_is_everyones(done):
    said = [(done / f"failed-{rank}.txt").read_text() for rank in range(2)]
    assert "lr 0.01, this one has 0.5" in said[0] and said[0] in said[1]


def test_evaluation_gathers_every_image_once_in_order(done):
    """Nine images over two processes, one by one and in batches of two."""
    for size in (1, 2):
        one, two, second = (
            json.loads((done / f"predicted-{name}.json").read_text())
            for name in (f"1-{size}-0", f"2-{size}-0", f"2-{size}-1")
        )
        assert one["results"] == two["results"] and second["results"] == []
        assert [result["image_id"] for result in two["results"]] == list(range(100, 109))
        assert two["images"] == {1: 7, 2: 5}[size]  # all but each process' first batch
        assert two["includes"].endswith("mean of 2 processes")


@pytest.mark.parametrize("accumulate", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_share_the_images_of_each_step(toy, count, accumulate):
    schedule = Schedule(batch_size=8, accumulate=accumulate)
    parts, images = divide_step(schedule, processes=count)
    assert parts * images * count == 8
    whole = batches(toy.ToyData(), batch_size=8, seed=1)
    streams = [batches(toy.ToyData(), batch_size=images, seed=1, shard=(rank, count)) for rank in range(count)]

    def ids(batch):
        return [target["image_id"] for target in batch[1]]

    for _ in range(3):
        taken = [one for _ in range(parts) for stream in streams for one in ids(next(stream))]
        assert taken == ids(next(whole))


def test_a_shard_goes_on_where_another_number_of_processes_stopped(toy):
    later = batches(toy.ToyData(), batch_size=2, seed=1, start=3, shard=(1, 2))
    whole = batches(toy.ToyData(), batch_size=4, seed=1, start=3)
    images, _ = next(whole)
    assert all(torch.equal(a, b) for a, b in zip(next(later)[0], images[2:], strict=True))


def test_unequal_shares_are_refused():
    schedule = Schedule(batch_size=16, accumulate=2)
    assert divide_step(schedule, processes=8) == (1, 2)
    with pytest.raises(ValueError, match=r"3 processes cannot share batch_size 16 .* in 6 equal batches"):
        divide_step(schedule, processes=3)
    with pytest.raises(ValueError, match="32 processes cannot share batch_size 16"):
        divide_step(dataclasses.replace(schedule, accumulate=1), processes=32)
