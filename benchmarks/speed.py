"""Latency of whole systems on one image, part by part: all of them in one process, in turns.

`python -m benchmarks speed --profile paper` times the systems that the location attention paper times, and our
Mask R-CNN and SOLOv2 on ResNet-50, on one input; `speed EXPERIMENT ...` times others. Networks are untrained, so what
they would find is replaced by given instances, of equal sizes for every system; `--weights` and `--image` time what
trained weights find.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from benchmarks.against_torchvision import alternate, hardware, make_scene
from benchmarks.given_instances import most_ranked, with_instances
from benchmarks.ladder import fix_boxes, unit_boxes
from benchmarks.options import add_device, add_image_size, add_input_size, add_profile, add_rounds, add_side, pair
from benchmarks.pair import damp_residuals
from benchmarks.report import show
from benchmarks.variants import VARIANTS, make_variant, variant_steps
from reprolib.data.cards import CARDS
from reprolib.data.images import read_image
from reprolib.engine.devices import pick_device, synchronise
from reprolib.experiment import Experiment
from reprolib.models.input_transform import scale_boxes
from reprolib.models.parts import PARTS, POST_PROCESSING, listening
from reprolib.models.two_stage.box_head import BoxPredictor
from reprolib.papers.addresses import resolve_address, resolve_addresses
from reprolib.papers.catalog import all_tables
from reprolib.papers.reported import load_table
from reprolib.params import Profile, Run, load_profile, resolve
from reprolib.pipeline.runs.build import build_model
from reprolib.pipeline.runs.weights import load_weights

TABLE = "location_attention-2"  # it prints times and frames per second
BESIDE = ("coco-mask_rcnn_r50", "coco-solov2_r50-location_attention")  # the same on ResNet-50
EAGER = "eager"
PART_TITLES = {POST_PROCESSING: "post"}
Name = TypeVar("Name", bound=Hashable)


class Timed(NamedTuple):
    """One inference, in seconds; what no part claims (a model's own few lines between them) is in `whole` alone."""

    whole: float
    parts: dict[str, float]  # of `PARTS`, 0 where a system has no such part

    @property
    def network(self) -> float:
        """Without post-processing."""
        return self.whole - self.parts[POST_PROCESSING]


def run_speed(
    experiments: Sequence[Experiment],
    profile: Profile,
    *,
    device: str = "cpu",
    rounds: int = 5,
    image_size: tuple[int, int] | None = None,
    input_size: tuple[int, int] | None = None,
    variants: Sequence[str] = (),
    weights: str | Path = "",
    image: str | Path = "",
) -> dict:
    """Time one image's inference for several experiments' systems at a profile's scale, each also in `variants`.

    image_size: (height, width) of the image, at which masks end; by default a square of the input's short side.
    input_size: (short, long) side inside the networks, the same for all of them (YOLACT's is a square of the short one,
    550 px at most); by default the first experiment's schedule's. variants: see `benchmarks.variants.VARIANTS`, several
    of them joined by "+". weights: trained ones of the one experiment, which then goes on with what it finds in
    `image`, a file. Each round times everything once, in turns forwards and backwards; ratios are taken within a round.
    Returns `systems`, in the order of the experiments (median milliseconds, frames per second and the ratio to the
    first, of the whole and without post-processing, and milliseconds per part), `failed` (variants that could not be
    timed, with the reason) and the conditions. Raises ValueError for what cannot be timed.
    """
    sizes = [*(image_size or (1, 1)), *(input_size or (1, 1))]
    if min(rounds, *sizes) < 1:
        raise ValueError(f"rounds and sizes start at 1, not {rounds=}, {image_size=}, {input_size=}")
    if not experiments or bool(weights) != bool(image) or (weights and len(experiments) > 1):
        raise ValueError("--weights FILE goes with --image FILE and one experiment: other networks find nothing in it")
    variants = list(dict.fromkeys(variants))
    for variant in variants:
        variant_steps(variant)  # a mistyped one is refused before anything is built
    by_id = {experiment.id: experiment for experiment in experiments}
    runs = [resolve(profile, experiment, 0) for experiment in by_id.values()]
    short, long = input_size or (runs[0].schedule.test_size, runs[0].schedule.max_size)
    pixels = make_scene(*(image_size or (short, short)), instances=1, seed=0)[0]
    if image:
        pixels = read_image(Path(image)).float() / 255
    pixels = pixels.to(device)

    models: dict[tuple[str, str], nn.Module] = {}
    failed, about, reported = [], {}, reported_fps()
    for run in runs:
        name, model = run.experiment.id, _build(run, short=short, long=long, weights=weights).to(device).eval()
        models[name, EAGER], about[name, EAGER] = model, {"reported_fps": reported.get(name)}
        for variant in variants:
            try:
                models[name, variant], difference = make_variant(model, variant, pixels)
                about[name, variant] = {"difference": difference}
            except Exception as error:  # compilers raise many kinds; which one is part of the result
                reason = (str(error).strip() or "no message").splitlines()[0]
                failed.append({"experiment": name, "variant": variant, "reason": f"{type(error).__name__}: {reason}"})
        for key in about:
            if key[0] == name:
                candidates = None if weights else give_instances(models[key], pixels, detections=run.scale.detections)
                with torch.inference_mode():
                    (seen,) = models[key]([pixels])
                about[key] |= {"candidates": candidates, "detections": len(seen["boxes"])}
    times = time_parts(models, pixels, rounds=rounds, device=device)
    described = {run.experiment.id: _described(run) for run in runs}
    return {
        "profile": profile.name,
        "systems": [
            described[name]
            | {"variant": variant}
            | _summary(times[name, variant], first=times[runs[0].experiment.id, EAGER], eager=times[name, EAGER])
            | about[name, variant]
            for name, variant in models
        ],
        "failed": failed,
        "image_size": list(pixels.shape[-2:]),
        "input_size": [short, long],
        "weights": str(weights) or None,
        "rounds": rounds,
        "device": device,
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
    }


def timed_by_the_paper() -> list[Experiment]:
    """Those behind the paper's rows with a time, in its order, then `BESIDE`."""
    return [resolve_address(name) for name in (*reported_fps(), *BESIDE)]


def reported_fps() -> dict[str, float]:
    """Frames per second that the paper prints, by experiment."""
    table = all_tables()[TABLE]
    printed = {cell.row: cell.value for cell in load_table(table.paper, table.number) if cell.metric == "fps"}
    return {row.experiment.id: printed[row.number] for row in table.rows if row.experiment and row.number in printed}


def time_parts(
    models: Mapping[Name, nn.Module], image: Tensor, *, rounds: int, device: str = "cpu"
) -> dict[Name, list[Timed]]:
    """Inferences of one image [3,H,W] in 0..1, one per round and model, in turns.

    The models are detectors in evaluation mode on `device`. On a GPU each part is waited for.
    """
    marks: dict[Name, list[tuple[str, float]]] = {}
    spent: dict[Name, list[dict[str, float]]] = {name: [] for name in models}

    def task(name: Name) -> None:
        heard = marks.setdefault(name, [])
        heard.clear()

        def mark(part: str) -> None:
            synchronise(device)
            heard.append((part, perf_counter()))

        with torch.inference_mode(), listening(mark):
            models[name]([image])
        spent[name].append(_seconds(heard))

    whole = alternate(task, list(models), rounds=rounds, device=device)
    return {
        name: [Timed(*pair) for pair in zip(seconds, spent[name][-rounds:], strict=True)]
        for name, seconds in whole.items()
    }


def _seconds(marks: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Marks of when parts begin, the last one outside of them -> seconds of each of `PARTS`."""
    spent = dict.fromkeys(PARTS, 0.0)
    for (part, start), (_, end) in pairwise(marks):
        if part:
            spent[part] += end - start
    return spent


def give_instances(model: nn.Module, image: Tensor, *, detections: int) -> int:
    """Let a detector of random weights do all of its work, but go on with given instances; returns how many it ranks.

    Changes the model in place. One-stage detectors get predictions in which as many instances are seen as their
    post-processing ranks at most. In two-stage ones every proposal is a candidate of one class, and proposals and
    detections are given boxes, see `fix_boxes`. Sizes are those of `unit_boxes`. Raises ValueError where a detector has
    no such form: FCIS, whose boxes are voted for.
    """
    if hasattr(model, "rpn"):
        candidates = model.rpn.post_nms_top_n()
        for module in model.modules():
            if isinstance(module, BoxPredictor):
                nn.init.zeros_(module.cls_score.weight)
                with torch.no_grad():
                    module.cls_score.bias.zero_()[1] = 5
        fix_boxes(model, proposals=candidates, detections=detections)
        return candidates
    head = model.head
    with torch.inference_mode():
        batch, _ = model.transform([image])
        height, width = batch.image_sizes[0]
        predictions = head(model.pyramid(batch))
        candidates = most_ranked(head, predictions)
        boxes = scale_boxes(unit_boxes(candidates, seed=1).to(image), width, height)
        replaced, process = with_instances(head, predictions, batch, boxes), head.detections
    head.detections = lambda predictions, batch: process(replaced, batch)
    return candidates


def _build(run: Run, *, short: int, long: int, weights: str | Path) -> nn.Module:
    schedule = dataclasses.replace(run.schedule, min_sizes=(short,), test_size=short, max_size=long)
    card = CARDS[run.dataset]
    classes = len(card.classes) or card.class_count
    model = build_model(dataclasses.replace(run, schedule=schedule), num_classes=classes, pretrained=False)
    if weights:
        load_weights(model, Path(weights))
        return model
    damp_residuals(model.backbone)
    return model


def _described(run: Run) -> dict:
    experiment = run.experiment
    return {
        "experiment": experiment.id,
        "system": experiment.system,
        "backbone": experiment.backbone,
        "components": list(experiment.components),
    }


def _summary(times: Sequence[Timed], *, first: Sequence[Timed], eager: Sequence[Timed]) -> dict:
    whole = 1000 * statistics.median(timed.whole for timed in times)
    # One round's parts: medians of their own would not add up to the whole.
    typical = min(times, key=lambda timed: abs(1000 * timed.whole - whole))
    network = 1000 * statistics.median(timed.network for timed in times)
    return {
        "milliseconds": whole,
        "fps": 1000 / whole,
        "network_milliseconds": network,
        "network_fps": 1000 / network,
        "parts": {part: 1000 * typical.parts[part] for part in PARTS},
        "ratio": statistics.median(timed.whole / other.whole for timed, other in zip(times, first, strict=True)),
        "network_ratio": statistics.median(
            timed.network / other.network for timed, other in zip(times, first, strict=True)
        ),
        "network_ratio_to_eager": statistics.median(
            timed.network / other.network for timed, other in zip(times, eager, strict=True)
        ),
    }


def text(result: dict) -> str:
    """The result as a table for the terminal."""
    source = f"weights {result['weights']}" if result["weights"] else "random weights, given instances"
    systems = result["systems"]
    width = 2 + max(len(_name(entry)) for entry in systems)
    image, (short, long) = "x".join(map(str, result["image_size"])), result["input_size"]
    lines = [
        f"Profile {result['profile']} on {result['device']} ({result['hardware']}, {result['threads']} threads):"
        f" one image {image}, inside the networks {short} px, long side at most {long}; {source};"
        f" median of {result['rounds']} alternating rounds, parts of the round nearest to it.",
        "ms of the parts, then of the network without post-processing and of the whole; ratios are times to the first's"
        " (variants: without post-processing, to the same system's eager time).",
        f"{'':{width}}{''.join(f'{PART_TITLES.get(part, part):>10}' for part in PARTS)}"
        f"{'without':>10}{'FPS':>7}{'ratio':>7}{'whole':>10}{'FPS':>7}{'ratio':>7}"
        f"{'ranked':>8}{'kept':>6}{'reported FPS':>14}",
    ]
    for entry in systems:
        line = f"{_name(entry):{width}}" + "".join(f"{entry['parts'][part]:>10.1f}" for part in PARTS)
        line += f"{entry['network_milliseconds']:>10.1f}{entry['network_fps']:>7.1f}{entry['network_ratio']:>7.2f}"
        line += f"{entry['milliseconds']:>10.1f}{entry['fps']:>7.1f}{entry['ratio']:>7.2f}"
        line += f"{entry['candidates'] or '':>8}{entry['detections']:>6}"
        if entry["variant"] == EAGER:
            line += f"{entry['reported_fps'] or '':>14}"
        else:
            line += f"  {entry['network_ratio_to_eager']:.3f} of eager, outputs off by {entry['difference']:.0e}"
        lines.append(line)
    for failure in result["failed"]:
        lines.append(f"{failure['experiment']}, {failure['variant']}: not timed: {failure['reason']}")
    return "\n".join(lines)


def _name(entry: Mapping) -> str:
    return entry["experiment"] if entry["variant"] == EAGER else f"  {entry['variant']}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks speed`."""
    parser.add_argument(
        "experiments", nargs="*", metavar="EXPERIMENT", help=f"by default those that {TABLE} reports a time of, and two"
    )
    add_device(parser)
    add_rounds(parser, 5)
    add_profile(parser)
    image = parser.add_mutually_exclusive_group()
    add_side(image)
    add_image_size(image)
    add_input_size(parser)
    parser.add_argument(
        "--variants",
        nargs="+",
        default=(),
        metavar="VARIANT",
        help=f"the same networks also as {', '.join(VARIANTS)}, or several of them joined by '+'",
    )
    parser.add_argument("--weights", default="", help="trained ones, of a single experiment; goes with --image")
    parser.add_argument("--image", default="", help="file in which trained weights find what there is")


def main(options: argparse.Namespace) -> int:
    """Run and show."""
    result = run_speed(
        resolve_addresses(options.experiments) or timed_by_the_paper(),
        load_profile(options.profile),
        device=options.device or pick_device(),
        rounds=options.rounds,
        image_size=pair(options.image_size) or pair((options.side, options.side) if options.side else None),
        input_size=pair(options.input_size),
        variants=options.variants,
        weights=options.weights,
        image=options.image,
    )
    show(options, result, text)
    return 0
