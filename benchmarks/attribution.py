"""What each faster piece of our Mask R-CNN brings: the same model and weights with torchvision's way put back.

`python -m benchmarks attribution` times ours, ours without each piece in turn, ours without all of them, and
torchvision's, alternating in one process. The pieces are exchanged here, where they are timed; the models know nothing
of it. Without all of them ours should need torchvision's time: what is left of a gap is explained by none of them.

Three differences are no longer listed, because they bring nothing (`results/bench`: 0.97 to 0.98 of the time when they
are reverted, where runs vary by 0.1) and stand for other reasons. RoIs of all levels are concatenated and sorted back,
which keeps the layout of the kernel's output. The RPN decodes the boxes that it keeps and says of which anchors they
are, which losses on proposals need, and makes a GPU's host wait less often. Detections are decoded for the pairs of box
and class above the threshold, by one function for all two-stage systems.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import maskrcnn_inference, paste_masks_in_image, project_masks_on_boxes
from torchvision.ops import FrozenBatchNorm2d, roi_align

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
    plain_sgd,
    prepare_work,
)
from benchmarks.report import show
from reprolib.models import input_transform
from reprolib.models.backbones import FrozenNorm
from reprolib.models.parts import POST_PROCESSING, part
from reprolib.models.two_stage import detector as two_stage
from reprolib.models.two_stage import mask_branch, roi_pooler
from reprolib.models.two_stage.mask_branch import MaskBranch
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Schedule

ALL = "all of them"
TRAINING, INFERENCE = TASKS
BOTH = (TRAINING, INFERENCE)


class Piece(NamedTuple):
    """Something that ours does in a faster way. revert: what puts torchvision's way in its place, while it is open."""

    tasks: tuple[str, ...]  # those it is part of
    revert: Callable[[Work], AbstractContextManager]
    cpu_only: bool = False  # on a GPU ours does it as torchvision does


def _channels_first(maps: Tensor) -> Tensor:
    return maps.contiguous()


def _swap(*places: tuple[object, str, object]) -> Callable[[Work], AbstractContextManager]:
    """Each (owner, attribute, what to put there)."""

    @contextlib.contextmanager
    def revert(work: Work) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for place in places:
                stack.enter_context(patch.object(*place))
            yield

    return revert


def _resized_targets(positives: Samples, targets: list[dict], *, size: int, aligned: bool, binary: bool) -> Tensor:
    """All masks resized with the image, then cut. `aligned` and `binary` are off in this dialect."""
    cut = []
    for boxes, matched, target in zip(positives.boxes, positives.matched, targets, strict=True):
        x, y = target["to_original"]
        height, width = target["masks"].shape[-2:]
        inside = round(height / y), round(width / x)
        masks = F.interpolate(target["masks"][:, None].float(), size=inside)[:, 0].byte()
        cut.append(project_masks_on_boxes(masks, boxes, matched, size))
    return torch.cat(cut)


@part(POST_PROCESSING)
def _whole_images(masks: Tensor, boxes: Tensor, size: tuple[int, int], *, exact: bool) -> Tensor:
    """Probabilities at the image's size [N,H,W]; `exact` is off in this dialect."""
    return paste_masks_in_image(masks[:, None], boxes, size)[:, 0]


def _every_channel(self: MaskBranch, roi_features: Tensor, labels: Tensor) -> Tensor:
    """Probabilities of every class, although a single class is used."""
    return maskrcnn_inference(self.head(roi_features).float(), [labels])[0][:, 0]


def _plain_update(work: Work) -> AbstractContextManager:
    schedule = Schedule(lr=work.optimisers[OURS].param_groups[0]["lr"])
    return patch.dict(work.optimisers, {OURS: plain_sgd(work.models[OURS], schedule)})


PIECES: Mapping[str, Piece] = {
    "convolutions channels last": Piece(
        BOTH,
        _swap((input_transform, "conv_layout", _channels_first), (mask_branch, "conv_layout", _channels_first)),
        cpu_only=True,
    ),
    "frozen norm as one multiply-add": Piece(BOTH, _swap((FrozenNorm, "forward", FrozenBatchNorm2d.forward))),
    "RoIAlign by embedding_bag": Piece(BOTH, _swap((roi_pooler, "roi_align_cpu", roi_align)), cpu_only=True),
    "mask targets without resizing": Piece((TRAINING,), _swap((mask_branch, "mask_targets", _resized_targets))),
    "fused optimiser": Piece((TRAINING,), _plain_update),
    "sigmoid of the class's mask": Piece((INFERENCE,), _swap((MaskBranch, "masks", _every_channel))),
    "pasting inside the box, as booleans": Piece((INFERENCE,), _swap((two_stage, "paste_masks", _whole_images))),
}


@contextlib.contextmanager
def reverted(names: Sequence[str], work: Work) -> Iterator[None]:
    """Within, ours does these pieces as torchvision does."""
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(PIECES[name].revert(work))
        yield


def run_attribution(
    *,
    device: str = "cpu",
    precision: str = "float32",
    rounds: int = 5,
    tasks: Sequence[str] = BOTH,
    image_size: tuple[int, int] = (480, 640),
    input_size: tuple[int, int] = (480, 640),
    batch_size: int = 1,
    **options: object,
) -> dict:
    """Seconds of `TASKS` by ours, by ours with each of `PIECES` reverted, with all of them, and by torchvision's.

    For the arguments see `benchmarks.against_torchvision.prepare_work`. Each round times all of them, in turns
    forwards and backwards.
    Returns by task `seconds` (medians), `ratios` (time to ours, within a round: median, least and most) and
    `differences` of what comes out from ours, see `differences`; and the conditions. Raises ValueError.
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
    on_cpu = torch.device(device).type == "cpu"
    plans = {}
    for task in tasks:
        pieces = [name for name, piece in PIECES.items() if task in piece.tasks and (on_cpu or not piece.cpu_only)]
        plans[task] = {OURS: (), **{name: (name,) for name in pieces}, ALL: tuple(pieces), THEIRS: ()}
    apart = {task: differences(work, task, without) for task, without in plans.items()}  # before a step moves weights
    for task, without in plans.items():

        def run(name: str, task: str = task, without: dict = without) -> None:
            with reverted(without[name], work):
                getattr(work, task)(THEIRS if name == THEIRS else OURS)

        seconds = alternate(run, list(without), rounds=rounds, device=device)
        ratios = {name: [a / b for a, b in zip(times, seconds[OURS], strict=True)] for name, times in seconds.items()}
        result[task] = {
            "seconds": {name: statistics.median(times) for name, times in seconds.items()},
            "ratios": {name: [statistics.median(values), min(values), max(values)] for name, values in ratios.items()},
            "differences": apart[task],
        }
    return result | work.conditions() | {"rounds": rounds, "input_size": list(input_size)}


def differences(work: Work, task: str, without: Mapping[str, Sequence[str]]) -> dict[str, dict]:
    """How far what comes out with pieces reverted, by name, and from torchvision's is from ours, at most.

    Of training: `loss`, of any loss and relative to it, where all sample the same boxes. Of inference: `detections`
    that differ in number or class, else `boxes` in px, `scores`, and `pixels` of all masks, cut at 0.5.
    """
    outputs = {}
    with patch.object(torch, "randperm", _in_order):
        for name, pieces in without.items():
            with reverted(pieces, work), torch.no_grad():
                call = work.losses if task == TRAINING else work.inference
                outputs[name] = call(THEIRS if name == THEIRS else OURS)
    ours = outputs.pop(OURS)
    if task == TRAINING:
        return {
            name: {"loss": max(float((losses[key] - ours[key]).abs() / ours[key].abs()) for key in ours)}
            for name, losses in outputs.items()
        }
    return {name: _detections_apart(ours, detections) for name, detections in outputs.items()}


def _detections_apart(ours: list[dict[str, Tensor]], other: list[dict[str, Tensor]]) -> dict:
    unequal = sum(
        abs(len(a["labels"]) - len(b["labels"])) or int((a["labels"] != b["labels"]).sum())
        for a, b in zip(ours, other, strict=True)
    )
    if unequal:
        return {"detections": unequal}
    pairs = list(zip(ours, other, strict=True))
    return {
        "detections": 0,
        **{key: max(_most(a[key] - b[key]) for a, b in pairs) for key in ("boxes", "scores")},
        "pixels": sum(int((_cut(a["masks"]) != _cut(b["masks"])).sum()) for a, b in pairs),
    }


def _most(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0


def _cut(masks: Tensor) -> Tensor:
    """bool [N,H,W] of masks as ours or torchvision's detectors give them."""
    masks = masks[:, 0] if masks.ndim == 4 else masks
    return masks if masks.dtype == torch.bool else masks > 0.5


def _in_order(count: int, *, device: torch.device) -> Tensor:
    """In place of a random order, from which both sample: another order of the same draws would change the boxes."""
    return torch.arange(count, device=device)


def text(result: dict) -> str:
    """The result as tables."""
    lines = [f"{header(result)}; {result['detections']} detections"]
    for task in (task for task in BOTH if task in result):
        part = result[task]
        lines += [
            "",
            f"{TASKS[task] + ', with torchvision its way of':44}{'seconds':>9}{'times ours':>12}{'least..most':>14}",
        ]
        for name, seconds in part["seconds"].items():
            middle, least, most = part["ratios"][name]
            title = {OURS: "nothing: ours", THEIRS: "torchvision's own detector"}.get(name, name)
            line = f"{title:44}{seconds:>9.3f}{middle:>12.3f}{f'{least:.2f}..{most:.2f}':>14}"
            lines.append(f"{line}  {_said(part['differences'].get(name))}".rstrip())
    return "\n".join(lines)


def _said(apart: Mapping | None) -> str:
    if apart is None:
        return ""
    if "loss" in apart:
        return f"losses off by {apart['loss']:.0e}"
    if apart["detections"]:
        return f"{apart['detections']} detections differ"
    return f"boxes off by {apart['boxes']:.0e} px, scores {apart['scores']:.0e}, {apart['pixels']} mask pixels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks attribution`."""
    add_pair_arguments(parser)
    add_tasks(parser)


def main(options: argparse.Namespace) -> int:
    """Run and show."""
    result = run_attribution(**pair_options(options), tasks=options.tasks)
    show(options, result, text)
    return 0
