"""`reprolib bench`: which benchmark runs, with which options.

Without any, our Mask R-CNN against torchvision's (`reprolib.bench`); `--ladder TABLE` times the rows of an ablation
(`reprolib.bench_ladder`), `--prompt EXPERIMENT` box prompts on an encoded image (`reprolib.bench_prompt`), `--speed`
whole systems part by part (`reprolib.bench_speed`), `--profile-step EXPERIMENT` a training step part by part
(`reprolib.bench_step`), `--evaluation` the evaluation's backends (`reprolib.bench_evaluation`), `--bootstrap` intervals
over images (`reprolib.bench_bootstrap`), `--coverage` how often these cover the truth (`reprolib.bench_coverage`).
"""

from __future__ import annotations

import argparse
import json

from reprolib import (
    bench,
    bench_bootstrap,
    bench_coverage,
    bench_evaluation,
    bench_ladder,
    bench_prompt,
    bench_speed,
    bench_step,
)
from reprolib.engine.devices import pick_device
from reprolib.params import load_profile, resolve
from reprolib.plan import experiment_by_id

PROMPTED = "nwpu_vhr10-insight_r50-lpm+gpm+parea~host.cascade_mask_rcnn"  # Insight Any Instance's Table XI


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `reprolib bench`."""
    parser.add_argument("--device", help="cpu or cuda; without it what a run would pick")
    parser.add_argument("--rounds", type=int, help="each times everything once; 5, of a ladder 20, of prompts 7")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    sizes = parser.add_argument_group("against torchvision and of whole systems")
    sizes.add_argument("--image-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of the images given")
    sizes.add_argument("--input-size", type=int, nargs=2, metavar=("SHORT", "LONG"), help="sides inside the networks")
    pair = parser.add_argument_group("against torchvision (images 480 640, inside the networks 256 342)")
    pair.add_argument("--batch-size", type=int, default=2, help="images per step")
    rows = parser.add_argument_group("rows of an ablation, each against the row above")
    rows.add_argument("--ladder", metavar="TABLE", help="for example mai_se_net-1; one image's inference")
    rows.add_argument("--rows", type=int, nargs="+", default=(), help="by default all rows of the table's ablation")
    rows.add_argument("--proposals", type=int, default=0, help="boxes of the box stages; by default the profile's")
    rows.add_argument("--detections", type=int, default=50, help="boxes of the mask branch")
    prompts = parser.add_argument_group("box prompts on an encoded image, beside encoding it again")
    prompts.add_argument("--prompt", nargs="?", const=PROMPTED, metavar="EXPERIMENT", help=f"by default {PROMPTED}")
    prompts.add_argument("--boxes", type=int, nargs="+", default=(1, 10, 100), help="of a call")
    systems = parser.add_argument_group("whole systems, part by part, on one image")
    systems.add_argument(
        "--speed", nargs="*", metavar="EXPERIMENT", help="by default what the location attention paper times"
    )
    systems.add_argument(
        "--variants",
        nargs="+",
        default=(),
        metavar="VARIANT",
        help="the same networks also as channels_last, contiguous, compile (torch.compile), or several joined by '+'",
    )
    systems.add_argument("--weights", default="", help="trained ones, of a single experiment; goes with --image")
    systems.add_argument("--image", default="", help="file in which trained weights find what there is")
    steps = parser.add_argument_group("a training step, part by part and by operators, on the experiment's data")
    steps.add_argument("--profile-step", metavar="EXPERIMENT", help="the loop that trains, without keeping anything")
    steps.add_argument("--steps", type=int, default=10, help="of each of the three rounds")
    scoring = parser.add_argument_group("the fast evaluation backend against pycocotools, and intervals over images")
    scoring.add_argument(
        "--evaluation", action="store_true", help="5,000 images, 250,000 generated detections; 1 round"
    )
    scoring.add_argument(
        "--bootstrap", action="store_true", help="a difference of two runs on 1,000 resamples of 5,000 images"
    )
    scoring.add_argument("--coverage", action="store_true", help="how often such intervals cover a known truth")
    both = parser.add_argument_group("of a ladder, of prompts, of whole systems and of a training step")
    both.add_argument("--profile", help="profile of params.yaml; by default the active one")
    both.add_argument(
        "--side", type=int, default=0, help="of the square image, not of a step; by default the profile's test size"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run and print; 1 when torchvision is faster in a task, 0 otherwise and after the other benchmarks."""
    speed = arguments.speed is not None
    named = (
        arguments.ladder,
        arguments.prompt,
        speed,
        arguments.profile_step,
        arguments.evaluation,
        arguments.bootstrap,
        arguments.coverage,
    )
    if sum(map(bool, named)) > 1:
        raise ValueError(
            "--ladder, --prompt, --speed, --profile-step, --evaluation, --bootstrap, --coverage: each is a benchmark;"
            " name one at a time"
        )
    if arguments.ladder:
        return _run_ladder(arguments)
    if arguments.prompt:
        return _run_prompt(arguments)
    if speed:
        return _run_speed(arguments)
    if arguments.profile_step:
        return _run_step(arguments)
    if arguments.evaluation:
        return _run_evaluation(arguments)
    if arguments.bootstrap:
        return _run_bootstrap(arguments)
    if arguments.coverage:
        return _run_coverage(arguments)
    result = bench.run_bench(
        device=arguments.device or pick_device(),
        rounds=5 if arguments.rounds is None else arguments.rounds,
        image_size=tuple(arguments.image_size or (480, 640)),
        input_size=tuple(arguments.input_size or (256, 342)),
        batch_size=arguments.batch_size,
    )
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print(bench.text(result))
    return int(min(result[task]["ratio"] for task in ("train_step", "inference")) < 1)


def _run_ladder(arguments: argparse.Namespace) -> int:
    result = bench_ladder.run_ladder(
        arguments.ladder,
        load_profile(arguments.profile),
        rows=arguments.rows,
        device=arguments.device or pick_device(),
        rounds=20 if arguments.rounds is None else arguments.rounds,
        side=arguments.side,
        proposals=arguments.proposals,
        detections=arguments.detections,
    )
    print(json.dumps(result, indent=1) if arguments.json else bench_ladder.text(result))
    return 0


def _run_prompt(arguments: argparse.Namespace) -> int:
    result = bench_prompt.run_prompt(
        arguments.prompt,
        load_profile(arguments.profile),
        device=arguments.device or pick_device(),
        rounds=7 if arguments.rounds is None else arguments.rounds,
        side=arguments.side,
        counts=arguments.boxes,
    )
    print(json.dumps(result, indent=1) if arguments.json else bench_prompt.text(result))
    return 0


def _run_speed(arguments: argparse.Namespace) -> int:
    if arguments.side and arguments.image_size:
        raise ValueError("--side is a square image, --image-size one of any shape; give one of them")
    side = (arguments.side, arguments.side) if arguments.side else None
    result = bench_speed.run_speed(
        [experiment_by_id(name) for name in arguments.speed] or bench_speed.timed_by_the_paper(),
        load_profile(arguments.profile),
        device=arguments.device or pick_device(),
        rounds=5 if arguments.rounds is None else arguments.rounds,
        image_size=tuple(arguments.image_size) if arguments.image_size else side,
        input_size=tuple(arguments.input_size) if arguments.input_size else None,
        variants=arguments.variants,
        weights=arguments.weights,
        image=arguments.image,
    )
    print(json.dumps(result, indent=1) if arguments.json else bench_speed.text(result))
    return 0


def _run_step(arguments: argparse.Namespace) -> int:
    run = resolve(load_profile(arguments.profile), experiment_by_id(arguments.profile_step), 0)
    result = bench_step.run_step(run, device=arguments.device or pick_device(), steps=arguments.steps)
    print(json.dumps(result, indent=1) if arguments.json else bench_step.text(result))
    return 0


def _run_evaluation(arguments: argparse.Namespace) -> int:
    report = bench_evaluation.run_evaluation(rounds=1 if arguments.rounds is None else arguments.rounds)
    print(json.dumps(report, indent=1) if arguments.json else bench_evaluation.text(report))
    return int(report["difference"] > bench_evaluation.EQUAL)


def _run_bootstrap(arguments: argparse.Namespace) -> int:
    report = bench_bootstrap.run_bootstrap()
    print(json.dumps(report, indent=1) if arguments.json else bench_bootstrap.text(report))
    return 0


def _run_coverage(arguments: argparse.Namespace) -> int:
    report = bench_coverage.run_coverage()
    print(json.dumps(report, indent=1) if arguments.json else bench_coverage.text(report))
    return 0
