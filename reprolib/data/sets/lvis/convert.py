"""LVIS v1's annotation files, checked where they are: they are COCO format as the suite reads it, nothing is converted.

What differs from COCO, and who reads it: images have no `file_name`, it is the last two parts of `coco_url`
(`reprolib.data.document.file_name`), so the image folder is the one of train2017 and val2017, which the validation set
mixes; no `iscrowd`, which is 0 to the loader and to the evaluation; `neg_category_ids` and
`not_exhaustive_category_ids` of images and `frequency` of categories stay in the JSON for LVIS's own evaluation, since
an image is annotated with some classes only: a class neither annotated nor on its negative list says nothing there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from reprolib.data.acquire.checksums import sha256_of
from reprolib.data.acquire.conversion import is_whole, making
from reprolib.data.document import check_document, file_name, read_document
from reprolib.data.errors import DataError
from reprolib.data.findings import Findings

VERSION = 1  # raise it when more is checked: files are then checked again
LISTS = ("neg_category_ids", "not_exhaustive_category_ids")
FETCH = "fetch lvis_v1_train.json.zip and lvis_v1_val.json.zip again"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """By split: images, instances (None: not published), and images by folder (None: not published); classes by
    frequency."""

    images: Mapping[str, int]
    instances: Mapping[str, int | None]
    folders: Mapping[str, Mapping[str, int] | None]
    frequencies: Mapping[str, int]


@cache
def published() -> Contents:
    """LVIS v1, train and val. The 1,270,141 instances of train that are passed on are not verified, so not held to."""
    return Contents(
        images={"train": 100_170, "val": 19_809},
        instances={"train": None, "val": 244_707},
        folders={"train": None, "val": {"train2017": 15_000, "val2017": 4_809}},
        frequencies={"r": 337, "c": 461, "f": 405},
    )


def is_checked(annotations: Mapping[str, Path], images: Path, folder: Path, *, contents: Contents) -> bool:
    """Whether `check` passed these files, byte for byte, as this version checks them; hashing them takes seconds."""
    try:
        return is_whole(folder, _made(annotations, images, contents))
    except OSError:
        return False


def check(annotations: Mapping[str, Path], images: Path, folder: Path, *, contents: Contents) -> None:
    """Check the annotation file of each split against images and published counts, and note in `folder` that it passed.

    images: the folder that holds train2017 and val2017. Raises DataError naming file, field and mend; images that are
    missing are counted by folder.
    """
    for split, path in annotations.items():
        document = read_document(path)
        findings = Findings()
        check_document(document, findings)
        findings.raise_errors(path)
        _check_categories(path, document["categories"], contents)
        _check_counts(path, split, document, contents)
        known = {category["id"] for category in document["categories"]}
        for image in document["images"]:
            _check_image(path, image, known)
        _check_polygons(path, document["annotations"])
        _check_files(path, split, document["images"], images, contents)
        print(f"lvis: {split}, {len(document['images'])} images and their annotations checked", flush=True)
    with making(folder, _made(annotations, images, contents)):
        pass


def _made(annotations: Mapping[str, Path], images: Path, contents: Contents) -> dict[str, object]:
    return {
        "version": VERSION,
        "annotations": {split: sha256_of(path) for split, path in annotations.items()},
        "images": str(images.resolve()),
        "counts": [dict(contents.images), dict(contents.instances)],
    }


def _check_categories(path: Path, categories: list[dict], contents: Contents) -> None:
    frequencies = Counter(category.get("frequency") for category in categories)
    if frequencies != contents.frequencies:
        raise DataError(
            f"{path}: field 'frequency' of the categories has {dict(frequencies)}, LVIS v1 has"
            f" {dict(contents.frequencies)}: this is another version or derived; {FETCH}"
        )
    if sorted(category["id"] for category in categories) != list(range(1, len(categories) + 1)):
        raise DataError(f"{path}: the categories' ids do not run from 1 to {len(categories)}; {FETCH}")


def _check_counts(path: Path, split: str, document: dict, contents: Contents) -> None:
    for field, expected in (("images", contents.images[split]), ("annotations", contents.instances[split])):
        if expected is not None and len(document[field]) != expected:
            raise DataError(f"{path}: {len(document[field])} {field}, LVIS v1's {split} has {expected}; {FETCH}")


def _check_image(path: Path, image: dict, known: set[int]) -> None:
    where = f"{path}: image {image['id']}"
    url = image.get("coco_url")
    if not isinstance(url, str) or file_name(image) != "/".join(PurePosixPath(url).parts[-2:]):
        raise DataError(
            f"{where}: `file_name` is {image.get('file_name')!r}, `coco_url` {url!r}; LVIS v1 has the URL only, whose"
            f" last two parts are folder and file: this is another version or derived; {FETCH}"
        )
    for field in LISTS:
        if not isinstance(image.get(field), list) or not known.issuperset(image[field]):
            raise DataError(f"{where}: `{field}` is no list of category ids; LVIS's evaluation needs it: {FETCH}")


def _check_polygons(path: Path, annotations: list[dict]) -> None:
    for annotation in annotations:
        polygons = annotation["segmentation"]
        if not isinstance(polygons, list) or not all(
            len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in polygons
        ):
            raise DataError(
                f"{path}: annotation {annotation['id']}: `segmentation` is not a list of polygons of three or more"
                f" points; {FETCH}"
            )


def _check_files(path: Path, split: str, images: list[dict], folder: Path, contents: Contents) -> None:
    names = [file_name(image) for image in images]
    counted = Counter(name.split("/")[0] for name in names)
    expected = contents.folders[split]
    if expected is not None and counted != expected:
        raise DataError(f"{path}: {dict(counted)} images by folder, LVIS v1's {split} has {dict(expected)}; {FETCH}")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        places = Counter(name.split("/")[0] for name in missing)
        absent = ", ".join(f"{count} of {place}" for place, count in places.items())
        raise DataError(
            f"{folder}: {len(missing)} of the {len(names)} images of LVIS's {split} are missing ({absent}), the first"
            f" is {missing[0]}; {path.name} names images of {' and '.join(sorted(counted))}: unpack COCO's archives of"
            " these names into this one folder"
        )
