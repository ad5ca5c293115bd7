"""What a box prompt costs once its image is encoded, beside encoding the image again.

`python -m benchmarks prompt EXPERIMENT --profile paper` prints milliseconds. The weights are random: the work
does not depend on them, as every prompt gets its mask, of the size of its box.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

import torch

from benchmarks.against_torchvision import alternate, hardware, make_scene
from benchmarks.ladder import unit_boxes
from benchmarks.options import add_device, add_profile, add_rounds, add_side
from benchmarks.report import show
from reprolib.data.cards import CARDS
from reprolib.engine.devices import pick_device
from reprolib.models.input_transform import scale_boxes
from reprolib.papers.addresses import resolve_address
from reprolib.params import Profile, load_profile, resolve
from reprolib.pipeline.runs.build import build_model

TIMED_BY_PAPER = "insight_any_instance-11:3"  # whose time the paper reports
REPORTED = "reported: 40 ms per process after the image encoder, boxes per process not stated (RTX 3090; section IV.F)"
ENCODE = 0  # boxes: the image alone


def run_prompt(
    experiment: str,
    profile: Profile,
    *,
    device: str = "cpu",
    rounds: int = 7,
    side: int = 0,
    counts: Sequence[int] = (1, 10, 100),
) -> dict:
    """Time encoding one image and prompting it with several numbers of boxes, in turns.

    side: of the square image, by default the schedule's test size. counts: boxes per call.
    Returns `encode_milliseconds` and `calls`, each with its boxes, milliseconds, milliseconds per box and, taken within
    a round, the ratio to encoding again; medians. Beside them the conditions.
    Raises ValueError for an experiment that cannot be prompted, or counts that cannot be timed.
    """
    if rounds < 1 or side < 0 or not counts or min(counts) < 1:
        raise ValueError(f"rounds and counts start at 1, not {rounds=}, {side=}, counts={list(counts)}")
    run = resolve(profile, resolve_address(experiment), 0)
    side = side or run.schedule.test_size
    card = CARDS[run.dataset]
    model = build_model(run, num_classes=len(card.classes) or card.class_count, pretrained=False).to(device).eval()
    if not hasattr(model, "segment"):
        raise ValueError(f"{experiment}: {run.experiment.system} takes no box prompts; two-stage systems do")
    image = make_scene(side, side, instances=1, seed=0)[0].to(device)
    boxes = {count: scale_boxes(unit_boxes(count, seed=count), side, side).to(device) for count in counts}

    with torch.inference_mode():
        encoded = model.encode(image)

        def task(count: int) -> object:
            return model.segment(encoded, boxes[count]) if count else model.encode(image)

        seconds = alternate(task, [ENCODE, *boxes], rounds=rounds, device=device)
    calls = []
    for count in boxes:
        milliseconds = 1000 * statistics.median(seconds[count])
        pairs = zip(seconds[count], seconds[ENCODE], strict=True)
        calls.append(
            {
                "boxes": count,
                "milliseconds": milliseconds,
                "milliseconds_per_box": milliseconds / count,
                "ratio_to_encoding": statistics.median(call / encode for call, encode in pairs),
            }
        )
    return {
        "experiment": run.experiment.id,
        "profile": profile.name,
        "encode_milliseconds": 1000 * statistics.median(seconds[ENCODE]),
        "calls": calls,
        "side": side,
        "rounds": rounds,
        "device": device,
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
    }


def text(result: dict) -> str:
    """The result as a table for the terminal."""
    lines = [
        f"{result['experiment']} under profile {result['profile']} on {result['device']} ({result['hardware']},"
        f" {result['threads']} threads): one image {result['side']}x{result['side']}, masks pasted,"
        f" median of {result['rounds']} alternating rounds",
        f"{'':>12}{'ms a call':>12}{'ms a box':>12}{'of encoding':>14}",
        f"{'encode':>12}{result['encode_milliseconds']:>12.1f}",
    ]
    for call in result["calls"]:
        name = f"{call['boxes']} box{'es' if call['boxes'] > 1 else ''}"
        line = f"{name:>12}{call['milliseconds']:>12.1f}{call['milliseconds_per_box']:>12.2f}"
        lines.append(f"{line}{100 * call['ratio_to_encoding']:>12.1f} %")
    return "\n".join([*lines, REPORTED])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks prompt`."""
    parser.add_argument("experiment", nargs="?", default=TIMED_BY_PAPER, help=f"by default {TIMED_BY_PAPER}")
    add_device(parser)
    add_rounds(parser, 7)
    add_profile(parser)
    add_side(parser)
    parser.add_argument("--boxes", type=int, nargs="+", default=(1, 10, 100), help="of a call; by default 1 10 100")


def main(options: argparse.Namespace) -> int:
    """Run and show."""
    result = run_prompt(
        options.experiment,
        load_profile(options.profile),
        device=options.device or pick_device(),
        rounds=options.rounds,
        side=options.side,
        counts=options.boxes,
    )
    show(options, result, text)
    return 0
