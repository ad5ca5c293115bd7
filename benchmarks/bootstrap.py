"""The paired bootstrap of a difference of AP at COCO val's extent, on one core.

`python -m benchmarks bootstrap` draws 1,000 resamples of 5,000 images for two runs with generated matches (80
classes, 100 detections per image, 7.4 objects) and takes their differences: all of AP, AP50, AP75, APs, APm, APl and
per class. `peak_mb` is the memory that the process grew by meanwhile.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from benchmarks.report import show
from reprolib.evaluation.bootstrap import RESAMPLES, average_precision, resample_counts
from reprolib.evaluation.matches import THRESHOLDS, Matches

IMAGES, CLASSES, DETECTIONS_PER_IMAGE = 5_000, 80, 100
OBJECTS_PER_IMAGE = 7.4  # COCO val: 36,781 of 5,000 images
SHARE_OF_SIZES = (0.41, 0.34, 0.25)  # small, medium, large, as COCO val has them


def generate_matches(
    *,
    images: int = IMAGES,
    classes: int = CLASSES,
    per_image: int = DETECTIONS_PER_IMAGE,
    quality: float = 0.75,
    seed: int = 0,
) -> Matches:
    """Matches as a detector leaves them.

    An object is detected with probability `quality`; the score goes with the IoU, which varies. The other detections of
    an image match no object.

    Classes are as unequal as COCO's, of which the most frequent has thirty times the objects of the median. All
    qualities have the same objects where the seed is the same.
    """
    rng = np.random.default_rng(seed)
    share = np.arange(1, classes + 1) ** -1.0
    count = round(images * OBJECTS_PER_IMAGE)
    of_image = rng.integers(images, size=count)
    of_class = rng.choice(classes, size=count, p=share / share.sum())
    of_size = rng.choice(3, size=count, p=SHARE_OF_SIZES)
    easy = (rng.random(images)[of_image] + rng.random(count)) / 2  # some images are easier than others
    objects = np.zeros((classes, 4, images), dtype=np.uint16)
    for area in range(4):
        chosen = slice(None) if area == 0 else of_size == area - 1
        np.add.at(objects, (of_class[chosen], area, of_image[chosen]), 1)
    detected = np.flatnonzero(easy < quality)
    overlap = np.clip(rng.normal(0.55 + 0.4 * quality * (1 - easy[detected]), 0.12), 0.3, 1.0)
    unmatched = images * per_image - len(detected)
    image = np.concatenate([of_image[detected], rng.integers(images, size=unmatched)])
    classed = np.concatenate([of_class[detected], rng.choice(classes, size=unmatched, p=share / share.sum())])
    size = np.concatenate([of_size[detected], rng.choice(3, size=unmatched, p=SHARE_OF_SIZES)])
    score = np.concatenate([rng.beta(5, 2, len(detected)) * overlap, rng.beta(1, 8, unmatched)])
    reached = np.clip(np.floor((overlap - 0.5) / 0.05 + 1), 0, THRESHOLDS).astype(np.int64)
    hit = np.concatenate([(1 << reached) - 1, np.zeros(unmatched, np.int64)]).astype(np.uint16)
    order = np.lexsort((-score, image, classed))
    image, classed, size, score, hit = (values[order] for values in (image, classed, size, score, hit))
    every = np.uint16((1 << THRESHOLDS) - 1)
    ignored = [np.zeros_like(hit), *(np.where(size == area, np.uint16(0), every) for area in range(3))]
    return Matches(
        class_names=np.array([f"class {index}" for index in range(classes)]),
        image_ids=np.arange(images),
        objects=objects,
        offsets=np.concatenate([[0], np.bincount(classed, minlength=classes).cumsum()]),
        image=image.astype(np.int32),
        score=score,
        matched=np.stack([hit] * 4),
        ignored=np.stack(ignored),
    )


def run_bootstrap(*, images: int = IMAGES, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, object]:
    """Seconds for both runs' draws, memory, and the difference of AP with its standard error."""
    if min(images, resamples) < 2:
        raise ValueError(f"images and resamples start at 2, not {images}, {resamples}")
    pair = [generate_matches(images=images, quality=quality, seed=seed) for quality in (0.75, 0.72)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, worked = time.perf_counter(), time.process_time()
    counts = resample_counts(images, resamples=resamples, seed=seed)
    ours, theirs = (average_precision(matches, counts) for matches in pair)
    drawn = ours["AP"] - theirs["AP"]
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    once = np.ones((images, 1), np.uint8)
    first, second = (float(average_precision(matches, once)["AP"][0]) for matches in pair)
    return {
        "images": images,
        "resamples": resamples,
        "detections": [len(matches.score) for matches in pair],
        "objects": int(pair[0].objects[:, 0].sum()),
        "seconds": seconds,
        "cpu_seconds": worked,
        "peak_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "AP": [first, second],
        "difference": first - second,
        "standard_error": float(drawn.std(ddof=1)),
        "standard_error_unpaired": float(np.hypot(ours["AP"].std(ddof=1), theirs["AP"].std(ddof=1))),
    }


def text(report: dict) -> str:
    """The report in words."""
    return "\n".join(
        (
            f"paired bootstrap of a difference: {report['resamples']:,} resamples of {report['images']:,} images,"
            f" {report['objects']:,} objects, {report['detections'][0]:,} detections of each run, {CLASSES} classes",
            f"{report['seconds']:.1f} s, {report['cpu_seconds']:.1f} s of them at work; memory grew by"
            f" {report['peak_mb']:.0f} MB",
            f"AP {report['AP'][0]:.2f} and {report['AP'][1]:.2f}, difference {report['difference']:.2f}, standard error"
            f" {report['standard_error']:.2f} ({report['standard_error_unpaired']:.2f} if not paired)",
        )
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks bootstrap`."""
    parser.add_argument("--images", type=int, default=IMAGES, help=f"by default {IMAGES}")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help=f"by default {RESAMPLES}")


def main(options: argparse.Namespace) -> int:
    """Run and show."""
    report = run_bootstrap(images=options.images, resamples=options.resamples)
    show(options, report, text)
    return 0
