"""`python -m benchmarks`: which benchmark runs, with which options.

Without any, our Mask R-CNN against torchvision's (`benchmarks.against_torchvision`); `--attribute` times what each of
our faster pieces brings there (`benchmarks.attribution`), `--parity` trains both and compares their AP
(`benchmarks.parity`); `--ladder TABLE` times the rows of an ablation
(`benchmarks.ladder`), `--prompt EXPERIMENT` box prompts on an encoded image (`benchmarks.prompt`), `--speed`
whole systems part by part (`benchmarks.speed`), `--profile-step EXPERIMENT` a training step part by part
(`benchmarks.step`), `--evaluation` the evaluation's backends (`benchmarks.evaluation`), `--bootstrap` intervals
over images (`benchmarks.bootstrap`), `--coverage` how often these cover the truth (`benchmarks.coverage`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from benchmarks import against_torchvision as bench
from benchmarks import attribution as bench_attribution
from benchmarks import bootstrap as bench_bootstrap
from benchmarks import coverage as bench_coverage
from benchmarks import evaluation as bench_evaluation
from benchmarks import ladder as bench_ladder
from benchmarks import parity as bench_parity
from benchmarks import parts as bench_parts
from benchmarks import prompt as bench_prompt
from benchmarks import speed as bench_speed
from benchmarks import step as bench_step
from benchmarks.report import write_report
from reprolib.engine.devices import pick_device
from reprolib.params import load_profile, resolve
from reprolib.pipeline.plan import experiment_by_id

PROMPTED = "nwpu_vhr10-insight_r50-lpm+gpm+parea~host.cascade_mask_rcnn"  # Insight Any Instance's Table XI


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks`."""
    parser.add_argument("--device", help="cpu or cuda; without it what a run would pick")
    parser.add_argument("--rounds", type=int, help="each times everything once; 5, of a ladder 20, of prompts 7")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument(
        "--out", metavar="FILE.json", help="also write the result there, where it came from, and its table beside it"
    )
    sizes = parser.add_argument_group("against torchvision and of whole systems")
    sizes.add_argument("--image-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of the images given")
    sizes.add_argument("--input-size", type=int, nargs=2, metavar=("SHORT", "LONG"), help="sides inside the networks")
    pair = parser.add_argument_group("against torchvision (images 480 640, inside the networks 256 342)")
    pair.add_argument("--batch-size", type=int, default=2, help="images per step")
    pair.add_argument("--precision", choices=bench.PRECISIONS, default="float32", help="of both, by autocast")
    pair.add_argument("--attribute", action="store_true", help="also ours with each faster piece taken back in turn")
    pair.add_argument("--tasks", nargs="+", choices=bench.TASKS, default=tuple(bench.TASKS), help="of --attribute")
    pair.add_argument("--parts", action="store_true", help="also where the time of both goes, part by part")
    parity = parser.add_argument_group("the AP of both, trained alike (--profile's schedule, thin networks)")
    parity.add_argument(
        "--parity", nargs="?", const="street", metavar="DATASET", help="by default the generated street scenes"
    )
    parity.add_argument("--seeds", type=int, nargs="+", default=(0, 1), help="each trains both once")
    parity.add_argument("--iterations", type=int, help="by default the schedule's")
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
    alone = (
        "ladder",
        "prompt",
        "speed",
        "profile_step",
        "evaluation",
        "attribute",
        "parts",
        "parity",
        "bootstrap",
        "coverage",
    )
    named = [name for name in alone if getattr(arguments, name) not in (None, False)]
    if len(named) > 1:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in alone)
        raise ValueError(f"{options}: each is a benchmark; name one at a time")
    if arguments.attribute or arguments.parts:
        return _run_parts_of_pair(arguments)
    if arguments.parity:
        return _run_parity(arguments)
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
        **_pair_options(arguments),
        rounds=5 if arguments.rounds is None else arguments.rounds,
    )
    _show(arguments, result, bench.text)
    return int(min(result[task]["ratio"] for task in bench.TASKS) < 1)


def _pair_options(arguments: argparse.Namespace) -> dict:
    return {
        "device": arguments.device or pick_device(),
        "precision": arguments.precision,
        "image_size": tuple(arguments.image_size or (480, 640)),
        "input_size": tuple(arguments.input_size or (256, 342)),
        "batch_size": arguments.batch_size,
    }


def _run_parts_of_pair(arguments: argparse.Namespace) -> int:
    module = bench_attribution if arguments.attribute else bench_parts
    time = module.run_attribution if arguments.attribute else module.run_parts
    result = time(
        **_pair_options(arguments),
        rounds=5 if arguments.rounds is None else arguments.rounds,
        tasks=arguments.tasks,
    )
    _show(arguments, result, module.text)
    return 0


def _run_parity(arguments: argparse.Namespace) -> int:
    result = bench_parity.run_parity(
        arguments.parity,
        load_profile(arguments.profile),
        device=arguments.device or pick_device(),
        seeds=arguments.seeds,
        iterations=arguments.iterations,
        input_size=tuple(arguments.input_size) if arguments.input_size else None,
    )
    _show(arguments, result, bench_parity.text)
    return int(result["exact"] > bench_parity.EXACT)


def _show(arguments: argparse.Namespace, result: dict, table: Callable[[dict], str]) -> None:
    print(json.dumps(result, indent=1) if arguments.json else table(result))
    if arguments.out:
        write_report(arguments.out, result, table(result))


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
    _show(arguments, result, bench_ladder.text)
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
    _show(arguments, result, bench_prompt.text)
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
    _show(arguments, result, bench_speed.text)
    return 0


def _run_step(arguments: argparse.Namespace) -> int:
    run = resolve(load_profile(arguments.profile), experiment_by_id(arguments.profile_step), 0)
    result = bench_step.run_step(run, device=arguments.device or pick_device(), steps=arguments.steps)
    _show(arguments, result, bench_step.text)
    return 0


def _run_evaluation(arguments: argparse.Namespace) -> int:
    report = bench_evaluation.run_evaluation(rounds=1 if arguments.rounds is None else arguments.rounds)
    _show(arguments, report, bench_evaluation.text)
    return int(report["difference"] > bench_evaluation.EQUAL)


def _run_bootstrap(arguments: argparse.Namespace) -> int:
    report = bench_bootstrap.run_bootstrap()
    _show(arguments, report, bench_bootstrap.text)
    return 0


def _run_coverage(arguments: argparse.Namespace) -> int:
    report = bench_coverage.run_coverage()
    _show(arguments, report, bench_coverage.text)
    return 0
