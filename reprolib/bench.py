"""Our Mask R-CNN against torchvision's at equal weights, inputs and settings, alternating in one process.

`python -m reprolib bench` prints how many times faster ours is: a ratio above 1 means that ours needs less time.
What the other benchmarks share is here too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from reprolib.engine.devices import synchronise
from reprolib.evaluation.environment import cpu_name
from reprolib.models.systems import mask_rcnn
from reprolib.params import Scale, Schedule

NUM_CLASSES = 80
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
            synchronise(device)
            start = time.perf_counter()
            task(name)
            synchronise(device)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def hardware(device: str) -> str:
    """The name of what a device runs on."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_name()


def text(result: dict) -> str:
    """The result as a table for the terminal."""
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
