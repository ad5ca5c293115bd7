"""Our Mask R-CNN against torchvision's at equal weights, inputs and settings, alternating in one process.

`python -m benchmarks torchvision` prints how many times faster ours is: a ratio above 1 means that ours needs less
time. Exit status 1 where torchvision is faster in a task.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.options import add_device, add_image_size, add_input_size, add_rounds, pair
from benchmarks.pair import build_pair, from_torchvision, spread_predictions
from benchmarks.report import show
from reprolib.engine.devices import pick_device, synchronise
from reprolib.engine.optimisers import build_optimiser
from reprolib.evaluation.environment import cpu_name
from reprolib.models.input_transform import InputSize
from reprolib.params import Scale, Schedule

NUM_CLASSES = 80
OURS, THEIRS = "ours", "torchvision"
TASKS = {"train_step": "training step", "inference": "inference, masks pasted"}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Name = TypeVar("Name", bound=Hashable)


def make_scene(height: int, width: int, *, instances: int, seed: int) -> tuple[Tensor, dict]:
    """A smooth random image [3,height,width] with rectangles as instances, and its target."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 3, 6, 8), generator=generator)
    image = F.interpolate(coarse, size=(height, width), mode="bicubic")[0].clamp(0, 1)
    extent = torch.tensor([width, height])
    size = (extent * (0.05 + 0.35 * torch.rand((instances, 2), generator=generator))).floor()
    start = ((extent - size) * torch.rand((instances, 2), generator=generator)).floor()
    boxes = torch.cat([start, start + size], dim=1)
    masks = torch.zeros((instances, height, width), dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    labels = torch.randint(1, NUM_CLASSES + 1, (instances,), generator=generator)
    return image, {"boxes": boxes, "labels": labels, "masks": masks}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What both detectors do: train on one batch, or detect in it."""

    models: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]
    images: list[Tensor]
    targets: list[dict]
    device: str
    precision: str

    def losses(self, name: str) -> dict[str, Tensor]:
        """The losses of the batch, in training mode."""
        with self._autocast():
            return self.models[name].train()(self.images, self.targets)

    def train_step(self, name: str) -> None:
        """Forward, backward, update."""
        losses = self.losses(name)
        self.optimisers[name].zero_grad()
        sum(losses.values()).backward()
        self.optimisers[name].step()

    @torch.no_grad()
    def inference(self, name: str) -> list[dict[str, Tensor]]:
        """Detections with masks at the size of the images."""
        with self._autocast():
            return self.models[name].eval()(self.images)

    def conditions(self) -> dict:
        """The conditions under which a result was measured."""
        return {
            "device": self.device,
            "hardware": hardware(self.device),
            "threads": torch.get_num_threads(),
            "precision": self.precision,
            "batch_size": len(self.images),
            "image_size": list(self.images[0].shape[-2:]),
        }

    def _autocast(self) -> torch.autocast:
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")


def prepare_work(
    *,
    device: str,
    precision: str = "float32",
    image_size: tuple[int, int],
    input_size: tuple[int, int],
    batch_size: int,
    instances: int = 10,
    backbone: str = "resnet50",
    scale: Scale | None = None,
) -> Work:
    """Both detectors with equal random weights on a device, and a batch of scenes.

    image_size: height and width of the images, at which masks are pasted. input_size: short and long side inside
    the networks. precision: of both, by autocast. scale: by default the published one, frozen norms. Each updates its
    weights as its engine does: torchvision's reference script by torch.optim.SGD, ours by the same, fused.
    """
    if min(batch_size, instances) < 1:
        raise ValueError(f"batch_size and instances start at 1, not {batch_size=}, {instances=}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    short, long = input_size
    schedule, size = Schedule(lr=1e-6), InputSize(min_sizes=(short,), test_size=short, max_size=long)
    ours, theirs = build_pair(
        num_classes=NUM_CLASSES, backbone=backbone, scale=scale or Scale(pretrained=False), input_size=size
    )
    spread_predictions(theirs)
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    models = {OURS: ours.to(device), THEIRS: theirs.to(device)}
    scenes = [make_scene(*image_size, instances=instances, seed=seed) for seed in range(batch_size)]
    return Work(
        models=models,
        optimisers={OURS: build_optimiser(ours, schedule), THEIRS: plain_sgd(theirs, schedule)},
        images=[image.to(device) for image, _ in scenes],
        targets=[{key: value.to(device) for key, value in target.items()} for _, target in scenes],
        device=device,
        precision=precision,
    )


def plain_sgd(model: nn.Module, schedule: Schedule) -> torch.optim.SGD:
    """As torchvision's reference script makes it."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.SGD(trained, lr=schedule.lr, momentum=schedule.momentum, weight_decay=schedule.weight_decay)


def run_torchvision(
    *,
    device: str = "cpu",
    precision: str = "float32",
    rounds: int = 5,
    image_size: tuple[int, int] = (480, 640),
    input_size: tuple[int, int] = (256, 342),
    batch_size: int = 2,
    instances: int = 10,
) -> dict:
    """Seconds of ours and torchvision's per training step and per inference of one batch, and torchvision's / ours.

    For the arguments see `prepare_work`. Each round times both, in turns who is first; ratios are taken within a round,
    then their median. On a GPU also each one's peak of memory, above what weights and optimisers hold.
    """
    if rounds < 1:
        raise ValueError(f"rounds start at 1, not {rounds=}")
    work = prepare_work(
        device=device,
        precision=precision,
        image_size=image_size,
        input_size=input_size,
        batch_size=batch_size,
        instances=instances,
    )
    detections = {name: [len(detections["boxes"]) for detections in work.inference(name)] for name in work.models}
    result: dict = {"detections": detections}
    for task in (work.inference, work.train_step):
        seconds = alternate(task, list(work.models), rounds=rounds, device=device)
        ratios = [theirs / ours for ours, theirs in zip(seconds[OURS], seconds[THEIRS], strict=True)]
        result[task.__name__] = {
            **{name: statistics.median(values) for name, values in seconds.items()},
            "ratio": statistics.median(ratios),
            "ratios": ratios,
            "memory_mb": {name: peak_of(task, name, device=device) for name in work.models},
        }
    return result | work.conditions() | {"rounds": rounds, "input_size": list(input_size)}


def peak_of(task: Callable[[Name], object], name: Name, *, device: str) -> float | None:
    """MiB that a task takes at most on a GPU beyond what was held before; None on a CPU, which does not tell."""
    if torch.device(device).type != "cuda":
        return None
    synchronise(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    task(name)
    synchronise(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def check_rounds(rounds: int, tasks: Sequence[str]) -> None:
    """Raise ValueError unless there is a round to time, and each task is one of `TASKS`."""
    if rounds < 1 or not tasks or set(tasks) - set(TASKS):
        raise ValueError(f"rounds start at 1 and tasks are of {', '.join(TASKS)}, not {rounds=}, {tasks=}")


def alternate(
    task: Callable[[Name], object], names: Sequence[Name], *, rounds: int, device: str
) -> dict[Name, list[float]]:
    """Seconds of task(name) by name, one per round; each round runs every name, in turns forwards and backwards."""
    seconds: dict[Name, list[float]] = {name: [] for name in names}
    for name in names:
        task(name)  # first calls allocate and pick kernels
    for index in range(rounds):
        for name in names if index % 2 == 0 else reversed(names):
            synchronise(device)
            start = time.perf_counter()
            task(name)
            synchronise(device)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def hardware(device: str) -> str:
    """The name of what a device runs on."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_name()


def header(result: dict) -> str:
    """The line that says what was timed where."""
    height, width = result["image_size"]
    short, long = result["input_size"]
    return (
        f"Mask R-CNN R50-FPN on {result['device']} ({result['hardware']}, {result['threads']} threads,"
        f" {result['precision']}), batches of {result['batch_size']} images {height}x{width}, resized to"
        f" {short}..{long}, median of {result['rounds']} alternating rounds"
    )


def text(result: dict) -> str:
    """The result as a table for the terminal."""
    lines = [header(result), f"{'':24}{'reprolib':>10}{'torchvision':>13}{'ratio':>8}"]
    for task, title in TASKS.items():
        part = result[task]
        line = f"{title:24}{part[OURS]:>9.3f}s{part[THEIRS]:>12.3f}s{part['ratio']:>8.2f}"
        if part["memory_mb"][OURS] is not None:
            line += f"  peak memory {part['memory_mb'][OURS]:.0f} and {part['memory_mb'][THEIRS]:.0f} MiB"
        lines.append(line)
    counts = result["detections"]
    lines.append(f"detections per image: {counts[OURS]}, torchvision {counts[THEIRS]}")
    return "\n".join(lines)


def add_pair_arguments(parser: argparse.ArgumentParser) -> None:
    """What is done by both detectors, and how often; see `pair_options`."""
    add_device(parser)
    add_rounds(parser, 5)
    add_image_size(parser, default=(480, 640))
    add_input_size(parser, default=(256, 342))
    parser.add_argument("--batch-size", type=int, default=2, help="images per step; by default 2")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of both, by autocast")


def add_tasks(parser: argparse.ArgumentParser) -> None:
    """Which of `TASKS` are timed."""
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=tuple(TASKS), help="by default both")


def pair_options(options: argparse.Namespace) -> dict:
    """The options of `add_pair_arguments` as arguments of `run_torchvision` and of what times the same pair."""
    return {
        "device": options.device or pick_device(),
        "precision": options.precision,
        "rounds": options.rounds,
        "image_size": pair(options.image_size),
        "input_size": pair(options.input_size),
        "batch_size": options.batch_size,
    }


add_arguments = add_pair_arguments


def main(options: argparse.Namespace) -> int:
    """Run and show; 1 where torchvision is faster in a task."""
    result = run_torchvision(**pair_options(options))
    show(options, result, text)
    return int(min(result[task]["ratio"] for task in TASKS) < 1)
