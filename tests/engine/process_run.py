"""Runs in one process and in two, side by side for comparison: `python process_run.py FOLDER`.

Each case forks its processes (a fresh interpreter would spend seconds importing torch; nothing has computed before),
with the variables that torchrun sets, and leaves FOLDER/<case>/weights.pt, log.jsonl and summary.json.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from toy_run import SCHEDULE, ToyData, ToyDetector, toy_model

from reprolib.engine.inference import predict
from reprolib.engine.processes import process_group, rank
from reprolib.engine.seeds import seed_everything
from reprolib.engine.train import train
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.params import Scale, Schedule
from reprolib.pipeline.runs.build import input_size_of

STEP = dataclasses.replace(
    SCHEDULE, optimizer="sgd", momentum=0.0, weight_decay=0.0, iterations=1, policy="step", warmup_iterations=0,
    clip_norm=0.0, lr=1.0,
)  # fmt: skip
# Two batches a step on one process, so that two processes see the same batches and random numbers.
TOY = dataclasses.replace(SCHEDULE, accumulate=2)
THIN = Scale(
    backbones={"resnet50": "resnet10t"}, norm="group", pretrained=False, frozen_stages=0, channels=16, box_hidden=16,
    anchor_sizes=(4, 8, 16, 32, 64), rpn_pre_nms=(20, 20), rpn_post_nms=(20, 20), rpn_batch=8, roi_batch=8,
)  # fmt: skip
ROIS = Schedule(optimizer="sgd", lr=0.1, batch_size=2, iterations=2, min_sizes=(32, 64), max_size=64, workers=0)


class Frozen(ToyDetector):
    """Its losses are means over images: batch norm in evaluation form, no noise."""

    def __init__(self) -> None:
        super().__init__(noise=False)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.stem[1].eval()
        return self


def side_by_side(count: int, task: Callable[[], None]) -> None:
    """Run a task in `count` processes at once; one of them is torchrun's where there are several."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for number in range(count):
        child = os.fork()
        if not child:
            status = 1
            try:
                if count > 1:
                    os.environ |= {
                        "TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                        "WORLD_SIZE": str(count), "RANK": str(number), "LOCAL_RANK": str(number),
                        "LOCAL_WORLD_SIZE": str(count),
                    }  # fmt: skip
                torch.set_num_threads(1)
                with process_group("cpu"):
                    task()
                status = 0
            except Exception:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        children.append(child)
    if any([os.waitpid(child, 0)[1] for child in children]):
        sys.exit("a process failed")


def run(folder: Path, model: torch.nn.Module, schedule: Schedule, **more: object) -> None:
    summary = train(
        model, ToyData(), schedule, seed=5, device="cpu", work=folder / "work", log=folder / "log.jsonl", **more
    )
    if rank() == 0:
        torch.save(model.state_dict(), folder / "weights.pt")
        (folder / "summary.json").write_text(json.dumps(dataclasses.asdict(summary)))


def rois(folder: Path, *, accumulate: int) -> None:
    seed_everything(3)
    model = mask_rcnn.build(num_classes=2, backbone="resnet50", scale=THIN, input_size=input_size_of(ROIS))
    run(folder, model, dataclasses.replace(ROIS, accumulate=accumulate))


def says(path: Path, task: Callable[[], None]) -> None:
    """Write the error that a task has to raise, one file per process."""
    try:
        task()
    except (RuntimeError, ValueError) as error:
        path.with_name(f"{path.name}-{rank()}.txt").write_text(str(error))


def predicted(folder: Path, count: int, size: int) -> None:
    results, speed = predict(toy_model(), ToyData(images=9), device="cpu", batch_size=size)
    said = {"results": results, "images": speed["images"], "includes": speed["includes"]}
    (folder / f"predicted-{count}-{size}-{rank()}.json").write_text(json.dumps(said))


def main(folder: Path) -> None:
    start = Frozen()
    torch.save(start.state_dict(), folder / "start.pt")
    for count in (1, 2):
        side_by_side(count, lambda count=count: run(folder / f"mean-{count}", copy.deepcopy(start), STEP))
        side_by_side(count, lambda count=count: run(folder / f"toy-{count}", toy_model(), TOY))
        side_by_side(count, lambda count=count: rois(folder / f"rois-{count}", accumulate=1))
        for size in (1, 2):
            side_by_side(count, lambda count=count, size=size: predicted(folder, count, size))
    side_by_side(1, lambda: rois(folder / "rois-accumulated-1", accumulate=2))
    for first, then in ((2, 1), (1, 2)):
        # Stopped at 5, between two lines of the log, and after the checkpoint at 3.
        place = folder / f"toy-{first}-then-{then}"
        side_by_side(first, lambda place=place: run(place, toy_model(), TOY, stop_after=5))
        side_by_side(then, lambda place=place: run(place, toy_model(), TOY))
    spoilt = ToyData(spoilt=(104,))
    side_by_side(
        2,
        lambda: says(
            folder / "spoilt",
            lambda: train(
                toy_model(), spoilt, TOY, seed=5, device="cpu", work=folder / "spoilt", log=folder / "spoilt.jsonl"
            ),
        ),
    )
    other = dataclasses.replace(TOY, lr=0.5)
    place = folder / "toy-2-then-1"
    side_by_side(2, lambda: says(folder / "failed", lambda: run(place, toy_model(), other)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
