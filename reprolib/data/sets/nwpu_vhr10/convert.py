"""NWPU VHR-10 with instance annotations, from a zip or a folder of its files to COCO format.

The images are the 650 of `positive image set/` (as published) or `images/` (as copied elsewhere), 001.jpg to 650.jpg;
the annotations are the public `annotations.json`. Images are copied byte for byte. Annotations are numbered from 1,
since pycocotools takes a match to id 0 for none, and box and area are those of the mask: the published boxes are 1 px
larger than the polygons, the published areas 119 px on average.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reprolib.data.acquire.archives import Files, Limits, opened_files
from reprolib.data.acquire.conversion import (
    check_image,
    coco_document,
    is_whole,
    making,
    part_of,
    polygon_fields,
    split_names,
    write_document,
)
from reprolib.data.acquire.drawing import draw_stratified
from reprolib.data.acquire.progress import counted
from reprolib.data.errors import DataError
from reprolib.files import write_atomic

VERSION = 1  # raise it when the conversion writes something else: prepared sets are then made again
IMAGE = re.compile(r"(?:^|/)(?:positive image set|images)/(\d{3}\.jpg)$")
ANNOTATIONS = "annotations.json"
SPLITS = ("own", "public")
VALIDATION_SHARE = 0.3
READING = {"limits": Limits(files=100_000, file_bytes=2**27, bytes=2**33), "patterns": ("*.jpg", ANNOTATIONS)}


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the source must hold.

    annotations: sha256 of annotations.json. manifest: sha256 over the lines `<sha256>  <name>\\n` of the images, sorted
    by name, in the copy that is known. validation: by split, the names of the images that are not trained on.
    """

    images: int
    annotations: str
    manifest: str
    validation: Mapping[str, tuple[str, ...]]


@cache
def published() -> Contents:
    """The whole set: annotations of chaozhong2010/VHR-10_dataset_coco at commit ce0ba0f5, images as in
    KyanChen/RSPrompter at commit f4e73c35. Splits: `own`, ours, 455/195; `public`, RSPrompter's, 520/130."""
    return Contents(
        images=650,
        annotations="dde27d9362d9c6aa358a1cab160c9e075e57405d3fe876de049973c6e6150f0e",
        manifest="ef1bfd6f27b5e1e3672e95a733480c5b09084f20a67f59d2343c0b5f5f4583b0",
        validation={name: split_names(f"nwpu_vhr10_{name}_val") for name in SPLITS},
    )


def is_prepared(folder: Path, *, contents: Contents) -> bool:
    """Whether `folder` holds the whole converted set, as this version writes it."""
    images = sum(1 for _ in (folder / "images").glob("*.jpg"))
    return images == contents.images and is_whole(folder, _made(contents))


def convert(source: Path, folder: Path, *, contents: Contents, annotations: Path | None = None) -> None:
    """Write `<folder>/images/<number>.jpg` and, for every split, `<folder>/annotations/<split>/{train,val}.json`;
    `folder` appears whole or not at all, and replaces what was there.

    source: a zip, or a folder of its files. annotations: annotations.json where it is not in the source. Image ids are
    the positions from 1 on in the published order, which are the file numbers. Raises DataError when the annotations
    are not the published ones and when an image is missing, unreadable or not of its size. Images whose bytes differ
    from the known copy's are taken, and that is printed: whether all archives in circulation hold the same bytes is
    not known.
    """
    try:
        with making(folder, _made(contents)) as part:
            with opened_files(source, **READING) as files:
                document = _document(source, files, annotations, contents)
                (part / "images").mkdir()
                _copy_images(source, files, document["images"], part / "images", contents)
            for split, names in contents.validation.items():
                _write_split(document, part / "annotations" / split, split, names)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise DataError(f"{source}: damaged or unwritable ({error}); fetch it again") from error


def holds_annotations(source: Path) -> bool:
    """Whether a zip or folder holds an annotations.json. Raises DataError where there is neither."""
    with opened_files(source, **READING) as files:
        return bool(_named(files, ANNOTATIONS))


def choose_validation(classes: Mapping[str, frozenset[str]]) -> list[str]:
    """How the committed list `splits/nwpu_vhr10_own_val.txt` was drawn: file names, sorted.

    classes: file name -> the classes in that image. Images with the same classes are a stratum, and 30% of each are
    drawn.
    """
    return draw_stratified(classes, share=VALIDATION_SHARE)


def _named(files: Files, name: str) -> list[str]:
    return [path for path in files if path.rpartition("/")[2] == name]


def _document(source: Path, files: Files, annotations: Path | None, contents: Contents) -> dict:
    """The published annotations, renumbered, with boxes and areas of the masks.

    Whatever passes the checksum is well-formed, which pycocotools relies on.
    """
    if annotations is not None:
        candidates = {str(annotations): annotations.read_bytes()}
    else:
        candidates = {f"{source}: {path}": files[path]() for path in _named(files, ANNOTATIONS)}
    text = next((text for text in candidates.values() if _sha256(text) == contents.annotations), None)
    if text is None:
        digests = ", ".join(f"{path} has {_sha256(text)}" for path, text in candidates.items()) or f"{source} has none"
        raise DataError(
            f"{ANNOTATIONS} of sha256 {contents.annotations} is needed, {digests}; see the card of nwpu_vhr10 for where"
            " to get it, and give it with --from-archive too"
        )
    published = json.loads(text)
    numbers = {image["id"]: number for number, image in enumerate(published["images"], start=1)}
    images = [
        {"id": numbers[image["id"]]} | {key: image[key] for key in ("file_name", "width", "height")}
        for image in published["images"]
    ]
    sizes = {image["id"]: {side: image[side] for side in ("height", "width")} for image in published["images"]}
    return coco_document(
        info={
            "description": "NWPU VHR-10, images for research use; instance annotations MIT",
            "url": "https://github.com/chaozhong2010/VHR-10_dataset_coco",
        },
        categories=[{key: category[key] for key in ("id", "name")} for category in published["categories"]],
        images=images,
        annotations=(
            {"image_id": numbers[image], "category_id": annotation["category_id"], "iscrowd": 0}
            | polygon_fields(annotation["segmentation"], **sizes[image])
            for annotation in published["annotations"]
            for image in (annotation["image_id"],)
        ),
    )


def _copy_images(source: Path, files: Files, images: list[dict], folder: Path, contents: Contents) -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in files:
        if match := IMAGE.search(path):
            places[match[1]].append(path)
    missing = [image["file_name"] for image in images if not places[image["file_name"]]]
    if missing:
        raise DataError(
            f"{source}: {len(missing)} of {len(images)} images are missing, the first is {missing[0]}; they are looked"
            " for in `positive image set/` and `images/`, see the card of nwpu_vhr10 for where to get them"
        )
    lines = []
    ordered = sorted(images, key=lambda image: image["file_name"])
    for image in counted(ordered, "nwpu_vhr10:", "images copied"):
        name = image["file_name"]
        content = files[_only(source, places[name])]()
        check_image(
            io.BytesIO(content),
            width=image["width"],
            height=image["height"],
            mode="RGB",
            where=f"{source}: {places[name][0]}",
        )
        write_atomic(folder / name, content)
        lines.append(f"{_sha256(content)}  {name}\n")
    manifest = _sha256("".join(lines).encode())
    if manifest != contents.manifest:
        print(
            f"nwpu_vhr10: the images have the manifest {manifest}, those of the known copy {contents.manifest}: names"
            " and sizes in pixels are the same, bytes are not; numbers may differ from those on the known copy",
            flush=True,
        )


def _only(source: Path, paths: list[str]) -> str:
    if len(paths) > 1:
        raise DataError(f"{source}: holds both {paths[0]} and {paths[1]}; give the folder of one copy of the set")
    return paths[0]


def _write_split(document: dict, folder: Path, split: str, validation: Sequence[str]) -> None:
    """Write the JSON of one split's two parts."""
    names = {image["file_name"] for image in document["images"]}
    for side, chosen in (("val", set(validation)), ("train", names - set(validation))):
        write_document(folder / f"{side}.json", part_of(document, chosen, of=f"the list of split {split!r}"))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _made(contents: Contents) -> dict[str, object]:
    return {
        "version": VERSION,
        "validation": {split: list(names) for split, names in contents.validation.items()},
    }
