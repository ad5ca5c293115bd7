from __future__ import annotations

import copy
import dataclasses
import json
import math
import sys

import pytest
import torch
from torch import nn

from reprolib.data.loader import batches
from reprolib.engine import progress
from reprolib.engine.devices import to_device
from reprolib.engine.loss_window import LossWindow, NonFiniteLossError
from reprolib.engine.progress import format_line
from reprolib.engine.train import train


def run(model, data, schedule, folder, **more):
    return train(model, data, schedule, seed=0, device="cpu", work=folder / "work", log=folder / "log.jsonl", **more)


def test_the_toy_learns(toy, tmp_path):
    model = toy.toy_model(noise=False)
    schedule = dataclasses.replace(toy.SCHEDULE, iterations=150, log_every=10, checkpoint_every=1000)
    summary = run(model, toy.ToyData(), schedule, tmp_path)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.6 * log[0]["loss"]
    assert (summary.iterations, summary.images_seen) == (150, 600)


def test_accumulated_gradients_equal_those_of_one_batch(toy, tmp_path):
    """Plain SGD, one step: the weights move by lr times the gradient. Batch norm is in evaluation form."""

    class Frozen(toy.ToyDetector):
        def train(self, mode=True):
            super().train(mode)
            self.stem[1].eval()
            return self

    start = Frozen(noise=False)
    after = {}
    for parts in (1, 2, 4):
        model = copy.deepcopy(start)
        schedule = dataclasses.replace(
            toy.SCHEDULE, optimizer="sgd", momentum=0.0, weight_decay=0.0, accumulate=parts, iterations=1,
            policy="step", warmup_iterations=0, clip_norm=0.0, lr=1.0,
        )  # fmt: skip
        run(model, toy.ToyData(), schedule, tmp_path / str(parts))
        after[parts] = model.state_dict()
    images, targets = next(batches(toy.ToyData(), batch_size=4, seed=0))
    expected = copy.deepcopy(start).train()
    sum(expected(*to_device(images, targets, device="cpu")).values()).backward()
    for name, parameter in expected.named_parameters():
        for parts in (1, 2, 4):
            moved = start.state_dict()[name] - after[parts][name]
            torch.testing.assert_close(moved, parameter.grad, rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_step(toy, tmp_path):
    model = toy.toy_model()
    before = copy.deepcopy(model)
    schedule = dataclasses.replace(
        toy.SCHEDULE, optimizer="sgd", momentum=0.0, weight_decay=0.0, iterations=1, policy="step",
        warmup_iterations=0, clip_norm=0.01, lr=1.0,
    )  # fmt: skip
    run(model, toy.ToyData(), schedule, tmp_path)
    steps = [(a - b).flatten() for a, b in zip(model.parameters(), before.parameters(), strict=True)]
    assert torch.cat(steps).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_a_non_finite_loss_stops_and_names_the_images(toy, tmp_path):
    model, data = toy.toy_model(), toy.ToyData(spoilt=(104,))
    schedule = dataclasses.replace(toy.SCHEDULE, checkpoint_every=1, batch_size=2)
    stream = batches(data, batch_size=2, seed=0)
    found = [[target["image_id"] for target in targets] for _, targets in (next(stream) for _ in range(5))]
    number = next(number for number, ids in enumerate(found, start=1) if 104 in ids)
    with pytest.raises(NonFiniteLossError) as caught:
        run(model, data, schedule, tmp_path)
    error = caught.value
    assert error.iteration == number and error.image_ids == found[number - 1]
    assert "loss_box = nan" in str(error) and "104" in str(error) and "clip_norm" in str(error)
    assert all(parameter.isfinite().all() for parameter in model.parameters())  # the step was not made


def test_a_non_finite_gradient_stops_too(toy, tmp_path):
    class Root(toy.ToyDetector):
        def forward(self, images, targets=None):
            return {"loss_root": (self.box(torch.zeros(1, 4)) * 0).sqrt().sum()}  # 0, with an infinite slope

    with pytest.raises(NonFiniteLossError, match="gradient_norm = nan"):
        run(Root(), toy.ToyData(), toy.SCHEDULE, tmp_path)


def test_losses_left_on_the_device_blame_the_right_batch():
    window = LossWindow()
    for iteration in range(1, 6):
        value = torch.tensor(math.inf if iteration == 3 else 1.0)
        window.add({"loss_mask": value}, iteration=iteration, image_ids=[10 * iteration])
    with pytest.raises(NonFiniteLossError) as caught:
        window.take_means()
    assert (caught.value.iteration, caught.value.image_ids) == (3, [30])


def test_bfloat16_is_ignored_on_a_cpu_and_said_so(toy, tmp_path, capsys):
    weights = []
    for precision in ("float32", "bfloat16"):
        model = toy.toy_model()
        schedule = dataclasses.replace(toy.SCHEDULE, precision=precision)
        run(model, toy.ToyData(), schedule, tmp_path / precision)
        weights.append(model.state_dict())
    assert "bfloat16 is for CUDA" in capsys.readouterr().out
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert '"precision": "float32"' in (tmp_path / "bfloat16" / "log.jsonl").read_text()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 4, "accumulate": 3}, "batch_size 4 .* not divisible by accumulate 3"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"log_every": 0}, "log_every must be at least 1"),
        ({"iterations": 0}, "neither of iterations and epochs"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'"),
        ({"policy": "poly"}, "unknown policy 'poly'"),
        ({"precision": "float16"}, "unknown precision 'float16'"),
    ],
)
def test_impossible_schedules_are_refused(toy, tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        run(toy.toy_model(), toy.ToyData(), dataclasses.replace(toy.SCHEDULE, **fields), tmp_path)


def test_parameters_that_are_not_used_are_left_alone(toy, tmp_path):
    model = toy.toy_model()
    model.dead = nn.Linear(3, 3)
    before = model.dead.weight.clone()
    run(model, toy.ToyData(), toy.SCHEDULE, tmp_path)
    assert torch.equal(model.dead.weight, before)  # not even decayed


def test_the_log_holds_what_figures_need(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    schedule = dataclasses.replace(toy.SCHEDULE, iterations=7, log_every=3)
    run(toy.toy_model(), toy.ToyData(), schedule, tmp_path)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["iteration"] for entry in log] == [3, 6, 7]
    for entry in log:
        assert entry["losses"].keys() == {"loss_box", "loss_label"}
        assert entry["loss"] == pytest.approx(sum(entry["losses"].values()))
        assert entry["images"] == entry["iteration"] * 4 and entry["memory_mb"] > 0
        assert 0 <= entry["data_share"] <= 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("iter ")]
    assert len(lines) == 3 and lines[-1].startswith("iter 7/7  loss ") and "ETA 0:00:00" in lines[-1]


@pytest.mark.parametrize(("pause", "printed"), [(1e9, 2), (0.0, 12)])
def test_lines_are_not_printed_faster_than_they_are_read(toy, tmp_path, capsys, monkeypatch, pause, printed):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", pause)
    run(toy.toy_model(), toy.ToyData(), dataclasses.replace(toy.SCHEDULE, log_every=1), tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("iter ")]
    assert len(lines) == printed and lines[-1].startswith("iter 12/12")


def test_a_terminal_gets_a_bar_instead_of_lines(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run(toy.toy_model(), toy.ToyData(), toy.SCHEDULE, tmp_path)
    said = capsys.readouterr()
    assert "iter " not in said.out
    assert "12/12" in said.err and "loss " in said.err
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 6


def test_a_line_reads_well():
    entry = {
        "iteration": 40, "iterations": 200, "loss": 1.2344, "losses": {"loss_box": 0.5, "loss_mask": 0.7344},
        "learning_rate": 0.0012, "images_per_second": 18.23, "data_share": 0.031, "memory_mb": 511.6,
    }  # fmt: skip
    assert format_line(entry, seconds_left=9.7) == (
        "iter 40/200  loss 1.234 (box 0.500 mask 0.734)  lr 1.20e-03  18.2 img/s  data 3%  ETA 0:00:10  mem 512 MB"
    )


def test_images_must_be_bytes():
    with pytest.raises(TypeError, match=r"uint8 \[3,H,W\], not torch.float32"):
        to_device([torch.zeros(3, 4, 4)], [], device="cpu")


ONE_SGD_STEP = {
    "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "iterations": 1, "policy": "step",
    "warmup_iterations": 0, "clip_norm": 0.0, "lr": 1.0,
}  # fmt: skip


def test_a_backbone_with_a_factor_moves_by_that_part_of_a_step(toy, tmp_path):
    class Detector(toy.ToyDetector):
        @property
        def backbone(self):
            return self.stem

    start = Detector(noise=False)
    moved = {}
    for factor in (1.0, 0.1):
        model = copy.deepcopy(start)
        schedule = dataclasses.replace(toy.SCHEDULE, **ONE_SGD_STEP, backbone_factor=factor)
        run(model, toy.ToyData(), schedule, tmp_path / str(factor))
        moved[factor] = {name: start.state_dict()[name] - value for name, value in model.named_parameters()}
    for name, step in moved[1.0].items():
        expected = 0.1 * step if name.startswith("stem.") else step
        torch.testing.assert_close(moved[0.1][name], expected, rtol=1e-3, atol=1e-6)
    assert moved[1.0]["stem.0.weight"].abs().max() > 1e-3


def test_every_batch_of_every_step_draws_its_own_random_numbers(toy, tmp_path):
    drawn = []

    class Drawing(toy.ToyDetector):
        def forward(self, images, targets=None):
            drawn.append(torch.rand(1).item())
            return super().forward(images, targets)

    schedule = dataclasses.replace(toy.SCHEDULE, iterations=2, accumulate=2)
    run(Drawing(), toy.ToyData(), schedule, tmp_path)
    assert len(set(drawn)) == len(drawn) == 4
