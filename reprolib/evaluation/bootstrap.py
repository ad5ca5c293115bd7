"""COCO's AP on resamples of the images, accumulated exactly from stored matches (`reprolib.evaluation.matches`).

A resample draws as many images as there are, with replacement. Its AP is that of a data set in which an image drawn w
times stands w times, one copy after the other: nothing is matched again, since a copy is matched as the image itself
was. Every class is ranked once; a resample only weighs each detection and object by w. The mean over classes is COCO's:
over those that have objects in the resample, so a rare class is missing from some of them; where none has, the metric
is undefined there (NaN). Runs that are resampled with the same counts are paired: the difference of their numbers on
each resample is the bootstrap of their difference. Imports no torch.
"""

from __future__ import annotations

import numpy as np

from reprolib.evaluation.matches import THRESHOLDS, Matches

RESAMPLES = 1000
RECALLS = np.linspace(0.0, 1.0, 101)  # exactly those of COCO's code
IOU_50, IOU_75 = 0, 5
SIZES = {"s": 1, "m": 2, "l": 3}  # positions among the areas
CELLS = 3_000_000  # detections times resamples that are worked on at a time: limits the memory


def resample_counts(images: int, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each image is drawn: uint8 [images, resamples], the same for the same arguments."""
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, images), dtype=np.uint8)
    for line in counts:
        line[:] = np.bincount(rng.integers(images, size=images), minlength=images)
    return np.ascontiguousarray(counts.T)


def average_precision(matches: Matches, counts: np.ndarray) -> dict[str, np.ndarray]:
    """AP, AP50, AP75, APs, APm, APl, AP/<class> and AP50/<class> on every resample.

    Args:
        counts: [N, B], how often each image is in each resample, below 256.

    Returns:
        Percent, float64 [B] by metric; NaN where a resample has no such object.
    """
    if counts.shape[0] != len(matches.image_ids):
        raise ValueError(f"counts are of {counts.shape[0]} images, the matches of {len(matches.image_ids)}")
    counts = np.ascontiguousarray(counts, dtype=np.uint8)
    classes, areas, images = matches.objects.shape
    # Exact in float32, whose BLAS is fast, below 2^24 objects.
    objects = matches.objects.reshape(-1, images).astype(np.float32) @ counts.astype(np.float32)
    objects = objects.astype(np.int64).reshape(classes, areas, -1)
    precision = np.full((classes, areas, THRESHOLDS, counts.shape[1]), np.nan)
    for index in range(classes):
        if matches.objects[index].any():
            _of_class(matches, index, counts, objects[index], precision[index])
    precision *= 100
    values = {
        "AP": _mean(precision[:, 0].reshape(-1, counts.shape[1])),
        "AP50": _mean(precision[:, 0, IOU_50]),
        "AP75": _mean(precision[:, 0, IOU_75]),
    }
    values |= {f"AP{size}": _mean(precision[:, area].reshape(-1, counts.shape[1])) for size, area in SIZES.items()}
    for index, name in enumerate(matches.class_names.tolist()):
        values[f"AP/{name}"] = precision[index, 0].mean(axis=0)
        values[f"AP50/{name}"] = precision[index, 0, IOU_50]
    return values


def _of_class(matches: Matches, index: int, counts: np.ndarray, objects: np.ndarray, precision: np.ndarray) -> None:
    """Fill `precision` [A, 10, B], in 0..1, where `objects` [A, B] are not 0."""
    here = slice(matches.offsets[index], matches.offsets[index + 1])
    ranked = np.argsort(-matches.score[here], kind="stable")  # by image at equal scores, as COCO's code has it
    image, copy, place = _copies(matches.image[here][ranked], matches.score[here][ranked], counts)
    ranked = ranked[place]
    bits = np.arange(THRESHOLDS, dtype=np.uint16)[:, None]
    for area in range(len(objects)):
        if not objects[area].any():
            continue
        ignored = (matches.ignored[area, here][ranked] >> bits & 1).astype(bool)
        true = (matches.matched[area, here][ranked] >> bits & 1).astype(bool) & ~ignored
        step = max(1, CELLS // max(1, len(ranked)))
        for start in range(0, counts.shape[1], step):
            part = slice(start, start + step)
            _accumulate(true, ~ignored, image, copy, counts[:, part], objects[area, part], precision[area, :, part])


def _copies(
    image: np.ndarray, score: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Where an image gives several detections the same score, they take turns: first, second, first, second of its
    copies, not first, first, second, second. Such detections are written out once per copy.

    Returns:
        image [E], copy [E] (which copy of the image it is, -1 for all of them; None where all are) and each one's place
        in the ranking.
    """
    place = np.arange(len(image))
    follows = np.zeros(len(image), dtype=bool)
    follows[1:] = (image[1:] == image[:-1]) & (score[1:] == score[:-1])
    if not follows.any():
        return image, None, place
    block = np.cumsum(~follows) - 1
    sizes = np.bincount(block)
    tied = sizes[block] > 1
    most = counts.max(axis=1).astype(np.int64)
    times = np.where(tied, np.maximum(most[image], 1), 1)
    place = np.repeat(place, times)
    copy = np.arange(len(place)) - np.repeat(np.cumsum(times) - times, times)
    order = np.lexsort((place, copy, block[place]))  # within a block: all of the first copy, then of the second
    place, copy = place[order], copy[order]
    return image[place], np.where(tied[place], copy, -1), place


def _weights(image: np.ndarray, copy: np.ndarray | None, counts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How often the detections `rows` are in each resample, uint8 [rows, B]."""
    weights = counts[image[rows]]
    if copy is not None:
        (single,) = np.nonzero(copy[rows] >= 0)
        weights[single] = weights[single] > copy[rows][single][:, None]
    return weights


def _accumulate(
    true: np.ndarray,
    counted: np.ndarray,
    image: np.ndarray,
    copy: np.ndarray | None,
    counts: np.ndarray,
    objects: np.ndarray,
    precision: np.ndarray,
) -> None:
    """AP of one class and area at the ten thresholds: `precision` [10, B], from flags [10, E] of ranked detections.

    Interpolated precision only changes at true positives, so the others are summed up between these. A detection that
    is in the resample w times raises recall at once where COCO's code does it in w steps; the steps between have no
    higher precision and no recall that the last has not, so they change nothing.
    """
    varies = counted.any(axis=0) & ~counted.all(axis=0)
    kept = true.any(axis=0) | varies  # detections whose flags differ between thresholds
    (rows,) = np.nonzero(kept)
    (false,) = np.nonzero(counted.all(axis=0) & ~kept)
    defined = objects > 0
    precision[:, defined] = 0.0
    if not len(rows):
        return
    weights = _weights(image, copy, counts, rows)
    before = np.zeros((len(false) + 1, counts.shape[1]), dtype=np.int32)
    np.cumsum(_weights(image, copy, counts, false), axis=0, dtype=np.int32, out=before[1:])
    false_before = before[np.searchsorted(false, rows)]
    every = None
    for threshold in range(THRESHOLDS):
        (true_rows,) = np.nonzero(true[threshold, rows])
        if not len(true_rows):
            continue
        (listed,) = np.nonzero(counted[threshold, rows])
        if len(listed) == len(rows):
            if every is None:
                every = np.cumsum(weights, axis=0, dtype=np.int32) + false_before
            detections = every[true_rows]
        else:
            sums = np.cumsum(weights[listed], axis=0, dtype=np.int32)
            detections = sums[np.searchsorted(listed, true_rows)] + false_before[true_rows]
        hits = np.cumsum(weights[true_rows], axis=0, dtype=np.int32)
        best = hits / np.maximum(detections, 1)
        best = np.maximum.accumulate(best[::-1], axis=0)[::-1]
        reached = _recalls_reached(hits, objects)
        reached[1:] -= reached[:-1].copy()
        area = np.einsum("ij,ij->j", best, reached) / len(RECALLS)
        precision[threshold, defined] = area[defined]


def _recalls_reached(hits: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """How many of the 101 recalls hits / objects is not below, in COCO's own arithmetic; float64 [rows, B]."""
    recall = hits / np.maximum(objects, 1)
    last = (recall * 100 + 1e-9).astype(np.int16)  # the largest recall that is reached, or missed by rounding alone
    return last + (RECALLS.take(last) <= recall).astype(np.float64)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the first axis without NaN; NaN where there is nothing else."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
