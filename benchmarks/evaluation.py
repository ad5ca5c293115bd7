"""The fast evaluation backend against pycocotools on generated masks of COCO val's extent, in one process.

`python -m benchmarks evaluation` prints how many times faster hotcoco is and how far the two are apart at most.
What is timed is each backend's own work on the same checked ground truth and detections: indexing, matching and
accumulating. Checking and copying them, which both need, is timed apart.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
import time

import numpy as np
from pycocotools import mask as pycocotools_mask

from benchmarks.options import add_rounds
from benchmarks.report import show
from reprolib.evaluation.coco import BACKENDS, COCO_SIZES, Accumulated
from reprolib.evaluation.coco_inputs import clean_detections, clean_ground_truth

IMAGES, DETECTIONS, CLASSES = 5_000, 250_000, 80  # as many images and classes as COCO val
OBJECTS_PER_IMAGE = 7.4  # COCO val: 36,781 of 5,000 images
HEIGHT, WIDTH = 480, 640
SHAPES, MOVED = 1_000, 8  # different objects, and detections of each
IOU_TYPES = ("bbox", "segm")
LIMITS = (1, 10, 100)
EQUAL = 1e-12


def generate(*, images: int = IMAGES, detections: int = DETECTIONS, seed: int = 0) -> tuple[dict, list[dict]]:
    """A COCO ground truth with crowds and COCO results with tied scores; both hold boxes and masks.

    Masks are ellipses, from some pixels to half an image. Three of four detections are of an object, moved by a few
    percent of its size; the others are anywhere.
    """
    rng = np.random.default_rng(seed)
    pool = [[_entry(*ellipse) for ellipse in _ellipses(rng)] for _ in range(SHAPES)]
    objects = max(1, round(images * OBJECTS_PER_IMAGE))
    shape = rng.integers(SHAPES, size=objects)
    category = rng.integers(1, CLASSES + 1, size=objects)
    crowd = rng.random(objects) < 0.01
    image = rng.integers(1, images + 1, size=objects)
    annotations = [
        pool[shape[n]][0]
        | {"id": n + 1, "image_id": int(image[n]), "category_id": int(category[n]), "iscrowd": int(crowd[n])}
        for n in range(objects)
    ]
    matched = rng.integers(objects, size=detections)  # the object that a detection is of
    version = rng.integers(1, MOVED + 1, size=detections)
    unmatched = rng.random(detections) < 0.25
    elsewhere = rng.integers(SHAPES, size=detections)
    scores = rng.random(detections).round(3).tolist()
    results = [
        pool[elsewhere[n] if unmatched[n] else shape[matched[n]]][version[n]]
        | {"image_id": int(image[matched[n]]), "category_id": int(category[matched[n]]), "score": scores[n]}
        for n in range(detections)
    ]
    document = {
        "images": [{"id": n, "height": HEIGHT, "width": WIDTH} for n in range(1, images + 1)],
        "categories": [{"id": n, "name": f"class {n}"} for n in range(1, CLASSES + 1)],
        "annotations": annotations,
    }
    return document, results


def run_evaluation(*, images: int = IMAGES, detections: int = DETECTIONS, rounds: int = 1, seed: int = 0) -> dict:
    """Seconds of both backends for boxes and masks, how many times faster hotcoco is, and how far apart they are.

    A round is hotcoco, pycocotools, hotcoco, whose two times are averaged: what slows the machine down meanwhile meets
    both. Ratios are taken within a round, then their median. hotcoco's very first call, which also grows the process,
    is `first`. `difference`: the largest between the 24 numbers, which are 0 to 1, and between the precision and recall
    arrays behind them.
    """
    if min(images, detections, rounds) < 1:
        raise ValueError(f"images, detections and rounds start at 1, not {images}, {detections}, {rounds}")
    document, results = generate(images=images, detections=detections, seed=seed)
    report: dict = {"images": images, "detections": detections, "objects": len(document["annotations"])}
    report |= {"rounds": rounds, "versions": {name: importlib.metadata.version(name) for name in BACKENDS}}
    differences = []
    for iou_type in IOU_TYPES:
        began = time.perf_counter()
        truth = clean_ground_truth(document, iou_type, "json")
        cleaned = truth | {"annotations": clean_detections(truth, results, iou_type)}
        checking = time.perf_counter() - began
        seconds: dict[str, list[float]] = {name: [] for name in BACKENDS}
        accumulated = {}
        for name in ("hotcoco", *("hotcoco", "pycocotools", "hotcoco") * rounds):
            began = time.perf_counter()
            filled = BACKENDS[name](truth, cleaned, iou_type, limits=LIMITS, sizes=COCO_SIZES).eval
            seconds[name].append(time.perf_counter() - began)
            accumulated[name] = Accumulated(
                precision=filled["precision"],
                recall=filled["recall"],
                iou_type=iou_type,
                class_names=(),
                limits=LIMITS,
            )
        first, *pairs = seconds["hotcoco"]
        seconds["hotcoco"] = [statistics.fmean(pairs[n : n + 2]) for n in range(0, len(pairs), 2)]
        slow, fast = accumulated["pycocotools"], accumulated["hotcoco"]
        numbers = [backend.percent(backend.summary()) for backend in (slow, fast)]
        differences += [
            float(np.abs(slow.precision - fast.precision).max()),
            float(np.abs(slow.recall - fast.recall).max()),
            *(abs(numbers[0][metric] - numbers[1][metric]) / 100 for metric in numbers[0]),
        ]
        ratios = [theirs / ours for theirs, ours in zip(seconds["pycocotools"], seconds["hotcoco"], strict=True)]
        report[iou_type] = {name: statistics.median(values) for name, values in seconds.items()}
        report[iou_type] |= {
            "first": first,
            "ratio": statistics.median(ratios),
            "checking": checking,
            "AP": numbers[0][f"{iou_type}/AP"],
        }
    both = {name: sum(report[iou_type][name] for iou_type in IOU_TYPES) for name in BACKENDS}
    return report | {"ratio": both["pycocotools"] / both["hotcoco"], "difference": max(differences)}


def text(report: dict) -> str:
    """The report as a table."""
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    lines = [
        f"COCO evaluation of {report['images']:,} images, {report['objects']:,} objects, {report['detections']:,}"
        f" detections, {CLASSES} classes; {versions}; rounds: {report['rounds']}",
        f"{'':8}{'hotcoco':>10}{'pycocotools':>13}{'ratio':>8}{'checking before':>17}{'AP':>8}",
    ]
    for iou_type in IOU_TYPES:
        part = report[iou_type]
        lines.append(
            f"{iou_type:8}{part['hotcoco']:>9.2f}s{part['pycocotools']:>12.2f}s{part['ratio']:>8.1f}"
            f"{part['checking']:>16.2f}s{part['AP']:>8.2f}"
        )
    lines.append(f"{'both':8}{report['ratio']:>31.1f}")
    lines.append(f"largest difference of the 24 numbers and of the arrays behind them: {report['difference']:.1e}")
    return "\n".join(lines)


def _ellipses(rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Centre and half axes in px of an object and of its moved copies."""
    # Sizes as COCO val has them: 41 % small, 34 % medium, 24 % large.
    half = np.exp(rng.uniform(np.log(5), np.log(125)) + rng.normal(0, 0.3, 2))
    centre = rng.uniform(0, 1, 2) * (HEIGHT, WIDTH)
    moved = [(centre, half)]
    for _ in range(MOVED):
        moved.append((centre + rng.normal(0, 0.08, 2) * half, half * rng.uniform(0.85, 1.15, 2)))
    return [(*c, *h) for c, h in moved]


def _entry(y: float, x: float, half_height: float, half_width: float) -> dict:
    """An ellipse's mask, box and area; its nearest pixel where none lies inside."""
    columns = np.arange(WIDTH)
    reach = half_height * np.sqrt(np.clip(1 - ((columns - x) / half_width) ** 2, 0, None))
    start = np.clip(np.ceil(y - reach), 0, HEIGHT).astype(int)
    stop = np.clip(np.floor(y + reach) + 1, 0, HEIGHT).astype(int)
    stop = np.where(reach > 0, np.maximum(stop, start), start)
    if not (stop > start).any():
        column, row = int(np.clip(x, 0, WIDTH - 1)), int(np.clip(y, 0, HEIGHT - 1))
        start[column], stop[column] = row, row + 1
    inside = stop > start
    turns = np.stack([columns * HEIGHT + start, columns * HEIGHT + stop], axis=1)[inside].ravel()
    counts = np.diff([0, *turns, HEIGHT * WIDTH]).tolist()
    rle = pycocotools_mask.frPyObjects({"size": [HEIGHT, WIDTH], "counts": counts}, HEIGHT, WIDTH)
    return {
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()},
        "bbox": pycocotools_mask.toBbox(rle).tolist(),
        "area": float(pycocotools_mask.area(rle)),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks evaluation`."""
    add_rounds(parser, 1)
    parser.add_argument("--images", type=int, default=IMAGES, help=f"by default {IMAGES}")
    parser.add_argument("--detections", type=int, default=DETECTIONS, help=f"of all images; by default {DETECTIONS}")


def main(options: argparse.Namespace) -> int:
    """Run and show; 1 where the backends differ."""
    report = run_evaluation(images=options.images, detections=options.detections, rounds=options.rounds)
    show(options, report, text)
    return int(report["difference"] > EQUAL)
