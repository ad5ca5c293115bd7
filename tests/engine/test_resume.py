"""Runs that are stopped, killed or damaged end with the weights of one that was not."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reprolib.engine.checkpoint import CheckpointError, checkpoint_paths, load_checkpoint, save_checkpoint
from reprolib.engine.loss_window import LossWindow
from reprolib.engine.resume import INDIFFERENT, recipe_of, resume
from reprolib.engine.train import train
from reprolib.params import Schedule

SCRIPT = Path(__file__).with_name("toy_run.py")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(toy, folder, *, schedule=None, stop_after=None, seed=5):
    """Train the toy in `folder`; returns (weights, summary, log entries)."""
    model, log = toy.toy_model(), folder / "log.jsonl"
    summary = train(
        model, toy.ToyData(), schedule or toy.SCHEDULE, seed=seed, device="cpu", work=folder / "work", log=log,
        stop_after=stop_after,
    )  # fmt: skip
    return model.state_dict(), summary, [json.loads(line) for line in log.read_text().splitlines()]


def same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def repeatable(entries):
    clocks = ("images_per_second", "data_share", "seconds", "memory_mb")
    return [{key: value for key, value in entry.items() if key not in clocks} for entry in entries]


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result = run(toy, tmp_path_factory.mktemp("whole"))
    torch.set_num_threads(threads)
    return result


@pytest.mark.parametrize("stops", [(1,), (3,), (5, 1, 4)])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(toy, whole, tmp_path, stops):
    for stop in stops:
        _, summary, _ = run(toy, tmp_path, stop_after=stop)
    assert summary.iterations == sum(stops)
    weights, summary, log = run(toy, tmp_path)
    same(weights, whole[0])
    assert repeatable(log) == repeatable(whole[2])  # no line twice, none missing, means over whole windows
    assert summary.final_losses == whole[1].final_losses
    assert summary.seconds_total > summary.seconds


def test_workers_change_nothing(toy, whole, tmp_path):
    schedule = dataclasses.replace(toy.SCHEDULE, workers=1)
    run(toy, tmp_path, schedule=schedule, stop_after=4)
    weights, _, _ = run(toy, tmp_path, schedule=schedule)
    same(weights, whole[0])


def test_the_seed_matters(toy, whole, tmp_path):
    weights, _, _ = run(toy, tmp_path, seed=6)
    assert not torch.equal(weights["box.weight"], whole[0]["box.weight"])


def test_a_finished_run_is_only_loaded(toy, whole, tmp_path, monkeypatch):
    first, summary, log = run(toy, tmp_path)
    monkeypatch.setattr(toy.ToyDetector, "forward", lambda *_: pytest.fail("it trained again"))
    again, same_summary, same_log = run(toy, tmp_path)
    same(again, first)
    assert same_summary == summary and same_log == log


def test_two_checkpoints_are_kept_while_training_and_a_small_one_after(toy, tmp_path):
    run(toy, tmp_path, stop_after=9)
    names = [path.name for path in checkpoint_paths(tmp_path / "work")]
    assert names == ["checkpoint-000000006.pt", "checkpoint-000000009.pt"]
    run(toy, tmp_path)
    (last,) = checkpoint_paths(tmp_path / "work")
    assert last.name == "checkpoint-000000012.pt"
    assert torch.load(last, weights_only=True)["optimiser"] is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_costs_iterations_and_not_the_run(toy, whole, tmp_path, capsys, damage):
    run(toy, tmp_path, stop_after=7)
    newest = checkpoint_paths(tmp_path / "work")[-1]
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        content[content.index(b"data/0") + 200] ^= 4  # inside a tensor: the file still opens
    newest.write_bytes({"cut": content[: len(content) // 2], "flip": content, "empty": b""}[damage])
    weights, _, log = run(toy, tmp_path)
    said = capsys.readouterr().out
    assert f"{newest} is damaged" in said and "going on at iteration 6 of 12" in said
    same(weights, whole[0])
    assert repeatable(log) == repeatable(whole[2])


def test_all_checkpoints_damaged_starts_afresh(toy, whole, tmp_path):
    run(toy, tmp_path, stop_after=7)
    for path in checkpoint_paths(tmp_path / "work"):
        path.write_bytes(b"nothing")
    weights, _, _ = run(toy, tmp_path)
    same(weights, whole[0])


def test_a_torn_log_line_is_mended(toy, whole, tmp_path):
    run(toy, tmp_path, stop_after=6)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"iteration": 8, "lo')
    _, _, log = run(toy, tmp_path)
    assert repeatable(log) == repeatable(whole[2])


def test_another_runs_folder_is_refused(toy, tmp_path):
    run(toy, tmp_path, stop_after=2)
    with pytest.raises(CheckpointError, match=r"lr 0\.01, this one has 0\.5.*delete"):
        run(toy, tmp_path, schedule=dataclasses.replace(toy.SCHEDULE, lr=0.5))
    with pytest.raises(CheckpointError, match="seed 5"):
        run(toy, tmp_path, seed=1)
    run(toy, tmp_path, schedule=dataclasses.replace(toy.SCHEDULE, log_every=1, checkpoint_every=2))


def test_only_what_leaves_the_weights_alone_may_change_between_calls():
    assert INDIFFERENT == ("checkpoint_every", "log_every", "workers", "test_size")


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Schedule) if f.name not in INDIFFERENT])
def test_a_change_of_any_other_field_is_refused(tmp_path, field):
    def other(value):
        if isinstance(value, bool):
            return not value
        return (*value, 7) if isinstance(value, tuple) else f"{value}x" if isinstance(value, str) else value + 1

    schedule = Schedule()
    changed = dataclasses.replace(schedule, **{field: other(getattr(schedule, field))})
    save_checkpoint(tmp_path, {"recipe": recipe_of(schedule, seed=0, images=10)}, iteration=1)
    model = torch.nn.Linear(1, 1)
    optimiser = torch.optim.SGD(model.parameters())
    recipe = recipe_of(changed, seed=0, images=10)
    with pytest.raises(CheckpointError, match=f"holds a run with {field} "):
        resume(tmp_path, model, optimiser, LossWindow(), recipe=recipe, total=5)


def test_checkpoints_hold_no_code(tmp_path):
    save_checkpoint(tmp_path, {"path": Path("x")}, iteration=1)  # a Path unpickles through code
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize(
    "kills",
    [
        # in the first batch, before and while writing the first checkpoint, then at each later checkpoint
        ("1", "3", "save1", "save2", "save2", "save2"),
        # in a batch after the newest checkpoint, each process one checkpoint further
        ("4", "5", "6", "3"),
    ],
)
def test_a_killed_run_ends_like_one_never_killed(whole, tmp_path, kills):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), *kills], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    same(torch.load(tmp_path / "final.pt", weights_only=True), whole[0])
    assert repeatable(map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())) == repeatable(whole[2])
    assert not list((tmp_path / "work").glob("*.part"))


def test_two_processes_do_not_share_a_run(toy, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    script = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); print('held'); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-u", "-c", script, str(work / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CheckpointError, match="another process"):
            run(toy, tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    run(toy, tmp_path)  # freed by the kill
