"""The 2018 Data Science Bowl's submission (BBBC038): a CSV row per mask, `ImageId,EncodedPixels`.

EncodedPixels are pairs of start and length; pixels are numbered from 1, down the columns, left to right. Masks of an
image must not overlap: a pixel belongs to the best scored mask on it, at equal scores to the earlier one; what is
covered whole is left out. An image without masks has a row with none. The metric uses no scores, so detections below
`MIN_SCORE` are left out before. ImageId is the name of the image file without its suffix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import hotcoco
import numpy as np

from reprolib.evaluation.coco_inputs import by_image

MIN_SCORE = 0.5


def kaggle_rows(truth: Mapping[str, object], detections: Sequence[Mapping]) -> Iterator[tuple[str, str]]:
    """ImageId and EncodedPixels, image by image, masks by falling score.

    truth, detections: from `clean_ground_truth` and `clean_detections`.
    """
    detections_of = by_image(detections)
    for image in truth["images"]:
        key = PurePosixPath(str(image["file_name"])).stem
        free = np.ones(image["height"] * image["width"], dtype=bool)  # down the columns
        rows = 0
        for detection in sorted(detections_of[image["id"]], key=lambda entry: -entry["score"]):
            mask = hotcoco.mask.decode(detection["segmentation"]).ravel(order="F").astype(bool) & free
            if mask.any():
                free &= ~mask
                rows += 1
                yield key, encoded_pixels(mask)
        if not rows:
            yield key, ""


def encoded_pixels(mask: np.ndarray) -> str:
    """Bool [H * W], down the columns, as `start length start length ...`."""
    turns = np.flatnonzero(np.diff(mask, prepend=False, append=False)).reshape(-1, 2)
    return " ".join(f"{start + 1} {stop - start}" for start, stop in turns.tolist())
