"""iSAID, objects in aerial images, from DOTA's images and its own id and colour images to tiles in COCO format.

Tiles and what is dropped are the devkit's (`reprolib.data.sets.isaid.tiles`), so its scores per tile can be compared.
It departs from the devkit in this: masks are RLEs of the exact pixels, where the devkit writes external contours, which
fill the holes of an object; `area` and `bbox` are the same numbers. Ids start at 1 in either split, and classes keep
the devkit's ids, in their order. Tiles without an object are kept.

The labels are made from the id and colour images because the published iSAID_{train,val}.json number their classes
differently from each other and lack sizes. The test split's masks are withheld: scores are those of `val`. The devkit
evaluates with 1,000 detections per tile and size classes that end at 144 and 512 px squared; COCO's own settings give
other numbers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from reprolib.data.acquire.conversion import coco_document, is_whole, making, write_document
from reprolib.data.acquire.progress import counted, require_space
from reprolib.data.errors import DataError
from reprolib.data.sets.isaid.labels import CLASSES
from reprolib.data.sets.isaid.tiles import Tile, Window, instances, pack, tile_name, windows

VERSION = 1  # raise it when the conversion writes something else: prepared sets are then made again
CATEGORIES = {colour: number for number, (_, colour) in enumerate(CLASSES, start=1)}
SKIPPED = ("P1527", "P1530")  # by the devkit, in every split
IDS, COLOURS = "_instance_id_RGB", "_instance_color_RGB"
FILE = re.compile(rf"(P\d+)({IDS}|{COLOURS}|)\.png")
PLACE = (
    "place in {folder}, at any depth, DOTA v1.0's P####.png and, unpacked from Instance_masks/images.zip and"
    f" Semantic_masks/images.zip of iSAID, P####{IDS}.png and P####{COLOURS}.png"
)
UNPACK = "unpack the published archives again"
PNG_LEVEL = 1  # three times as fast as Pillow's own 6


@dataclass(frozen=True, kw_only=True)
class Contents:
    """By split: images that the source must hold; tiles and instances as reported of the whole set, which are compared
    and printed, no more, since they come from other tools."""

    images: Mapping[str, int]
    tiles: Mapping[str, int]
    instances: Mapping[str, int]


@cache
def published() -> Contents:
    """The whole set, without `test`."""
    return Contents(
        images={"train": 1_411, "val": 458},
        tiles={"train": 28_029, "val": 9_512},
        instances={"train": 358_166, "val": 117_272},
    )


@dataclass(frozen=True, kw_only=True)
class _Files:
    """An image and its masks."""

    image: Path
    ids: Path
    colours: Path


def is_prepared(source: Path, folder: Path, *, contents: Contents) -> bool:
    """Whether `folder` holds the set's tiles, as this version writes them; tiles are not counted. `source` may be gone
    or elsewhere by now: unlike sets whose images are read where they are, the tiles are all that is needed."""
    return is_whole(folder, _made(contents))


def convert(source: Path, folder: Path, *, contents: Contents) -> None:
    """Write `<folder>/images/{train,val}/<tile>.png` and `<folder>/annotations/{train,val}.json`; `folder` appears
    whole or not at all, and replaces what was there. Interrupted, it goes on after the last whole image.

    source: has a folder for each split with, at any depth, DOTA's `P####.png` and iSAID's `P####_instance_id_RGB.png`
    and `P####_instance_color_RGB.png`. One image is in memory at a time, 4 bytes per pixel and file. The JSON's `info`
    counts images and instances before the tiling, in `source`. Raises DataError for images that are missing,
    unreadable or of unequal sizes, for colours of no class, and for less disk space than the tiles take.
    """
    with making(folder, _made(contents), source=source, resume=True) as part:
        split_files = {split: _files(source / split, count) for split, count in contents.images.items()}
        to_do = [
            (files, part / "images" / split, part / "records" / split / f"{stem}.json")
            for split, by_stem in split_files.items()
            for stem, files in by_stem.items()
        ]
        _check_space(part, [files for files, _, record in to_do if not record.is_file()])
        for files, tiles, record in counted(to_do, "isaid:", "images tiled"):
            if not record.is_file():
                write_document(record, _convert_image(files, tiles))
        for split, by_stem in split_files.items():
            records = [part / "records" / split / f"{stem}.json" for stem in by_stem]
            document = _document(records, images=contents.images[split])
            _tell(split, document, contents)
            write_document(part / f"annotations/{split}.json", document)
    shutil.rmtree(folder / "records")


def _made(contents: Contents) -> dict[str, object]:
    return {"version": VERSION, "images": dict(contents.images)}


def _files(folder: Path, count: int) -> dict[str, _Files]:
    """By stem, in ascending order, without those that are skipped."""
    places: dict[str, Path] = {}
    # `rglob` would not follow links to folders, which is how large sets are often put together.
    walked = (Path(place) / name for place, _, names in os.walk(folder, followlinks=True) for name in names)
    for path in sorted(walked):
        if FILE.fullmatch(path.name) and places.setdefault(path.name, path) != path:
            raise DataError(f"{folder}: holds both {places[path.name]} and {path}; keep one copy of the set")
    stems = sorted(match[1] for name in places if (match := FILE.fullmatch(name)) and not match[2])
    if len(stems) != count:
        raise DataError(
            f"{folder}: {len(stems)} images P####.png, there must be {count}; {PLACE.format(folder=folder)}"
        )
    by_stem = {}
    for stem in stems:
        if stem in SKIPPED:
            continue
        for ending in (IDS, COLOURS):
            if f"{stem}{ending}.png" not in places:
                raise DataError(f"{folder}: {stem}{ending}.png is missing; {PLACE.format(folder=folder)}")
        image, ids, colours = (places[f"{stem}{ending}.png"] for ending in ("", IDS, COLOURS))
        by_stem[stem] = _Files(image=image, ids=ids, colours=colours)
    return by_stem


def _check_space(folder: Path, to_do: list[_Files]) -> None:
    """Tiles are assumed to take as many bytes per pixel as the images that they are cut from."""
    needed = 0.0
    for files in to_do:
        with _opened(files.image) as image:
            pixels = sum((y1 - y0) * (x1 - x0) for y0, y1, x0, x1 in windows(image.height, image.width))
            needed += files.image.stat().st_size * pixels / (image.width * image.height)
    require_space(folder, needed, what="isaid: the tiles take about", mend="make room or give another root")


def _convert_image(files: _Files, folder: Path) -> dict:
    """Write the tiles of an image to `folder`; returns what its record holds."""
    folder.mkdir(parents=True, exist_ok=True)
    with _opened(files.ids) as ids, _opened(files.colours) as colours:
        size = ids.size
        if colours.size != size:
            raise DataError(f"{files.colours}: {_by(colours.size)}, {files.ids.name} is {_by(size)}; {UNPACK}")
        cut = windows(size[1], size[0])
        by_window = {window: _instances(files, ids, colours, window) for window in cut}
    with _opened(files.image) as image:
        if image.size != size:
            raise DataError(f"{files.image}: {_by(image.size)}, {files.ids.name} is {_by(size)}; {UNPACK}")
        names = [tile_name(files.image.stem, window, height=size[1], width=size[0]) for window in cut]
        for name, window in zip(names, cut, strict=True):
            if name == files.image.name:
                shutil.copyfile(files.image, folder / name)
            else:
                _read(image, files.image, window).save(folder / name, compress_level=PNG_LEVEL)
    tiles = [
        {"file_name": name, "width": x1 - x0, "height": y1 - y0, "annotations": by_window[y0, y1, x0, x1].annotations}
        for name, (y0, y1, x0, x1) in zip(names, cut, strict=True)
    ]
    classes = {number: category for tile in by_window.values() for number, category in tile.classes.items()}
    dropped = sum((tile.dropped for tile in by_window.values()), Counter())
    return {
        "tiles": tiles,
        "classes": Counter(CLASSES[number - 1][0] for number in classes.values()),
        "dropped": dropped,
    }


def _instances(files: _Files, ids: Image.Image, colours: Image.Image, window: Window) -> Tile:
    packed = [
        pack(np.asarray(_read(image, path, window))) for image, path in ((ids, files.ids), (colours, files.colours))
    ]
    try:
        return instances(*packed, categories=CATEGORIES)
    except KeyError as error:
        colour = error.args[0]
        rgb = (colour & 255, colour >> 8 & 255, colour >> 16)
        raise DataError(
            f"{files.colours}: RGB {rgb} under an instance of {files.ids.name} is no class; {UNPACK}"
        ) from None


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the largest are 13,000 px wide
            opened = Image.open(path)
        with opened:
            yield opened
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: unreadable image ({error}); {UNPACK}") from None


def _read(image: Image.Image, path: Path, window: Window) -> Image.Image:
    """A window of an image in RGB."""
    y0, y1, x0, x1 = window
    try:
        return image.crop((x0, y0, x1, y1)).convert("RGB")
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path}: unreadable image ({error}); {UNPACK}") from None


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} (width x height)"


def _document(records: list[Path], *, images: int) -> dict:
    """COCO format from the records of a split."""
    tiles: list[dict] = []
    annotations: list[dict] = []
    classes, dropped = Counter({name: 0 for name, _ in CLASSES}), Counter()
    for path in records:
        record = json.loads(path.read_text())
        classes.update(record["classes"])
        dropped.update(record["dropped"])
        for tile in record["tiles"]:
            in_tile = tile.pop("annotations")
            tiles.append({"id": len(tiles) + 1, **tile})
            annotations += [{"image_id": len(tiles), **annotation} for annotation in in_tile]
    source = {"images": images, "instances": classes.total(), "classes": dict(classes)}
    return coco_document(
        info={
            "description": "iSAID, tiles of 800 px every 600 px; academic use only",
            "url": "https://captain-whu.github.io/iSAID/",
            "source": source,
            "dropped": dict(dropped),
        },
        categories=[{"id": number, "name": name} for number, (name, _) in enumerate(CLASSES, start=1)],
        images=tiles,
        annotations=annotations,
    )


def _tell(split: str, document: dict, contents: Contents) -> None:
    """Print the counts beside those reported, and what was dropped."""
    counts = (
        ("tiles", len(document["images"]), contents.tiles[split]),
        ("instances before the tiling", document["info"]["source"]["instances"], contents.instances[split]),
    )
    for what, actual, reported in counts:
        state = "as reported" if actual == reported else f"{actual - reported:+,} against the {reported:,} reported"
        print(f"isaid: {split}, {actual:,} {what}, {state}", flush=True)
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in document["info"]["dropped"].items()) or "none"
    print(f"isaid: {split}, {len(document['annotations']):,} instances in tiles; dropped: {dropped}", flush=True)
