"""Where the time of a training step goes: the very loop that trains, on an experiment's own data.

`python -m benchmarks step EXPERIMENT` trains some steps in a folder that is thrown away: first with a clock
at each part of a step, waiting for the device there, then under torch.profiler. Last, where the host waits is counted.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_leaves

from benchmarks import waits as bench_waits
from benchmarks.against_torchvision import hardware
from benchmarks.options import add_device, add_profile
from benchmarks.report import show
from reprolib.data.catalog import prepare
from reprolib.data.coco import CocoInstances
from reprolib.engine.devices import pick_device, synchronise, to_device, use_cpu_threads
from reprolib.engine.run_meter import TrainingSummary
from reprolib.engine.train import train
from reprolib.models.parts import BACKBONE, BACKWARD, HEAD, INPUT, LOADER, LOSSES, NECK, OPTIMISER, listening
from reprolib.papers.addresses import resolve_address
from reprolib.params import Run, load_profile, resolve
from reprolib.pipeline.runs.build import build_model

WARM_UP = 3
# Backward passes run against the order of the forward one: head and losses, then neck, then backbone.
BACK = {BACKBONE: f"{BACKBONE} {BACKWARD}", NECK: f"{NECK} {BACKWARD}"}
ROWS = (
    *((LOADER, "read images and masks, if nobody read ahead"), (INPUT, "copy, normalise, resize, pad")),
    *((BACKBONE, "forward"), (NECK, "forward"), (HEAD, "forward; a two-stage head's with its losses and proposals")),
    *((LOSSES, "a one-stage head's, and what is in no other part"), (BACKWARD, "of head and losses")),
    *((BACK[NECK], ""), (BACK[BACKBONE], ""), (OPTIMISER, "gradient's norm, clipping, update")),
)


def run_step(run: Run, *, device: str, steps: int = 10, operators: int = 20) -> dict:
    """Seconds of a training step by part, and the operators that take most.

    Returns `parts` (seconds per step by the names of `ROWS`, nobody reading ahead), `seconds` (their sum), `training`
    (the summary of as many steps without a clock inside, read ahead as the schedule says), `operators` (the profiler's
    table), `waits` (see `benchmarks.waits`) and the conditions. Raises ValueError for impossible counts.
    """
    if min(steps, operators) < 1:
        raise ValueError(f"steps and operators start at 1, not {steps=}, {operators=}")
    split = prepare(run.dataset, run.dataset_options).splits["train"]
    dataset = CocoInstances(
        split.images, split.annotations, train=True, flip=run.schedule.flip, semantic=split.semantic
    )
    use_cpu_threads(run.schedule.cpu_threads)
    model = build_model(run, num_classes=len(dataset.class_names))
    schedule = dataclasses.replace(run.schedule, iterations=WARM_UP + 3 * steps, epochs=0.0, milestones=())
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.startswith("cuda") else [])]
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:

        def more(count: int, **changes: object) -> TrainingSummary:
            with contextlib.redirect_stdout(io.StringIO()):  # a run's own lines, of which none will be a run
                return train(
                    model,
                    dataset,
                    dataclasses.replace(schedule, **changes),
                    seed=run.seed,
                    device=device,
                    work=Path(folder),
                    log=Path(folder) / "log.jsonl",
                    stop_after=count,
                )

        more(WARM_UP)
        training = more(steps)
        with _clocked(model, seen, device=device):
            more(steps, workers=0)
        with profile(activities=activities, acc_events=True) as profiled:
            more(steps, workers=0)
    parts = {name: seen[name] / steps for name, _ in ROWS}
    items = [dataset[index % len(dataset)] for index in range(run.schedule.batch_size)]
    batch = to_device(*(list(column) for column in zip(*items, strict=True)), device=device)
    order = "self_cuda_time_total" if len(activities) > 1 else "self_cpu_time_total"
    return {
        "experiment": run.experiment.id,
        "profile": run.profile,
        "parts": parts,
        "seconds": sum(parts.values()),
        "training": dataclasses.asdict(training),
        "waits": bench_waits.run_waits(model, *batch, device=device),
        "operators": profiled.key_averages().table(sort_by=order, row_limit=operators, max_name_column_width=50),
        "steps": steps,
        "batch_size": run.schedule.batch_size,
        "device": device,
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
    }


def text(result: dict) -> str:
    """The result as tables to read."""
    training = result["training"]
    lines = [
        result["operators"],
        bench_waits.text(result["waits"], batch_size=result["batch_size"], device=result["device"]),
        f"{result['experiment']} under {result['profile']}: a step of {result['batch_size']} images on"
        f" {result['device']} ({result['hardware']}, {result['threads']} threads), mean of {result['steps']}, the"
        " device waited for at each part, images read when they are needed",
    ]
    for name, note in ROWS:
        seconds = result["parts"][name]
        lines.append(f"{name:20}{seconds * 1000:>10.1f} ms{seconds / result['seconds']:>7.1%}  {note}".rstrip())
    lines.append(f"{'sum':20}{result['seconds'] * 1000:>10.1f} ms")
    lines.append(
        f"as in a run: {training['images_per_second']:.1f} img/s, {training['data_share']:.0%} of the time waiting for"
        f" data; the loader could deliver {training['loader_images_per_second']:.1f} img/s"
    )
    return "\n".join(lines)


@contextlib.contextmanager
def _clocked(model: nn.Module, seen: Counter[str], *, device: str) -> Iterator[None]:
    """Within, the seconds of each part of training steps are added to `seen`; outside of parts none are."""
    last = ("", perf_counter())

    def mark(name: str) -> None:
        nonlocal last
        synchronise(device)
        now = perf_counter()
        if last[0]:
            seen[last[0]] += now - last[1]
        last = (name, now)

    def marking(name: str) -> Callable[..., None]:
        def seen_forward(_module: nn.Module, _inputs: object, outputs: object) -> None:
            for leaf in tree_leaves(outputs):
                if isinstance(leaf, Tensor) and leaf.requires_grad:
                    leaf.register_hook(lambda _: mark(name))

        return seen_forward

    hooks = [getattr(model, part).register_forward_hook(marking(name)) for part, name in BACK.items()]
    try:
        with listening(mark):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks step`."""
    parser.add_argument("experiment")
    add_device(parser)
    add_profile(parser)
    parser.add_argument("--steps", type=int, default=10, help="of each of the three rounds; by default 10")


def main(options: argparse.Namespace) -> int:
    """Run and show."""
    run = resolve(load_profile(options.profile), resolve_address(options.experiment), 0)
    result = run_step(run, device=options.device or pick_device(), steps=options.steps)
    show(options, result, text)
    return 0
