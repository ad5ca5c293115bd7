"""The verbs on single runs: describe, train, evaluate and export."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace

import yaml

from reprolib.papers.addresses import ADDRESSES, resolve_addresses, run_by_id
from reprolib.params import Profile, Run, load_profile, resolve
from reprolib.pipeline.name_values import name_values


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with their options. verb: takes name, function and help, returns the verb's parser."""
    added = verb("describe", describe_runs, "parameters and FLOPs of an experiment's model, without data or weights")
    added.add_argument("address", nargs="+", metavar="ADDRESS", help=ADDRESSES)
    added.add_argument("--input", metavar="HxW", help="network input size, for example 800x1088")
    added.add_argument("--proposals", type=int, help="RoIs of the box head")
    added.add_argument("--detections", type=int, default=50, help="RoIs of the mask head")
    added.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="a switch of the system")
    added.add_argument("--json", action="store_true", help="of several experiments: by id")
    for name, function, text in (
        ("train", train, "train experiments; goes on where an interrupted run stopped"),
        ("evaluate", evaluate, "evaluate trained experiments and write their records"),
    ):
        added = verb(name, function, text)
        added.add_argument("address", nargs="+", metavar="ADDRESS", help=ADDRESSES)
        added.add_argument("--seed", type=int, default=0)
        added.add_argument("--device", help="cpu, cuda, cuda:1; by default a GPU where there is one")
    added = verb("export", export, "an evaluated run's detections as a benchmark takes them")
    added.add_argument("run_name", metavar="RUN", help="<address>-<seed>: coco-mask_rcnn_r50-0, or seanet-2:1-0")
    added.add_argument("--format", help="coco, lvis, cityscapes, isaid or bbbc038; by default the data set's own")
    added.add_argument("--out", default=".", metavar="PATH", help="the file, or a folder to put it in; by default here")
    added.add_argument("--min-score", type=float, help="leave lower scores out; by default of bbbc038 0.5, else 0")


def describe_runs(options: argparse.Namespace) -> None:
    """Print counts of the models; several experiments under their ids."""
    from reprolib.pipeline.describe import describe

    _, runs = _runs(options)
    switches = {name: yaml.safe_load(value) for name, value in name_values(options.switch).items()}
    height, width = _input_size(options.input)
    counts = {}
    for run in runs:
        run = replace(run, experiment=replace(run.experiment, switches={**run.experiment.switches, **switches}))
        counts[run.experiment.id] = describe(
            run, height=height, width=width, proposals=options.proposals, detections=options.detections
        )
    if options.json:
        print(json.dumps(counts if len(counts) > 1 else next(iter(counts.values())), indent=1))
        return
    for experiment, values in counts.items():
        if len(counts) > 1:
            print(experiment)
        for name, value in values.items():
            print(f"{name:28} {f'{value:,}' if isinstance(value, int) else value}")


def train(options: argparse.Namespace) -> None:
    """Train one experiment after the other."""
    from reprolib.pipeline.run_dependencies import data_fingerprint, train_plan
    from reprolib.pipeline.runs.training import train_run

    profile, runs = _runs(options)
    for run in runs:
        plan = train_plan(run, data_fingerprint=data_fingerprint(profile, run.dataset))
        train_run(run, fingerprint=plan["fingerprint"], device=options.device)


def evaluate(options: argparse.Namespace) -> None:
    """Evaluate one experiment after the other and print the main metrics of each."""
    from reprolib.pipeline.run_dependencies import data_fingerprint, evaluate_plan
    from reprolib.pipeline.runs.evaluation import evaluate_run
    from reprolib.pipeline.runs.launch import prints_results

    profile, runs = _runs(options)
    for run in runs:
        data = data_fingerprint(profile, run.dataset)
        plan = evaluate_plan(run, data_fingerprint=data)
        record = evaluate_run(run, fingerprint=plan["fingerprint"], data_fingerprint=data, device=options.device)
        if prints_results():
            if len(runs) > 1:
                print(run.id)
            print(_metrics_text(record))


def export(options: argparse.Namespace) -> None:
    """Write a run's detections and print where they lie."""
    from reprolib.pipeline.runs.export import export_run

    run = run_by_id(load_profile(options.profile), options.run_name)
    print(export_run(run, options.out, format=options.format, min_score=options.min_score))


def _runs(options: argparse.Namespace) -> tuple[Profile, list[Run]]:
    profile = load_profile(options.profile)
    experiments = resolve_addresses(options.address)
    return profile, [resolve(profile, experiment, getattr(options, "seed", 0)) for experiment in experiments]


def _input_size(text: str | None) -> tuple[int | None, int | None]:
    if not text:
        return None, None
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError:
        raise ValueError(f"--input must be HEIGHTxWIDTH, for example 800x1088, not {text!r}") from None
    return height, width


def _metrics_text(record: dict) -> str:
    protocol = record["protocol"]
    limit = protocol["max_detections"] or "all"
    metrics = {
        name: value for name, value in record["metrics"].items() if name.count("/") == 1 or name.startswith("oracle/")
    }
    width = max(map(len, metrics))
    lines = [f"protocol {protocol['name']} ({protocol['version']}), area {protocol['area']}, {limit} detections"]
    lines += [f"{name:{width}} {'n/a' if value is None else f'{value:.2f}'}" for name, value in metrics.items()]
    return "\n".join(lines)
