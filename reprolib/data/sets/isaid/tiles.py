"""iSAID's tiles and the instances in one: the devkit's geometry and its rules of what is dropped.

Source: preprocess/split.py, preprocess/preprocess.py and instances2dict_with_polygons.py of
https://github.com/CAPTAIN-WHU/iSAID_Devkit at commit a671fd5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from pycocotools import mask as coco_mask
from scipy import ndimage

from reprolib.data.acquire.conversion import mask_fields

SIDE, STRIDE = 800, 600  # px: tiles overlap by 200
FIRST_ID = 1000  # smaller values of an id image are no instances
LEAST_AREA = 11  # px
AROUND = tuple((dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1))

Window = tuple[int, int, int, int]  # y0, y1, x0, x1 in px


@dataclass(frozen=True, kw_only=True)
class Tile:
    """annotations: category_id, iscrowd, bbox, area and segmentation (RLE) of the instances that are kept. classes: id
    in the id image -> category of all instances, also of those that are dropped. dropped: number by reason."""

    annotations: list[dict] = field(default_factory=list)
    classes: dict[int, int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)


def windows(height: int, width: int) -> list[Window]:
    """The windows of an image: 800 x 800 every 600 px, the last ones shifted back to end at the border; the whole image
    unless both its sides are longer than 800."""
    if min(height, width) <= SIDE:
        return [(0, height, 0, width)]
    return [(y, y + SIDE, x, x + SIDE) for x in _starts(width) for y in _starts(height)]


def tile_name(stem: str, window: Window, *, height: int, width: int) -> str:
    """File name of a window of the image `stem`; an image that is not cut keeps its name."""
    whole = window == (0, height, 0, width) and min(height, width) <= SIDE
    return f"{stem}.png" if whole else "_".join([stem, *map(str, window)]) + ".png"


def pack(rgb: np.ndarray) -> np.ndarray:
    """R + 256 G + 65536 B of uint8 [H, W, 3], int32 [H, W]."""
    red, green, blue = (rgb[..., channel].astype(np.int32) for channel in range(3))
    return red + (green << 8) + (blue << 16)


def instances(ids: np.ndarray, colours: np.ndarray, *, categories: Mapping[int, int]) -> Tile:
    """The instances of a tile, by ascending id.

    ids, colours: int32 [H, W], as `pack` gives them. categories: colour -> category id. An instance's class is the
    smallest colour under it. An instance is dropped, with all its parts, where one of its outer contours has fewer than
    three points, which is a part of one or two pixels, and where it has 10 px or fewer. What the border of the tile
    leaves of an instance is an instance, without any other limit. Raises KeyError with a colour that is no class's.
    """
    height, width = ids.shape
    columns, rows = np.nonzero(ids.T >= FIRST_ID)  # column after column, as RLEs count
    values = ids[rows, columns]
    if not values.size:
        return Tile()
    numbers, inverse, areas = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    first = np.concatenate(([0], np.cumsum(areas)[:-1]))
    colour = np.minimum.reduceat(colours[rows, columns][order], first)
    places = np.split((columns * height + rows)[order], first[1:])
    crumbled = _crumbled(ids)
    tile = Tile()
    for number, area, value, place in zip(numbers.tolist(), areas.tolist(), colour.tolist(), places, strict=True):
        category = tile.classes[number] = categories[value]
        if number in crumbled:
            tile.dropped["with a part of one or two pixels"] += 1
        elif area < LEAST_AREA:
            tile.dropped["of 10 pixels or fewer"] += 1
        else:
            fields = mask_fields(_encoded(place, height=height, width=width))
            tile.annotations.append({"category_id": category, "iscrowd": 0, **fields})
    return tile


def _starts(length: int) -> list[int]:
    return sorted({min(start, length - SIDE) for start in range(0, length, STRIDE)})


def _encoded(places: np.ndarray, *, height: int, width: int) -> dict:
    """Compressed RLE of pixels, given by ascending position column after column."""
    breaks = np.flatnonzero(np.diff(places) != 1)
    starts, ends = places[np.r_[0, breaks + 1]], places[np.r_[breaks, -1]] + 1
    edges = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(np.r_[0, edges, height * width])
    counts = counts[:-1] if counts[-1] == 0 else counts
    return coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)


def _crumbled(ids: np.ndarray) -> set[int]:
    """Ids with a part (8-connected) of one or two pixels that does not lie in a hole of another part."""
    there = ids >= FIRST_ID
    alike = [there & (shifted == ids) for shifted in _shifted(ids)]
    neighbours = np.sum(alike, axis=0, dtype=np.int8)
    single = there & (neighbours == 1)
    mutual = np.any([equal & other for equal, other in zip(alike, _shifted(single), strict=True)], axis=0)
    small = there & ((neighbours == 0) | (single & mutual))
    return {number for number in np.unique(ids[small]).tolist() if _outside(ids == number, small)}


def _outside(mask: np.ndarray, small: np.ndarray) -> bool:
    """Whether a pixel of both masks borders on the background that surrounds the first."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    cut = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    backgrounds, _ = ndimage.label(~np.pad(mask[cut], 1))  # 4-connected; the padding belongs to the surrounding one
    beside = ndimage.binary_dilation(backgrounds == backgrounds[0, 0])[1:-1, 1:-1]
    return bool((beside & mask[cut] & small[cut]).any())


def _shifted(values: np.ndarray) -> list[np.ndarray]:
    """The eight neighbours of every pixel, 0 beyond the border, each [H, W]."""
    height, width = values.shape
    padded = np.pad(values, 1)
    return [padded[dy : dy + height, dx : dx + width] for dy, dx in AROUND]
