"""Our Mask R-CNN against torchvision's at equal weights, inputs and settings, alternating in one process.

`python -m reprolib bench` prints how many times faster ours is: a ratio above 1 means that ours needs less time.
With `--ladder TABLE` it times the rows of an ablation instead, see `reprolib.bench_ladder`; with `--prompt EXPERIMENT`
box prompts on an encoded image, see `reprolib.bench_prompt`; with `--speed` whole systems part by part, see
`reprolib.bench_speed`; with `--evaluation` the evaluation's backends, see `reprolib.bench_evaluation`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from reprolib.engine.devices import pick_device
from reprolib.evaluation.environment import cpu_name
from reprolib.models.systems import mask_rcnn
from reprolib.params import Scale, Schedule, load_profile

NUM_CLASSES = 80
PROMPTED = "nwpu_vhr10-insight_r50-lpm+gpm+parea~host.cascade_mask_rcnn"  # Insight Any Instance's Table XI
Name = TypeVar("Name", bound=Hashable)


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of torchvision's Mask R-CNN under the names of ours (dialect "torchvision")."""
    names = {
        "backbone.fpn.inner_blocks.{}.0": "neck.laterals.{}",
        "backbone.fpn.layer_blocks.{}.0": "neck.outputs.{}",
        "roi_heads.box_head.fc{}": "roi_heads.box_stage.head.fc{}",
        "roi_heads.box_predictor.cls_score": "roi_heads.box_stage.predictor.cls_score",
        "roi_heads.box_predictor.bbox_pred": "roi_heads.box_stage.predictor.bbox_pred",
        "roi_heads.mask_head.{}.0": "roi_heads.mask_branch.head.convs.{}",
        "roi_heads.mask_predictor.conv5_mask": "roi_heads.mask_branch.head.upsample",
        "roi_heads.mask_predictor.mask_fcn_logits": "roi_heads.mask_branch.head.predictor",
    }
    exact = {old.format(i): new.format(i) for old, new in names.items() for i in range(8)}
    renamed = {}
    for key, value in state.items():
        module, _, leaf = key.rpartition(".")
        renamed[f"{exact.get(module, module)}.{leaf}"] = value
    return renamed


def build_pair(*, input_size: tuple[int, int], seed: int = 0) -> tuple[nn.Module, MaskRCNN]:
    """Ours and torchvision's Mask R-CNN, ResNet-50, frozen norms, equal random weights, equal settings.

    input_size: short and long side in pixels to which both resize their images.
    """
    torch.manual_seed(seed)
    short, long = input_size
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=3)
    sizes = {"min_size": short, "max_size": long}
    theirs = MaskRCNN(backbone, NUM_CLASSES + 1, rpn_post_nms_top_n_train=1000, **sizes)
    spread_predictions(theirs)
    ours = mask_rcnn.build(
        num_classes=NUM_CLASSES,
        backbone="resnet50",
        scale=Scale(pretrained=False),
        schedule=Schedule(min_sizes=(short,), test_size=short, max_size=long),
        dialect="torchvision",
    )
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    return ours, theirs


@torch.no_grad()
def spread_predictions(model: MaskRCNN) -> None:
    """Give random weights outputs like a trained network's: bounded features, confident classes, mask shapes."""
    damp_residuals(model.backbone)
    predictor = model.roi_heads.box_predictor
    predictor.cls_score.weight.mul_(100)
    model.roi_heads.mask_predictor.mask_fcn_logits.weight.mul_(30)


@torch.no_grad()
def damp_residuals(backbone: nn.Module) -> None:
    """Without batch statistics every residual block of a random ResNet would double the activations."""
    for module in backbone.modules():
        if hasattr(module, "bn3"):
            module.bn3.weight.mul_(0.2)


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


def run_bench(
    *,
    device: str = "cpu",
    rounds: int = 5,
    image_size: tuple[int, int] = (480, 640),
    input_size: tuple[int, int] = (256, 342),
    batch_size: int = 2,
    instances: int = 10,
) -> dict:
    """Seconds of ours and torchvision's per training step and per inference of one batch, and torchvision's / ours.

    image_size: height and width of the images given, at which masks are pasted. input_size: short and long side inside
    the networks. Each round times both, in turns who is first; ratios are taken within a round, then their median.
    """
    if min(rounds, batch_size, instances) < 1:
        raise ValueError(f"rounds, batch_size and instances start at 1, not {rounds=}, {batch_size=}, {instances=}")
    models = dict(zip(("ours", "torchvision"), build_pair(input_size=input_size), strict=True))
    scenes = [make_scene(*image_size, instances=instances, seed=seed) for seed in range(batch_size)]
    images = [image.to(device) for image, _ in scenes]
    targets = [{key: value.to(device) for key, value in target.items()} for _, target in scenes]
    optimizers = {}
    for name, model in models.items():
        trainable = [p for p in model.to(device).parameters() if p.requires_grad]
        optimizers[name] = torch.optim.SGD(trainable, lr=1e-6, momentum=0.9)

    def train_step(name: str) -> None:
        losses = models[name].train()(images, targets)
        optimizers[name].zero_grad()
        sum(losses.values()).backward()
        optimizers[name].step()

    @torch.no_grad()
    def inference(name: str) -> list[dict[str, Tensor]]:
        return models[name].eval()(images)

    detections = {name: [len(found["boxes"]) for found in inference(name)] for name in models}
    result: dict = {"detections": detections}
    for task in (inference, train_step):
        seconds = alternate(task, list(models), rounds=rounds, device=device)
        ratios = [theirs / ours for ours, theirs in zip(seconds["ours"], seconds["torchvision"], strict=True)]
        result[task.__name__] = {
            **{name: statistics.median(values) for name, values in seconds.items()},
            "ratio": statistics.median(ratios),
            "ratios": ratios,
        }
    return result | {
        "device": device,
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "batch_size": batch_size,
        "image_size": list(image_size),
        "input_size": list(input_size),
    }


def alternate(
    task: Callable[[Name], object], names: Sequence[Name], *, rounds: int, device: str
) -> dict[Name, list[float]]:
    """Seconds of task(name) by name, one per round; each round runs every name, in turns forwards and backwards."""
    seconds: dict[Name, list[float]] = {name: [] for name in names}
    for name in names:
        task(name)  # first calls allocate and pick kernels
    for index in range(rounds):
        for name in names if index % 2 == 0 else reversed(names):
            _wait(device)
            start = time.perf_counter()
            task(name)
            _wait(device)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def hardware(device: str) -> str:
    """The name of what a device runs on."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_name()


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


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
    scoring = parser.add_argument_group("the fast evaluation backend against pycocotools")
    scoring.add_argument(
        "--evaluation", action="store_true", help="5,000 images, 250,000 generated detections; 1 round"
    )
    both = parser.add_argument_group("of a ladder, of prompts and of whole systems")
    both.add_argument("--profile", help="profile of params.yaml; by default the active one")
    both.add_argument("--side", type=int, default=0, help="of the square image; by default the profile's test size")


def run(arguments: argparse.Namespace) -> int:
    """Run and print; 1 when torchvision is faster in a task, 0 otherwise and after the other benchmarks."""
    if sum(map(bool, (arguments.ladder, arguments.prompt, arguments.speed is not None))) > 1:
        raise ValueError("--ladder, --prompt and --speed are benchmarks of their own; run one after the other")
    if arguments.ladder:
        return _run_ladder(arguments)
    if arguments.prompt:
        return _run_prompt(arguments)
    if arguments.speed is not None:
        return _run_speed(arguments)
    if arguments.evaluation:
        return _run_evaluation(arguments)
    result = run_bench(
        device=arguments.device or pick_device(),
        rounds=5 if arguments.rounds is None else arguments.rounds,
        image_size=tuple(arguments.image_size or (480, 640)),
        input_size=tuple(arguments.input_size or (256, 342)),
        batch_size=arguments.batch_size,
    )
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print(_text(result))
    return int(min(result[task]["ratio"] for task in ("train_step", "inference")) < 1)


def _run_ladder(arguments: argparse.Namespace) -> int:
    from reprolib import bench_ladder  # it builds on this module

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
    from reprolib import bench_prompt  # it builds on this module

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
    from reprolib import bench_speed  # it builds on this module
    from reprolib.plan import experiment_by_id

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


def _run_evaluation(arguments: argparse.Namespace) -> int:
    from reprolib import bench_evaluation

    report = bench_evaluation.run_evaluation(rounds=1 if arguments.rounds is None else arguments.rounds)
    print(json.dumps(report, indent=1) if arguments.json else bench_evaluation.text(report))
    return int(report["difference"] > bench_evaluation.EQUAL)


def _text(result: dict) -> str:
    height, width = result["image_size"]
    short, long = result["input_size"]
    lines = [
        f"Mask R-CNN R50-FPN on {result['device']} ({result['hardware']}, {result['threads']} threads),"
        f" batches of {result['batch_size']} images {height}x{width}, resized to {short}..{long},"
        f" median of {result['rounds']} alternating rounds",
        f"{'':24}{'reprolib':>10}{'torchvision':>13}{'ratio':>8}",
    ]
    for task, title in (("train_step", "training step"), ("inference", "inference, masks pasted")):
        part = result[task]
        lines.append(f"{title:24}{part['ours']:>9.3f}s{part['torchvision']:>12.3f}s{part['ratio']:>8.2f}")
    counts = result["detections"]
    lines.append(f"detections per image: {counts['ours']}, torchvision {counts['torchvision']}")
    return "\n".join(lines)
