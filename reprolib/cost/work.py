"""What a run computes: images, multiply-adds per image, parameters. Counted on the meta device, without data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import timm

from reprolib.data.acquire.conversion import split_names
from reprolib.data.cards import CARDS
from reprolib.data.sets.generated.prepare import FAMILIES
from reprolib.engine.schedules import total_iterations
from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.files import write_json
from reprolib.models.backbones import PUBLISHED_WEIGHTS
from reprolib.params import Run
from reprolib.pipeline.describe import TYPICAL_ASPECT, input_size
from reprolib.pipeline.fingerprint import code_hashes, digest, libraries
from reprolib.pipeline.plan import COUNT_ENTRIES, recipe
from reprolib.pipeline.runs.build import build_model

CACHE = Path("work") / "counts"
TYPICAL_DETECTIONS = 50  # RoIs of the mask head per evaluated image, as `reprolib describe` counts
POSITIVE_SHARE = 4  # of a training image's RoIs at most one in four reaches the mask head (Mask R-CNN, section 3.1)

# Width by height of a typical image where it is not COCO's 1.36. iSAID's tiles and HRSID's images are 800 x 800,
# Cityscapes' 2048 x 1024; of BBBC038 most are 256 x 256 or 320 x 256; generated scenes are square.
ASPECT = {
    "isaid": 1.0,
    "hrsid": 1.0,
    "cityscapes": 2.0,
    "cityscapes_5": 2.0,
    "bbbc038": 1.1,
    "nwpu_vhr10": 1.6,
    **dict.fromkeys(FAMILIES, 1.0),
}
# The card counts whole images, training sees the devkit's tiles: second-hand figures, for 800 px with 200 px overlap.
TILES = {"isaid": {"train": 28_029, "val": 9_512}}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """One model at its run's input sizes. Multiply-adds are of one image, forward, as `reprolib.evaluation.cost`."""

    train_flops: int
    test_flops: int
    params: int
    trainable_params: int
    backbone: str  # timm's name of the weights that it starts from; empty: none
    backbone_bytes: int


@dataclass(frozen=True, kw_only=True)
class SplitSizes:
    """Images of the two splits, None where nothing says it, and where the counts come from."""

    train: int | None
    val: int | None
    source: str


def split_sizes(run: Run, report: Mapping | None = None) -> SplitSizes:
    """Images to train and to evaluate on: of the prepared data set's report, else as the card publishes them."""
    if report is not None:
        splits = report["splits"]
        # Training leaves out images without an object.
        empty = splits["train"]["lint"]["counts"].get("images without annotation", 0)
        return SplitSizes(train=splits["train"]["images"] - empty, val=splits["val"]["images"], source="prepared data")
    name, options = run.dataset, run.dataset_options
    if name in FAMILIES:
        return SplitSizes(train=options.get("train"), val=options.get("val"), source="params.yaml")
    if name in TILES:
        return SplitSizes(**TILES[name], source="second-hand count of tiles")
    if name not in CARDS:
        return SplitSizes(train=None, val=None, source="unknown: no card and not prepared")
    published = {split: counts["images"] for split, counts in CARDS[name].splits.items() if "images" in counts}
    split = str(options.get("split", ""))
    for prefix in (f"{split} ", "") if split else ("",):
        train, val = published.get(f"{prefix}train"), published.get(f"{prefix}val", published.get(f"{prefix}test"))
        if train and val and (prefix or split in ("", "official")):
            return SplitSizes(train=train, val=val, source="card")
    total = published.get("all") or published.get("train and val")
    for listed in (f"{name}_{split}_val", f"{name}_{split}_test", f"{name}_val"):
        try:
            val = len(split_names(listed))
        except FileNotFoundError:
            continue
        if total and (split in listed):
            return SplitSizes(train=total - val, val=val, source="card and the suite's split")
    return SplitSizes(train=None, val=None, source="unknown: not prepared, and its card does not count this split")


def images_trained(run: Run, sizes: SplitSizes) -> int | None:
    """Images through the network during training, repeats counted; None where the data set's size is not known."""
    if not run.schedule.iterations and sizes.train is None:
        return None
    return total_iterations(run.schedule, images=sizes.train or 1) * run.schedule.batch_size


def count(run: Run, *, aspect: float | None = None, cache: Path = CACHE) -> Counts:
    """Count a run's model at its training and test sizes, or read the count of an equal one.

    aspect: width by height of a typical image. Raises ValueError for a data set without a card.
    """
    if run.dataset not in CARDS:
        raise ValueError(f"data set {run.dataset!r} has no card in reprolib/data/cards, so its classes are not known")
    aspect = aspect or ASPECT.get(run.dataset, TYPICAL_ASPECT)
    classes = len(CARDS[run.dataset].classes) or CARDS[run.dataset].class_count
    asked = {
        "recipe": recipe(replace(run, seed=0)),
        "classes": classes,
        "aspect": aspect,
        "rois": [POSITIVE_SHARE, TYPICAL_DETECTIONS],
        "code": code_hashes([*COUNT_ENTRIES, run.experiment.module]),
        "libraries": libraries(),
    }
    path = cache / f"{digest(asked)}.json"
    if path.is_file():
        return Counts(**json.loads(path.read_text()))
    counts = _count(run, classes=classes, aspect=aspect)
    write_json(path, asdict(counts))
    return counts


def _count(run: Run, *, classes: int, aspect: float) -> Counts:
    model = on_meta(lambda: build_model(run, num_classes=classes, pretrained=False))
    transform = model.transform
    train = input_size(transform, transform.min_sizes, aspect=aspect)
    test = input_size(transform, [transform.test_size], aspect=aspect)
    scale = run.scale
    numbers = count_parameters(model)
    backbone, size = _pretrained(run) if scale.pretrained else ("", 0)
    return Counts(
        train_flops=flops(model, *train, scale.roi_batch, max(1, scale.roi_batch // POSITIVE_SHARE)),
        test_flops=flops(model, *test, scale.rpn_post_nms[1], min(TYPICAL_DETECTIONS, scale.detections)),
        params=numbers["params"],
        trainable_params=numbers["trainable_params"],
        backbone=backbone,
        backbone_bytes=size,
    )


def _pretrained(run: Run) -> tuple[str, int]:
    """timm's name of the backbone's weights, and the bytes of that file: with its classifier, in float32."""
    name = run.scale.backbones.get(run.experiment.backbone, run.experiment.backbone)
    name = PUBLISHED_WEIGHTS.get(name, name)
    whole = on_meta(lambda: timm.create_model(name, pretrained=False))
    return name, 4 * sum(value.numel() for value in whole.state_dict().values())
