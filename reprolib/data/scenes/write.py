"""Generated scenes on disk: PNG images and COCO JSON, the same bytes from the same parameters."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from reprolib.files import write_atomic, write_json

VERSION = 1  # raise it when a family draws differently: sets on disk are then made again
MIN_SIZE = 64

Scene = Callable[[np.random.Generator, int], tuple[np.ndarray, list[tuple[int, np.ndarray]]]]


def write_scenes(
    family: ModuleType | Scene,
    classes: Sequence[str],
    folder: str | Path,
    *,
    images: int,
    size: int,
    seed: int,
    split: str,
) -> None:
    """Write `<folder>/<split>/000000.png ...` and `<folder>/annotations/<split>.json`.

    `family` is a module with `scene(rng, size)`, or such a function. Image i depends on seed, split and i alone,
    so a larger count begins with the images of a smaller one. A complete set with equal parameters is left as it
    is, any other is replaced. The annotations are moved in last: where they are, the set is whole. One process at a
    time for one split.
    Raises ValueError for a size, count, seed or split that cannot be.
    """
    scene: Scene = getattr(family, "scene", family)
    name = scene.__module__.rpartition(".")[2]
    _check(name, images=images, size=size, seed=seed, split=split)
    folder = Path(folder)
    target, annotations = folder / split, folder / "annotations" / f"{split}.json"
    parameters = {
        "family": name,
        "classes": list(classes),
        "images": images,
        "size": size,
        "seed": seed,
        "split": split,
        "version": VERSION,
    }
    if _complete(target, annotations, parameters):
        return

    part = folder / f"{split}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        document = _draw(scene, part, parameters)
        write_json(part / "generated.json", parameters)
        annotations.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
        write_atomic(annotations, json.dumps(document, separators=(",", ":")))
    finally:
        shutil.rmtree(part, ignore_errors=True)


def scene_rng(*, seed: int, split: str, index: int) -> np.random.Generator:
    """The random stream of one image; the split's name counts, so train and val differ under one seed."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(split.encode()), index]))


def _check(name: str, *, images: int, size: int, seed: int, split: str) -> None:
    for key, value, least in (("images", images, 0), ("size", size, MIN_SIZE), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}: {key} must be a whole number of at least {least}, not {value!r}")
    if not isinstance(split, str) or not split or Path(split).name != split or split in (".", "..", "annotations"):
        raise ValueError(f"{name}: split must be a plain folder name such as 'train', not {split!r}")


def _complete(target: Path, annotations: Path, parameters: dict) -> bool:
    try:
        existing = json.loads((target / "generated.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return (
        existing == parameters
        and annotations.is_file()
        and sum(1 for _ in target.glob("*.png")) == parameters["images"]
    )


def _draw(scene: Scene, folder: Path, parameters: dict) -> dict:
    """Draw and save every image; returns the COCO document."""
    size = parameters["size"]
    images, annotations = [], []
    for index in range(parameters["images"]):
        rng = scene_rng(seed=parameters["seed"], split=parameters["split"], index=index)
        pixels, instances = scene(rng, size)
        file_name = f"{index:06d}.png"
        Image.fromarray(pixels).save(folder / file_name, compress_level=3)
        images.append({"id": index + 1, "file_name": file_name, "width": size, "height": size})
        for class_index, mask in instances:
            encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": class_index + 1,
                    "segmentation": {"size": [size, size], "counts": encoded["counts"].decode("ascii")},
                    "bbox": [float(side) for side in rle.toBbox(encoded)],
                    "area": int(rle.area(encoded)),
                    "iscrowd": 0,
                }
            )
    licence = {"id": 1, "name": "generated, CC0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}
    return {
        "info": {
            "description": f"{parameters['family']}: scenes generated by reprolib, not photographs",
            "license": licence["name"],
            **{key: parameters[key] for key in ("family", "split", "size", "seed", "version")},
        },
        "licenses": [licence],
        "categories": [{"id": i, "name": c} for i, c in enumerate(parameters["classes"], 1)],
        "images": images,
        "annotations": annotations,
    }
