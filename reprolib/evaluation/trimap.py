"""How right masks are next to the objects' boundaries: the trimap measure (SEANet, table 5).

The band of width w around an object: the pixels of the image that have both a pixel of the object and a pixel
beside it within w pixels, themselves included, w being the larger of the horizontal and the vertical distance. That
is w pixels inside and w pixels outside of the boundary (dilation minus erosion by a square of 2w + 1). Where the image
cuts an object off there is no boundary, since nothing is known beyond; an object that fills the image has no band
and does not count, nor do crowds and masks without a pixel.

What the publication leaves open, and is decided here: an object is judged by the detection of its class that has
the highest mask IoU with it, out of the `max_detections` highest-scoring ones of the image and class, as for AP and
without another threshold on the score. No detection that overlaps it: 0. "Accuracy" has two readings:

- `trimap_accuracy/<w>`: IoU of detection and object, both restricted to the band. The default, the one that a table
  shows: values as low as the printed ones (7 % at 1 px) cannot be shares of pixels, half of which background gets
  right.
- `trimap_pixel_accuracy/<w>`: share of the band's pixels that the detection puts on the right side.

So these compare systems with each other, never with the printed table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import hotcoco
import numpy as np

from reprolib.evaluation.coco_inputs import by_image_and_class, clean_detections, clean_ground_truth
from reprolib.evaluation.morphology import cut_out, decode, erode

WIDTHS = (1, 3, 8)


def evaluate_trimap(
    ground_truth: Path | str | Mapping[str, object],
    detections: Sequence[Mapping[str, object]],
    *,
    max_detections: int = 100,
) -> dict[str, float | None]:
    """Accuracy in the bands of 1, 3 and 8 pixels, averaged over all objects.

    Args:
        ground_truth, detections, max_detections: as in `reprolib.evaluation.coco.evaluate`, for masks.

    Returns:
        Percent, or None without objects, under `trimap_accuracy/<w>` and `trimap_pixel_accuracy/<w>`.

    Raises:
        EvaluationError: what cannot be evaluated, by file and id.
    """
    truth = clean_ground_truth(ground_truth, "segm", "json")
    ranked = sorted(clean_detections(truth, detections, "segm"), key=lambda entry: -entry["score"])
    detected = by_image_and_class(ranked)
    objects = by_image_and_class(annotation for annotation in truth["annotations"] if not annotation["iscrowd"])
    scores = []
    for key, own in objects.items():
        rles = [annotation["segmentation"] for annotation in own]
        candidates = [detection["segmentation"] for detection in detected[key][:max_detections]]
        if not candidates:
            scores += [band_scores(rle, None) for rle in rles]
            continue
        ious = hotcoco.mask.iou(candidates, rles, [False] * len(rles))  # [detections, objects]
        for index, rle in enumerate(rles):
            best = ious[:, index].argmax()
            scores.append(band_scores(rle, candidates[best] if ious[best, index] > 0 else None))
    table = np.array([score for score in scores if score is not None]).reshape(-1, 2, len(WIDTHS))
    return {
        f"{name}/{width}": 100.0 * float(table[:, reading, position].mean()) if len(table) else None
        for reading, name in enumerate(("trimap_accuracy", "trimap_pixel_accuracy"))
        for position, width in enumerate(WIDTHS)
    }


def band_scores(rle: Mapping[str, object], detection: Mapping[str, object] | None) -> np.ndarray | None:
    """An object compared with the detection that covers it best, None where there is none.

    Args:
        rle, detection: compressed RLEs of the same image.

    Returns:
        Float64 [2, widths] in 0..1: band IoU, share of right pixels. None where the object has no band.
    """
    where = cut_out(rle, max(WIDTHS))
    expected = decode(rle)[where]
    if not expected.any() or expected.all():  # no band: the object has no pixel, or fills the image
        return None
    scores = np.zeros((2, len(WIDTHS)))
    if detection is None:
        return scores
    detected = decode(detection)[where]
    either, both, right = detected | expected, detected & expected, detected == expected
    for position, width in enumerate(WIDTHS):
        band = boundary_band(expected, width)
        scores[0, position] = np.count_nonzero(both & band) / np.count_nonzero(either & band)
        scores[1, position] = np.count_nonzero(right & band) / np.count_nonzero(band)
    return scores


def boundary_band(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels with both values of a mask within `width` pixels: Bool [H, W] -> Bool [H, W].

    A cut-out of an image does if it shows `width` pixels around the object wherever the image does.
    """
    return ~erode(mask, width, outside=True) & ~erode(~mask, width, outside=True)
