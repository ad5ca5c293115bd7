"""HRSID, ships in radar images, from its unpacked folder to COCO format: the official split and one by scenes.

Split `official`: train2017.json and test2017.json, 3,642/1,962 images. The merged train_test2017.json has 18 ships
fewer than both together and is not used; image ids start at 0 in every file, so images are joined by file name. The
test set is divided into inshore and offshore too: by the file names in `inshore_offshore/`, with the labels of
test2017.json, since those files repeat the merged file's. 135 of 136 scenes, of which the images are overlapping tiles,
occur in train and in test: scores on `official` say little about scenes never seen. Split `scenes` is the suite's own
and comparable with no publication: no scene in both, nor one of each pair of scenes that share an identical image.

Neither has a validation set: what the suite calls `val` is the test set, as in the publications. Ids start at 1; box
and area are the mask's, and `segmentation` is the source's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reprolib.data import masks
from reprolib.data.acquire.conversion import (
    check_count,
    check_images,
    coco_document,
    is_whole,
    making,
    mask_fields,
    part_of,
    write_document,
)
from reprolib.data.acquire.drawing import draw_groups
from reprolib.data.document import check_document, read_document
from reprolib.data.errors import DataError
from reprolib.data.findings import Findings

VERSION = 1  # raise it when the conversion writes something else: prepared sets are then made again
SPLITS = ("official", "scenes")
TEST_SHARE = 0.35  # of split `scenes`, as in the official one
# Each pair has one image in common, byte for byte, with different labels.
SAME_IMAGE = (("P0105", "P0106"), ("P0115", "P0116"), ("P0133", "P0135"))
SOURCES = {"train": "annotations/train2017.json", "test": "annotations/test2017.json"}
SHORES = ("inshore", "offshore")
UNPACK = "unpack HRSID_JPG.zip and give the folder HRSID_JPG"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the source must hold: by annotation file below `annotations/official/`, without its ending, images and ships
    (None: not published)."""

    counts: Mapping[str, tuple[int, int | None]]


@cache
def published() -> Contents:
    """HRSID_JPG.zip with inshore and offshore lists; no checksum of it is published."""
    counts = {"train": (3_642, 11_047), "test": (1_962, 5_922)}
    return Contents(counts=counts | {"test_inshore": (369, None), "test_offshore": (1_593, None)})


def is_prepared(source: Path, folder: Path, *, contents: Contents) -> bool:
    """Whether `folder` holds the annotations of `source`, as this version writes them."""
    return is_whole(folder, _made(source, contents))


def convert(source: Path, folder: Path, *, contents: Contents) -> None:
    """Write `<folder>/annotations/official/{train,test,test_inshore,test_offshore}.json` and
    `<folder>/annotations/scenes/{train,test}.json`; `folder` appears whole or not at all, and replaces what was there.

    source: HRSID_JPG or the folder that it lies in; images are read where they are, see `images_folder`. An older
    release has no `inshore_offshore/`: then the two files of the shores are left out, and that is printed. Image ids
    are the positions from 1 on in the sorted list of all names. Raises DataError for labels and images that are
    missing, unreadable or not the published ones.
    """
    with making(folder, _made(source, contents), source=source) as part:
        root = _root(source)
        documents = {side: _read(root / path) for side, path in SOURCES.items()}
        names = {side: {image["file_name"] for image in document["images"]} for side, document in documents.items()}
        if both := names["train"] & names["test"]:
            raise DataError(f"{root}: {min(both)} is in train2017.json and in test2017.json; {UNPACK}")
        document = _together(root, documents)
        official = names | _shores(root, names["test"])
        for name, chosen in official.items():
            written = part_of(document, chosen, of=f"the list {name}")
            check_count(written, *contents.counts[name], where=f"{root}: {name}", mend=UNPACK)
            write_document(part / f"annotations/official/{name}.json", written)
        test = set(choose_test(names["train"] | names["test"]))
        for side, chosen in (("train", (names["train"] | names["test"]) - test), ("test", test)):
            write_document(part / f"annotations/scenes/{side}.json", part_of(document, chosen, of="split `scenes`"))
        check_images(root / "JPEGImages", document["images"], name="hrsid")


def images_folder(source: Path) -> Path:
    """The folder of the JPEG images. Raises DataError where `source` holds no HRSID_JPG."""
    return _root(source) / "JPEGImages"


def choose_test(names: Collection[str]) -> list[str]:
    """The file names, sorted, of the test set of split `scenes`: whole scenes, drawn while 35% of all images have room.

    The scene is what comes before the first `_`; scenes that share an image count as one.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    first_of = {second: first for first, second in SAME_IMAGE}
    for name in names:
        scene = name.split("_")[0]
        groups[first_of.get(scene, scene)].append(name)
    return draw_groups(groups.values(), share=TEST_SHARE)


def _made(source: Path, contents: Contents) -> dict[str, object]:
    counts = {name: list(numbers) for name, numbers in contents.counts.items()}
    return {"version": VERSION, "source": str(source.resolve()), "counts": counts}


def _root(source: Path) -> Path:
    for root in (source, *sorted(source.glob("HRSID_JPG")), *sorted(source.glob("*/HRSID_JPG"))):
        if (root / SOURCES["train"]).is_file():
            return root
    raise DataError(f"{source}: no {SOURCES['train']} in it; {UNPACK}")


def _read(path: Path) -> dict:
    document = read_document(path)
    findings = Findings()
    check_document(document, findings)
    findings.raise_errors(path)
    names = [category["name"] for category in document["categories"]]
    if names != ["ship"]:
        raise DataError(f"{path}: field 'categories' names {', '.join(names)}, HRSID's only class is ship; {UNPACK}")
    return document


def _together(root: Path, documents: Mapping[str, dict]) -> dict:
    """One document of both sides, numbered from 1 by file name."""
    files = sorted(image["file_name"] for document in documents.values() for image in document["images"])
    numbers = {name: number for number, name in enumerate(files, start=1)}
    images, ships = [], []
    for side, document in documents.items():
        named = {image["id"]: image for image in document["images"]}
        images += [
            {"id": numbers[image["file_name"]]} | {key: image[key] for key in ("file_name", "width", "height")}
            for image in document["images"]
        ]
        for annotation in document["annotations"]:
            image = named[annotation["image_id"]]
            where = f"{root / SOURCES[side]}: annotation {annotation['id']}"
            ships.append((numbers[image["file_name"]], _ship(annotation, image, where)))
    ships.sort(key=lambda ship: ship[0])  # stable: within an image, the order of the source
    return coco_document(
        info={"description": "HRSID", "url": "https://github.com/chaozhong2010/HRSID"},
        categories=[{"id": 1, "name": "ship"}],
        images=sorted(images, key=lambda image: image["id"]),
        annotations=({"image_id": image, "category_id": 1} | fields for image, fields in ships),
    )


def _ship(annotation: dict, image: dict, where: str) -> dict:
    try:
        rle, dropped = masks.to_rle(annotation["segmentation"], height=image["height"], width=image["width"])
    except masks.MaskError as error:
        raise DataError(f"{where}: {error}; {UNPACK}") from None
    if rle is None or dropped:
        raise DataError(f"{where}: `segmentation` holds a polygon with fewer than three points; {UNPACK}")
    return {"iscrowd": 0, **mask_fields(rle, segmentation=annotation["segmentation"])}


def _shores(root: Path, test: set[str]) -> dict[str, set[str]]:
    """The test images by shore; nothing for a release without these lists."""
    folder = root / "inshore_offshore"
    if not folder.is_dir():
        print(f"hrsid: {folder} is missing, as in an older release: no annotations by shore are written", flush=True)
        return {}
    parts = {}
    for shore in SHORES:
        listed = read_document(folder / f"{shore}.json")["images"]
        parts[f"test_{shore}"] = {image.get("file_name") for image in listed} & test
    inshore, offshore = parts.values()
    if odd := (inshore & offshore) | (test - inshore - offshore):
        raise DataError(f"{folder}: {min(odd)} is in both of its files or in none; {UNPACK}")
    return parts
