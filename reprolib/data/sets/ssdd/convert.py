"""SSDD, ships in radar images, from its unpacked folder to COCO format: two label sets, two splits.

Labels `official`: the XML files of `PSeg_SSDD/voc_style` in Official-SSDD-OPEN, 2,587 ships. Labels `hq_isnet`: the
older `SSDD.json` of HQ-ISNet, 2,586 ships on the same 1,160 images (000225.jpg has one fewer), the only other
difference being polygons between whole pixels; its ids start at 0, its areas exceed the masks' and its boxes the
polygons' by 1 px. Either way ids start at 1 here, box and area are the mask's, and `segmentation` is the source's.

Split `official`: files whose number ends in 1 or 9 are the test set, 928/232, which is MAI-SE-Net's 4:1; its test set
is divided into inshore and offshore too. Split `own`: the suite's own 812/348, for Insight Any Instance, whose 7:3 list
is unpublished, and which says neither which labels it has (its 2,456 ships are those of SSDD's first release, which had
boxes only). No split has a validation set: what the suite calls `val` is the test set, as in these publications.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from reprolib.data.acquire.conversion import (
    check_count,
    check_images,
    coco_document,
    is_whole,
    making,
    part_of,
    polygon_fields,
    split_names,
    write_document,
)
from reprolib.data.acquire.drawing import draw_stratified
from reprolib.data.errors import DataError

VERSION = 1  # raise it when the conversion writes something else: prepared sets are then made again
TEST_SHARE, MANY_SHIPS = 0.3, 5  # of split `own`; images with this many ships or more are one stratum
VOC = "PSeg_SSDD/voc_style"
UNPACK = "unpack Official-SSDD-OPEN.rar and give the folder that it unpacks to"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the source must hold.

    counts: by annotation file below `annotations/`, without its ending: images and ships. json: sha256 of SSDD.json
    ("": the labels are XML files). manifest: sha256 over the lines `<sha256>  <name>\\n` of the XML files, sorted by
    name, in the copy that is known. inshore, own_test: names of the images in these lists.
    """

    counts: Mapping[str, tuple[int, int]]
    inshore: tuple[str, ...]
    own_test: tuple[str, ...]
    json: str = ""
    manifest: str = ""


@cache
def official() -> Contents:
    """Official-SSDD-OPEN. Its XML files are known from a git copy: others are taken, and that is printed."""
    return Contents(
        counts={
            "official/train": (928, 2_041),
            "official/test": (232, 546),
            "official/test_inshore": (46, 172),
            "official/test_offshore": (186, 374),
            "own/train": (812, 1_814),
            "own/test": (348, 773),
        },
        inshore=split_names("ssdd_test_inshore"),
        own_test=split_names("ssdd_own_test"),
        manifest="a655977f38a019d0e365c2aa10b13e1c8bfa83dc127903e9762ab6c8b5da3fe6",
    )


@cache
def hq_isnet() -> Contents:
    """SSDD.json of chaozhong2010/VHR-10_dataset_coco at commit ce0ba0f5."""
    known = official()
    return Contents(
        counts=known.counts | {"official/train": (928, 2_040), "own/test": (348, 772)},
        inshore=known.inshore,
        own_test=known.own_test,
        json="a49482ff100d356bf06b52c86ff5f9aec0236d60577032dbb1da418b78ec327b",
    )


LABELS = {"official": official, "hq_isnet": hq_isnet}  # by the option `labels`


def is_prepared(source: Path, folder: Path, *, contents: Contents) -> bool:
    """Whether `folder` holds the annotations of `source`, as this version writes them."""
    return is_whole(folder, _made(source, contents))


def convert(source: Path, folder: Path, *, contents: Contents, annotations: Path | None = None) -> None:
    """Write `<folder>/annotations/official/{train,test,test_inshore,test_offshore}.json` and
    `<folder>/annotations/own/{train,test}.json`; `folder` appears whole or not at all, and replaces what was there.

    source: what Official-SSDD-OPEN.rar unpacks to, however deep its folder of that name lies, or, for labels
    `hq_isnet`, any folder of the images; images are read where they are, see `images_folder`. annotations: SSDD.json
    where it is not in the source. Image ids are the positions from 1 on in the sorted list of all names. Raises
    DataError for labels, lists and images that are missing, unreadable or not the published ones.
    """
    with making(folder, _made(source, contents), source=source) as part:
        document = _from_json(source, annotations, contents) if contents.json else _from_xml(source, contents)
        check_images(images_folder(source), document["images"], name="ssdd")
        for name, names in _parts(source, document, contents).items():
            written = part_of(document, names, of=f"the list of {name}")
            check_count(written, *contents.counts[name], where=f"{source}: {name}", mend=UNPACK)
            write_document(part / "annotations" / f"{name}.json", written)


def images_folder(source: Path) -> Path:
    """The folder of the JPEG images. Raises DataError where there is none."""
    below = [voc / "JPEGImages" for voc in _voc_folders(source)]
    for place in (*below, source / "JPEGImages", source / "images", source):
        if next(place.glob("*.jpg"), None):
            return place
    raise DataError(f"{source}: no images in {VOC}/JPEGImages, JPEGImages or images; {UNPACK}")


def choose_test(ships: Mapping[str, int]) -> list[str]:
    """How the committed list `splits/ssdd_own_test.txt` was drawn from SSDD.json: file names, sorted.

    ships: file name -> number of ships. Images with as many ships, or with five or more, are a stratum, and 30% of
    each are drawn.
    """
    return draw_stratified({name: min(count, MANY_SHIPS) for name, count in ships.items()}, share=TEST_SHARE)


def _made(source: Path, contents: Contents) -> dict[str, object]:
    lists = hashlib.sha256(json.dumps([contents.inshore, contents.own_test]).encode()).hexdigest()
    labels = contents.json or contents.manifest
    return {"version": VERSION, "source": str(source.resolve()), "labels": labels, "lists": lists}


def _parts(source: Path, document: dict, contents: Contents) -> dict[str, set[str]]:
    """The file names of every annotation file. Raises DataError where the source's lists are others."""
    names = {image["file_name"] for image in document["images"]}
    test = {name for name in names if name.removesuffix(".jpg")[-1] in "19"}
    inshore = set(contents.inshore)
    parts = {"train": names - test, "test": test, "test_inshore": inshore, "test_offshore": test - inshore}
    if not contents.json:
        folder = _voc_folder(source) / "ImageSets" / "Main"
        for name, expected in parts.items():
            listed = _listed(folder / f"{name}.txt")
            if listed != expected:
                odd = min(listed ^ expected)
                raise DataError(
                    f"{folder / name}.txt: {odd} is {'in' if odd in listed else 'not in'} it, against the official"
                    f" split (test: numbers that end in 1 or 9; inshore: 46 of them); {UNPACK}"
                )
    own = set(contents.own_test)
    return {f"official/{name}": part for name, part in parts.items()} | {"own/train": names - own, "own/test": own}


def _listed(path: Path) -> set[str]:
    try:
        return {f"{line}.jpg" for line in path.read_text().split()}  # the lines end in CR LF
    except OSError as error:
        raise DataError(f"{path}: unreadable list ({error.strerror}); {UNPACK}") from None


def _voc_folders(source: Path) -> list[Path]:
    """Where `PSeg_SSDD/voc_style` lies: some archives unpack to Official-SSDD-OPEN/Official-SSDD-OPEN."""
    own = [source] if (source / "Annotations").is_dir() else []
    return own + [folder for above in ("", "*/", "*/*/") for folder in sorted(source.glob(above + VOC))]


def _voc_folder(source: Path) -> Path:
    folders = _voc_folders(source)
    if len(folders) != 1:
        state = f"holds both {folders[0]} and {folders[1]}" if folders else f"holds no {VOC}"
        raise DataError(f"{source}: {state}; {UNPACK}")
    return folders[0]


def _from_xml(source: Path, contents: Contents) -> dict:
    folder = _voc_folder(source) / "Annotations"
    files = sorted(folder.glob("*.xml"))
    manifest = hashlib.sha256()
    images, polygons = [], []
    for number, file in enumerate(files, start=1):
        content = file.read_bytes()
        manifest.update(f"{hashlib.sha256(content).hexdigest()}  {file.name}\n".encode())
        image, ships = _read_xml(file, content)
        images.append({"id": number} | image)
        polygons += [(number, [polygon]) for polygon in ships]
    if manifest.hexdigest() != contents.manifest:
        print(
            f"ssdd: the annotations have the manifest {manifest.hexdigest()}, those of the known copy"
            f" {contents.manifest}: their bytes differ, be it in line endings; their counts are checked",
            flush=True,
        )
    return _document(images, polygons)


def _read_xml(file: Path, content: bytes) -> tuple[dict, list[list[int]]]:
    """File name and size of an image, and the polygon of each ship."""
    try:
        root = ElementTree.fromstring(content)
        size = {side: int(root.findtext(f"size/{side}", "")) for side in ("width", "height")}
        polygons = [list(_points(item)) for item in root.iter("object")]
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{file}: not an annotation of {VOC} ({error}); {UNPACK}") from None
    name = f"{file.stem}.jpg"
    if root.findtext("filename") != name:
        raise DataError(f"{file}: `filename` is {root.findtext('filename')!r}, it must be {name}; {UNPACK}")
    return {"file_name": name} | size, polygons


def _points(item: ElementTree.Element) -> Iterator[int]:
    """x, y, x, y, ... of an object. Raises ValueError."""
    if item.findtext("name") != "ship":
        raise ValueError(f"an object's `name` is {item.findtext('name')!r}, the only class is ship")
    points = [point.text or "" for point in item.iterfind("segm/point")]
    if len(points) < 3:
        raise ValueError(f"an object has {len(points)} `segm/point`, a polygon has three or more")
    for point in points:
        x, y = point.split(",")
        yield from (int(x), int(y))


def _from_json(source: Path, annotations: Path | None, contents: Contents) -> dict:
    path = annotations or source / "SSDD.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: unreadable ({error.strerror}); fetch SSDD.json, see the card of ssdd, and place it there or name"
            " it in the option `annotations`"
        ) from None
    if (digest := hashlib.sha256(content).hexdigest()) != contents.json:
        raise DataError(f"{path}: sha256 {digest}, the published SSDD.json has {contents.json}; fetch it again")
    published = json.loads(content)
    ordered = sorted(published["images"], key=lambda image: image["file_name"])
    numbers = {image["id"]: number for number, image in enumerate(ordered, start=1)}
    images = [
        {"id": number} | {key: image[key] for key in ("file_name", "width", "height")}
        for number, image in enumerate(ordered, start=1)
    ]
    return _document(images, [(numbers[a["image_id"]], a["segmentation"]) for a in published["annotations"]])


def _document(images: list[dict], ships: list[tuple[int, list]]) -> dict:
    """COCO format from images and, per ship, its image's id and its polygons."""
    sizes = {image["id"]: {side: image[side] for side in ("height", "width")} for image in images}
    return coco_document(
        info={"description": "SSDD", "url": "https://github.com/TianwenZhang0825/Official-SSDD"},
        categories=[{"id": 1, "name": "ship"}],
        images=images,
        annotations=(
            {"image_id": image, "category_id": 1, "iscrowd": 0} | polygon_fields(polygons, **sizes[image])
            for image, polygons in ships
        ),
    )
