"""Where the time of our Mask R-CNN and of torchvision's goes, in the same parts, alternating in one process.

`python -m benchmarks parts` shows what limits each. The clock is put around methods that both have, here where it
is read; the device is waited for at each, so a GPU's whole is slower than without the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter
from unittest.mock import patch

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torchvision.models.detection import roi_heads as their_roi_heads

from benchmarks.against_torchvision import (
    OURS,
    TASKS,
    THEIRS,
    Work,
    add_pair_arguments,
    add_tasks,
    alternate,
    check_rounds,
    header,
    pair_options,
    prepare_work,
)
from benchmarks.report import show
from reprolib.engine.devices import synchronise
from reprolib.models.two_stage import detector as two_stage

TRAINING, INFERENCE = TASKS
REST = "the rest"
BACKWARD, NECK_BACKWARD, BACKBONE_BACKWARD = "backward: heads", "backward: neck", "backward: backbone"
PARTS = (
    *("input", "backbone", "neck", "RPN layers", "proposals: decode, NMS", "RoIAlign", "box head", "detections: NMS"),
    *("mask head", "mask targets", "masks pasted", REST, BACKWARD, NECK_BACKWARD, BACKBONE_BACKWARD, "update"),
)


def run_parts(
    *,
    device: str = "cpu",
    precision: str = "float32",
    rounds: int = 5,
    tasks: Sequence[str] = tuple(TASKS),
    image_size: tuple[int, int] = (480, 640),
    input_size: tuple[int, int] = (480, 640),
    batch_size: int = 1,
    **options: object,
) -> dict:
    """Seconds of `PARTS` of each task by both, medians over rounds; `REST` is the forward pass outside of them.

    For the arguments see `benchmarks.against_torchvision.prepare_work`. Raises ValueError.
    """
    check_rounds(rounds, tasks)
    work = prepare_work(
        device=device,
        precision=precision,
        image_size=image_size,
        input_size=input_size,
        batch_size=batch_size,
        **options,
    )
    result: dict = {"detections": [len(detections["boxes"]) for detections in work.inference(OURS)]}
    for task in tasks:
        seen: dict[str, list[Counter[str]]] = {OURS: [], THEIRS: []}
        whole: dict[str, list[float]] = {OURS: [], THEIRS: []}

        def run(name: str, task: str = task, seen: dict = seen, whole: dict = whole) -> None:
            with clocked(work, name, device=device) as spent:
                start = perf_counter()
                getattr(work, task)(name)
                synchronise(device)
                whole[name].append(perf_counter() - start)  # without setting up the clock
            seen[name].append(spent)

        alternate(run, list(seen), rounds=rounds, device=device)
        result[task] = {
            name: {
                "seconds": statistics.median(whole[name][-rounds:]),
                "parts": {part: statistics.median(spent[part] for spent in seen[name][-rounds:]) for part in PARTS},
            }
            for name in seen
        }
    return result | work.conditions() | {"rounds": rounds, "input_size": list(input_size)}


def places(work: Work, name: str) -> Mapping[str, Sequence[tuple[object, str]]]:
    """The methods that make up each part of a forward pass, as (owner, attribute)."""
    model, optimiser = work.models[name], work.optimisers[name]
    heads = model.roi_heads
    same = {"input": [(model.transform, "forward")], "RPN layers": [(model.rpn.head, "forward")]}
    same |= {"update": [(optimiser, "step")]}
    if name == OURS:
        branch = heads.mask_branch
        return same | {
            "backbone": [(model.backbone, "forward")],
            "neck": [(model.neck, "forward")],
            "proposals: decode, NMS": [(model.rpn, "_proposals")],
            "RoIAlign": [(heads.box_pooler, "forward"), (branch.pooler, "forward")],
            "box head": [(heads.box_stage, "forward")],
            "detections: NMS": [(heads, "_detect")],
            "mask head": [(branch.head, "forward")],
            "mask targets": [(branch, "mask_targets")],
            "masks pasted": [(two_stage, "paste_masks")],
        }
    return same | {
        "backbone": [(model.backbone.body, "forward")],
        "neck": [(model.backbone.fpn, "forward")],
        "proposals: decode, NMS": [(model.rpn, "filter_proposals"), (model.rpn.box_coder, "decode")],
        "RoIAlign": [(heads.box_roi_pool, "forward"), (heads.mask_roi_pool, "forward")],
        "box head": [(heads.box_head, "forward"), (heads.box_predictor, "forward")],
        "detections: NMS": [(heads, "postprocess_detections")],
        "mask head": [(heads.mask_head, "forward"), (heads.mask_predictor, "forward")],
        "mask targets": [(their_roi_heads, "project_masks_on_boxes")],  # resized with the image, in "input"
        "masks pasted": [(model.transform, "postprocess")],
    }


@contextlib.contextmanager
def clocked(work: Work, name: str, *, device: str) -> Iterator[Counter[str]]:
    """Within, the seconds that a detector spends in each part are added to the counter that is yielded."""
    spent: Counter[str] = Counter()
    running = [REST]
    began = perf_counter()

    def mark() -> None:
        nonlocal began
        synchronise(device)
        now = perf_counter()
        spent[running[-1]] += now - began
        began = now

    def timed(part: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args: object, **kwargs: object) -> object:
            mark()
            running.append(part)
            try:
                return function(*args, **kwargs)
            finally:
                mark()
                running.pop()

        return call

    def begin(part: str) -> None:
        mark()
        running[-1] = part

    def backward_of(part: str) -> Callable[..., None]:
        def seen_forward(_module: nn.Module, _inputs: object, outputs: object) -> None:
            for leaf in tree_leaves(outputs):
                if isinstance(leaf, Tensor) and leaf.requires_grad:
                    leaf.register_hook(lambda _: begin(part))  # gradients run back from here

        return seen_forward

    model = work.models[name]
    backbone, neck = (model.backbone, model.neck) if name == OURS else (model.backbone.body, model.backbone.fpn)
    plain_backward = Tensor.backward

    def backward(tensor: Tensor, *args: object, **kwargs: object) -> None:
        begin(BACKWARD)
        plain_backward(tensor, *args, **kwargs)
        begin(REST)

    with contextlib.ExitStack() as stack:
        for module, part in ((neck, NECK_BACKWARD), (backbone, BACKBONE_BACKWARD)):
            stack.callback(module.register_forward_hook(backward_of(part)).remove)
        for part, owners in places(work, name).items():
            for owner, attribute in owners:
                stack.enter_context(patch.object(owner, attribute, timed(part, getattr(owner, attribute))))
        stack.enter_context(patch.object(Tensor, "backward", backward))
        began = perf_counter()
        yield spent
        mark()


def text(result: dict) -> str:
    """The result as tables: milliseconds of ours and torchvision's."""
    lines = [f"{header(result)}; {result['detections']} detections"]
    for task in (task for task in TASKS if task in result):
        ours, theirs = result[task][OURS], result[task][THEIRS]
        lines += [
            "",
            f"{TASKS[task] + ', ms':26}{'reprolib':>10}{'share':>7}{'torchvision':>13}{'share':>7}{'saved':>9}",
        ]
        rows = [(part, ours["parts"][part], theirs["parts"][part]) for part in PARTS]
        for title, a, b in [*rows, ("whole", ours["seconds"], theirs["seconds"])]:
            if a or b:
                shares = (f"{seconds / whole['seconds']:>7.1%}" for seconds, whole in ((a, ours), (b, theirs)))
                first, second = shares
                lines.append(f"{title:26}{1000 * a:>10.1f}{first}{1000 * b:>13.1f}{second}{1000 * (b - a):>9.1f}")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks parts`."""
    add_pair_arguments(parser)
    add_tasks(parser)


def main(options: argparse.Namespace) -> int:
    """Run and show."""
    result = run_parts(**pair_options(options), tasks=options.tasks)
    show(options, result, text)
    return 0
