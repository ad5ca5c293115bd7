"""Cityscapes' submission: of each image a text file, of each detection a line in it and a PNG of the mask.

A line is `<png> <label id> <score>`, the PNG relative to the text file, without spaces, the label id the regular one;
any value but 0 is the object. An image without detections has an empty text file: the official script stops where one
is missing. It finds a text file by the image's first three name parts, `<city>_<sequence>_<frame>`.
Source: the head of evaluation/evalInstanceLevelSemanticLabeling.py in https://github.com/mcordts/cityscapesScripts.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import hotcoco
import numpy as np
from PIL import Image

from reprolib.data.sets.cityscapes.labels import LABEL_IDS
from reprolib.evaluation.coco_inputs import EvaluationError, by_image

FRAME = re.compile(r"[^_\s]+_\d{6}_\d{6}(?=_)")


def submission_files(truth: Mapping[str, object], detections: Sequence[Mapping]) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file, image by image.

    truth, detections: from `clean_ground_truth` and `clean_detections`; categories are known by their names. Empty
    masks, in which the official script sees no detection, have no file. Raises EvaluationError for another category and
    for an image that is not named as Cityscapes names them.
    """
    labels = {}
    for category in truth["categories"]:
        if category["name"] not in LABEL_IDS:
            raise EvaluationError(
                f"category {category['name']!r} is none of Cityscapes' evaluated ones: {', '.join(LABEL_IDS)}"
            )
        labels[category["id"]] = LABEL_IDS[category["name"]]
    detections_of = by_image(detection for detection in detections if detection["area"] > 0)
    for image in truth["images"]:
        frame = FRAME.match(PurePosixPath(str(image.get("file_name"))).name)
        if frame is None:
            raise EvaluationError(
                f"image {image['id']} ({image.get('file_name')}): Cityscapes' images are named"
                " <city>_<6 digits>_<6 digits>_leftImg8bit.png"
            )
        lines = []
        for number, detection in enumerate(detections_of[image["id"]]):
            name = f"{frame[0]}_{number}.png"
            lines.append(f"{name} {labels[detection['category_id']]} {detection['score']!r}\n")
            yield name, _png(hotcoco.mask.decode(detection["segmentation"]))
        yield f"{frame[0]}.txt", "".join(lines).encode()


def _png(mask: np.ndarray) -> bytes:
    """UInt8 [H, W] of 0 and 1 as a PNG of one bit per pixel."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(mask, dtype=bool)).save(buffer, format="PNG")
    return buffer.getvalue()
