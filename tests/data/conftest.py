"""Small COCO-format sets made on the spot."""

from __future__ import annotations

import copy
import json
import runpy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

WIDTH, HEIGHT = 40, 30


class MadeSet(NamedTuple):
    images: Path
    annotations: Path


def square(x: float, y: float, side: float) -> list[float]:
    return [x, y, x + side, y, x + side, y + side, x, y + side]


DOCUMENT = {
    "images": [
        {"id": 0, "file_name": "a.png", "width": WIDTH, "height": HEIGHT, "license": None},
        {"id": 7, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
        {"id": 9, "file_name": "empty.png", "width": WIDTH, "height": HEIGHT},
    ],
    "annotations": [
        {  # ids from 0, integer box 1 px larger than the polygon, no iscrowd
            "id": 0,
            "image_id": 0,
            "category_id": 0,
            "bbox": [2, 3, 11, 11],
            "area": 121,
            "segmentation": [square(2, 3, 10)],
        },
        {
            "id": 1,
            "image_id": 0,
            "category_id": 5,
            "bbox": [20, 4, 14, 5],
            "area": 50,
            "iscrowd": 0,
            "segmentation": [square(20, 4, 5), square(29, 4, 5)],
        },
        {
            "id": 2,
            "image_id": 0,
            "category_id": 0,
            "bbox": [0, 0, 2, 30],
            "area": 60,
            "iscrowd": 1,
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, 60, HEIGHT * WIDTH - 60]},
        },
        {
            "id": 3,
            "image_id": 7,
            "category_id": 5,
            "bbox": [10, 0, 4, 30],
            "area": 120,
            "iscrowd": 0,
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": [300, 120, 780]},
        },
    ],
    "categories": [
        {"id": 5, "name": "plane", "supercategory": None},
        {"id": 0, "name": "ship"},
    ],
}


@pytest.fixture
def document() -> dict:
    return copy.deepcopy(DOCUMENT)


@pytest.fixture
def make_set(tmp_path):
    """Function that writes a document (and random images for it) and returns where."""

    def make(document: dict, *, name: str = "set", with_images: bool = True) -> MadeSet:
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        rng = np.random.default_rng(0)
        for image in document["images"] if with_images else ():
            pixels = rng.integers(0, 256, (image["height"], image["width"], 3), np.uint8)
            path = folder / "images" / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        (folder / "set.json").write_text(json.dumps(document))
        return MadeSet(folder / "images", folder / "set.json")

    return make


@pytest.fixture
def server():
    """A server that behaves badly on request (see loopback.py)."""
    loopback = runpy.run_path(str(Path(__file__).with_name("loopback.py")))
    server = loopback["start"]()
    yield server
    loopback["stop"](server)
