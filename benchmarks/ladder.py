"""What each row of an ablation costs beside the row above it: all rows in one process, in turns, on equal boxes.

`python -m benchmarks ladder mai_se_net-1` prints milliseconds per inference, ratios and multiply-adds. Networks
are untrained, so the boxes that they would find are replaced by given ones: the same number for every row.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.against_torchvision import alternate, hardware, make_scene
from benchmarks.options import add_device, add_profile, add_rounds, add_side
from benchmarks.report import show
from reprolib.data.cards import CARDS
from reprolib.engine.devices import pick_device
from reprolib.evaluation.cost import flops, on_meta
from reprolib.experiment import Experiment
from reprolib.models.input_transform import scale_boxes
from reprolib.models.two_stage.box_head import BoxPredictor
from reprolib.papers.addresses import table_by_id
from reprolib.papers.reported import load_table
from reprolib.params import Profile, load_profile, resolve
from reprolib.pipeline.runs.build import build_model

SIGNIFICANT = 0.05  # two-sided sign test over the rounds


def run_ladder(
    table: str,
    profile: Profile,
    *,
    rows: Sequence[int] = (),
    device: str = "cpu",
    rounds: int = 20,
    side: int = 0,
    proposals: int = 0,
    detections: int = 50,
) -> dict:
    """Time one image's inference for several rows of a table at a profile's scale.

    table: its id, for example "mai_se_net-1". rows: printed row numbers, by default all that the table calls an
    ablation. side: of the square image, by default the schedule's test size. proposals and detections: boxes that the
    box stages and the mask branch see, by default the scale's number of proposals and 50.
    Each round times all rows once, downwards and upwards in turns; a ratio is taken within a round.
    Returns `rows`, each with its milliseconds, multiply-adds and, but for the first, its ratio to the row above and in
    how many rounds it was slower; beside them the conditions.
    Raises ValueError for a table, rows or counts that cannot be timed.
    """
    if min(rounds, detections) < 1 or min(side, proposals) < 0:
        raise ValueError(f"rounds and detections start at 1, not {rounds=}, {detections=}; {side=}, {proposals=}")
    chosen = ladder(table, rows)
    runs = {number: resolve(profile, experiment, 0) for number, experiment in chosen.items()}
    first = next(iter(runs.values()))
    side = side or first.schedule.test_size
    proposals = proposals or first.scale.rpn_post_nms[1]
    image = make_scene(side, side, instances=1, seed=0)[0].to(device)
    timed, costs = {}, {}
    for number, run in runs.items():
        card = CARDS[run.dataset]
        classes = len(card.classes) or card.class_count
        meta = on_meta(lambda run=run, classes=classes: build_model(run, num_classes=classes, pretrained=False))
        costs[number] = flops(meta, side, side, proposals, detections)
        model = build_model(run, num_classes=classes, pretrained=False).to(device).eval()
        timed[number] = fix_boxes(model, proposals=proposals, detections=detections)

    @torch.inference_mode()
    def inference(number: int) -> list[dict[str, Tensor]]:
        return timed[number]([image])

    seconds = alternate(inference, list(timed), rounds=rounds, device=device)
    printed = table_by_id(table)
    reported = {cell.row: cell.value for cell in load_table(printed.paper, printed.number) if cell.metric == "fps"}
    entries, above = [], None
    for number, experiment in chosen.items():
        entry = {
            "row": number,
            "system": experiment.system,
            "components": list(experiment.components),
            "flops": costs[number],
            "milliseconds": 1000 * statistics.median(seconds[number]),
            "least_milliseconds": 1000 * min(seconds[number]),
            "reported_fps": reported.get(number),
        }
        if above is not None:
            entry |= compare(seconds[number], seconds[above])
        entries.append(entry)
        above = number
    return {
        "table": table,
        "profile": profile.name,
        "rows": entries,
        "side": side,
        "proposals": proposals,
        "detections": detections,
        "rounds": rounds,
        "device": device,
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
    }


def ladder(table: str, rows: Sequence[int] = ()) -> dict[int, Experiment]:
    """The experiments of a table's rows, by number in printed order; without `rows` those of its ablation.

    Raises ValueError naming what there is.
    """
    printed = table_by_id(table)
    runnable = {row.number: row.experiment for row in printed.rows if row.experiment is not None}
    if not rows:
        kinds = {cell.row: cell.row_kind for cell in load_table(printed.paper, printed.number)}
        rows = [number for number in runnable if kinds.get(number) == "ablation"]
    missing = [number for number in rows if number not in runnable]
    if missing or len(set(rows)) < 2:
        raise ValueError(
            f"{table}: a ladder needs two or more different rows of {', '.join(map(str, runnable)) or 'none'}"
            f" (those that the suite can run), not {list(rows)}; name them by --rows"
        )
    return {number: runnable[number] for number in sorted(set(rows))}


def fix_boxes(model: nn.Module, *, proposals: int, detections: int) -> nn.Module:
    """Let a two-stage detector do all of its work, but go on with given boxes after proposals and after detection.

    Changes the model in place. The boxes, see `unit_boxes`, are the same for every model, and its own box stages leave
    them where they are: random deltas would draw some out so long that RoIAlign, whose samples follow the box, takes
    ten times as long as everything else.
    Raises ValueError for a detector of another kind.
    """
    if not (hasattr(model, "rpn") and hasattr(getattr(model, "roi_heads", None), "box_inference")):
        raise ValueError(f"{type(model).__name__} is no two-stage detector: its boxes cannot be given")
    propose, detect = model.rpn.forward, model.roi_heads.box_inference
    for module in model.modules():
        if isinstance(module, BoxPredictor):
            nn.init.zeros_(module.bbox_pred.weight)
            nn.init.zeros_(module.bbox_pred.bias)
    proposed, detected = unit_boxes(proposals, seed=1), unit_boxes(detections, seed=2)

    def given_proposals(batch, features: list[Tensor], targets: None = None):
        own_proposals, losses = propose(batch, features, targets)
        pairs = zip(own_proposals, batch.image_sizes, strict=True)
        return [scale_boxes(proposed.to(boxes), width, height) for boxes, (height, width) in pairs], losses

    def given_detections(features: list[Tensor], *rest) -> list[dict[str, Tensor]]:
        *_, image_sizes = rest
        return [
            {
                "boxes": scale_boxes(detected.to(own["boxes"]), width, height),
                "labels": own["labels"].new_ones(detections),
                "scores": own["scores"].new_ones(detections),
            }
            for own, (height, width) in zip(detect(features, *rest), image_sizes, strict=True)
        ]

    model.rpn.forward, model.roi_heads.box_inference = given_proposals, given_detections
    return model


def unit_boxes(count: int, *, seed: int) -> Tensor:
    """[count,4] xyxy within the unit square, aspects 1:2 to 2:1, roots of the area from 1/32 to 1/2, log-uniform."""
    generator = torch.Generator().manual_seed(seed)
    size, stretch = torch.rand((2, count), generator=generator)
    size, stretch = 2.0 ** -(1 + 4 * size), 2.0 ** (stretch - 0.5)
    sides = torch.stack([size * stretch, size / stretch], dim=1)
    start = (1 - sides) * torch.rand((count, 2), generator=generator)
    return torch.cat([start, start + sides], dim=1)


def compare(seconds: Sequence[float], above: Sequence[float]) -> dict[str, object]:
    """A row's rounds against those of the row above it: median ratio, rounds in which it was slower, and the order.

    order: `slower` or `faster` where a sign test over the rounds says so, which takes six at least, else
    `within noise`.
    """
    ratios = [mine / other for mine, other in zip(seconds, above, strict=True)]
    slower, rounds = sum(ratio > 1 for ratio in ratios), len(ratios)
    tail = sum(math.comb(rounds, k) for k in range(max(slower, rounds - slower), rounds + 1)) / 2**rounds
    order = "within noise"
    if 2 * tail < SIGNIFICANT:
        order = "slower" if 2 * slower > rounds else "faster"
    return {"ratio": statistics.median(ratios), "slower_rounds": slower, "order": order}


def text(result: dict) -> str:
    """The result as a table for the terminal."""
    lines = [
        f"{result['table']} under profile {result['profile']} on {result['device']} ({result['hardware']},"
        f" {result['threads']} threads): one image {result['side']}x{result['side']}, {result['proposals']} proposals,"
        f" {result['detections']} detections, masks pasted, median of {result['rounds']} alternating rounds",
        f"{'row':>3}  {'system':34}{'GMAC':>9}{'ms':>9}{'least':>9}{'to row above':>14}{'slower in':>11}  order",
    ]
    for row in result["rows"]:
        name = "+".join(row["components"]) or row["system"]
        line = f"{row['row']:>3}  {name:34}{row['flops'] / 1e9:>9.2f}{row['milliseconds']:>9.1f}"
        line += f"{row['least_milliseconds']:>9.1f}"
        if "ratio" in row:
            slower = f"{row['slower_rounds']}/{result['rounds']}"
            line += f"{row['ratio']:>13.3f}x{slower:>11}  {row['order']}"
        lines.append(line)
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks ladder`."""
    parser.add_argument("table", help="for example mai_se_net-1")
    add_device(parser)
    add_rounds(parser, 20)
    add_profile(parser)
    add_side(parser)
    parser.add_argument("--rows", type=int, nargs="+", default=(), help="by default all rows of the table's ablation")
    parser.add_argument("--proposals", type=int, default=0, help="boxes of the box stages; by default the profile's")
    parser.add_argument("--detections", type=int, default=50, help="boxes of the mask branch; by default 50")


def main(options: argparse.Namespace) -> int:
    """Run and show."""
    result = run_ladder(
        options.table,
        load_profile(options.profile),
        rows=options.rows,
        device=options.device or pick_device(),
        rounds=options.rounds,
        side=options.side,
        proposals=options.proposals,
        detections=options.detections,
    )
    show(options, result, text)
    return 0
