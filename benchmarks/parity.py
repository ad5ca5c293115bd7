"""The AP of our Mask R-CNN beside torchvision's: with the same weights, and when both are trained alike.

`python -m benchmarks parity` trains both from the same random weights with our engine: same recipe, same images
in the same order, each drawing its training boxes itself. Then ours is also scored with the weights that
torchvision's has learnt. Networks are a profile's, on a ResNet that timm and torchvision both have. No weights or logs
are kept.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from benchmarks.against_torchvision import OURS, THEIRS, hardware
from benchmarks.options import add_device, add_input_size, add_profile, pair
from benchmarks.pair import build_pair, from_torchvision
from benchmarks.report import show
from reprolib.data.catalog import prepare
from reprolib.data.coco import CocoInstances
from reprolib.engine.devices import pick_device, use_cpu_threads
from reprolib.engine.inference import predict
from reprolib.engine.train import train
from reprolib.evaluation.protocols import find_protocol, score
from reprolib.papers.addresses import resolve_address
from reprolib.params import Profile, load_profile, resolve
from reprolib.pipeline.runs.build import input_size_of

EXPERIMENT = "coco-mask_rcnn_r50"  # whose scale and schedule under the profile both take
BACKBONE = "resnet18"
SAME = "ours, torchvision's weights"
METRICS = ("segm/AP", "segm/AP50", "bbox/AP")
EXACT = 0.05  # points of AP between the same weights in both


def run_parity(
    dataset: str,
    profile: Profile,
    *,
    device: str = "cpu",
    seeds: Sequence[int] = (0, 1),
    iterations: int | None = None,
    input_size: tuple[int, int] | None = None,
    backbone: str = BACKBONE,
) -> dict:
    """Train and score both, once per seed, on a prepared data set.

    iterations, input_size (short and long side): by default the schedule's. Returns `runs` (by seed: `METRICS` in
    percent of ours, of torchvision's, and of `SAME`), `exact` (the largest difference of any of them between
    torchvision's and `SAME`), `difference` (ours - torchvision's, mean over seeds, by metric), `spread` (largest less
    smallest over the seeds, of each) and the conditions. Raises ValueError.
    """
    if not seeds or len(set(seeds)) < len(seeds) or (iterations is not None and iterations < 1):
        raise ValueError(f"different seeds and one iteration or more, not {seeds=}, {iterations=}")
    run = resolve(profile, resolve_address(EXPERIMENT), seeds[0])
    prepared = prepare(dataset, profile.datasets.get(dataset, {}))
    learnt = CocoInstances(
        prepared.splits["train"].images, prepared.splits["train"].annotations, train=True, flip=run.schedule.flip
    )
    split, protocol = prepared.splits["val"], find_protocol(run.protocol or prepared.card.protocol)
    ground_truth = json.loads(Path(split.annotations).read_text())
    seen = CocoInstances(split.images, split.annotations, train=False)
    scale = dataclasses.replace(run.scale, pretrained=False)
    short, long = input_size or (run.schedule.test_size, run.schedule.max_size)
    schedule = dataclasses.replace(run.schedule, min_sizes=(short,), test_size=short, max_size=long)
    if iterations is not None:
        schedule = dataclasses.replace(schedule, iterations=iterations, epochs=0.0)
    use_cpu_threads(schedule.cpu_threads)

    def measure(model: nn.Module) -> dict[str, float | None]:
        with contextlib.redirect_stdout(io.StringIO()):
            detections, _ = predict(model, seen, device=device)
        limit = protocol.limit(scale.detections)
        scores = score(protocol, ground_truth, detections, images=split.images, limit=limit, area=run.area)
        return {metric: scores.metrics[metric] for metric in METRICS} | {"detections": len(detections)}

    runs = {}
    for seed in seeds:
        classes = len(learnt.class_names)
        models = build_pair(
            num_classes=classes, backbone=backbone, scale=scale, input_size=input_size_of(schedule), seed=seed
        )
        runs[seed], models = {}, dict(zip((OURS, THEIRS), models, strict=True))
        for name, model in models.items():
            print(f"seed {seed}: {name}", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                work = Path(folder)
                summary = train(model, learnt, schedule, seed=seed, device=device, work=work, log=work / "log.jsonl")
            runs[seed][name] = measure(model) | {
                "seconds": summary.seconds,
                "loss": summary.final_losses["loss"],
            }
        models[OURS].load_state_dict(from_torchvision(models[THEIRS].state_dict()))
        runs[seed][SAME] = measure(models[OURS])
    return _compared(runs) | {
        "dataset": dataset,
        "profile": profile.name,
        "backbone": backbone,
        "iterations": summary.iterations,
        "batch_size": schedule.batch_size,
        "images": [len(learnt), len(seen)],
        "input_size": [short, long],
        "seeds": list(seeds),
        "protocol": protocol.name,
        "device": device,
        "hardware": hardware(device),
    }


def _compared(runs: dict[int, dict[str, dict]]) -> dict:
    def values(name: str, metric: str) -> list[float]:
        return [run[name][metric] for run in runs.values()]

    return {
        "runs": {str(seed): run for seed, run in runs.items()},
        "exact": max(
            abs(a - b) for metric in METRICS for a, b in zip(values(SAME, metric), values(THEIRS, metric), strict=True)
        ),
        "difference": {
            metric: statistics.fmean(values(OURS, metric)) - statistics.fmean(values(THEIRS, metric))
            for metric in METRICS
        },
        "spread": {
            name: {metric: max(values(name, metric)) - min(values(name, metric)) for metric in METRICS}
            for name in (OURS, THEIRS)
        },
    }


def text(result: dict) -> str:
    """The result as a table."""
    learnt, seen = result["images"]
    short, long = result["input_size"]
    lines = [
        f"Mask R-CNN {result['backbone']}-FPN on {result['dataset']} at the scale of profile {result['profile']},"
        f" {short}..{long} px: {result['iterations']} steps of {result['batch_size']} of {learnt} images,"
        f" {seen} to detect in, protocol {result['protocol']}, {result['device']} ({result['hardware']})",
        f"{'':34}{''.join(f'{metric:>12}' for metric in METRICS)}{'detections':>12}{'last loss':>11}{'training':>10}",
    ]
    for seed, run in result["runs"].items():
        for name in (OURS, THEIRS, SAME):
            scores = run[name]
            line = f"{f'seed {seed}: {name}':34}{''.join(f'{scores[metric]:>12.2f}' for metric in METRICS)}"
            line += f"{scores['detections']:>12}"
            lines.append(line + (f"{scores['loss']:>11.3f}{scores['seconds']:>9.0f}s" if "loss" in scores else ""))
    rows = {"trained alike: ours - torchvision": result["difference"]}
    rows |= {f"spread over seeds: {name}": result["spread"][name] for name in (OURS, THEIRS)}
    lines += [f"{title:34}{''.join(f'{row[metric]:>12.2f}' for metric in METRICS)}" for title, row in rows.items()]
    verdict = "within" if result["exact"] <= EXACT else "MORE THAN"
    lines.append(f"the same weights in both differ by {result['exact']:.4f} points at most: {verdict} {EXACT}")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks parity`."""
    parser.add_argument("dataset", nargs="?", default="street", help="by default street, the generated street scenes")
    add_device(parser)
    add_profile(parser)
    add_input_size(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1), help="each trains both once; by default 0 1")
    parser.add_argument("--iterations", type=int, help="by default the schedule's")


def main(options: argparse.Namespace) -> int:
    """Run and show; 1 where the same weights score differently in both."""
    result = run_parity(
        options.dataset,
        load_profile(options.profile),
        device=options.device or pick_device(),
        seeds=options.seeds,
        iterations=options.iterations,
        input_size=pair(options.input_size),
    )
    show(options, result, text)
    return int(result["exact"] > EXACT)
