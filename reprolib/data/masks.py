"""Segmentations in any of COCO's three notations, as compressed RLE in memory and as pixels on demand.

pycocotools reads beyond its buffer when a malformed RLE or polygon reaches it, so everything is checked here
first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pycocotools import mask as coco_mask

Rle = dict  # {"size": [height, width], "counts": bytes}, as pycocotools takes it


class MaskError(ValueError):
    """A segmentation that no tool could read; the message says what and how to mend it."""


def to_rle(segmentation: object, *, height: int, width: int) -> tuple[Rle | None, int]:
    """Compressed RLE of a segmentation and how many degenerate polygons were left out of it.

    Degenerate polygons have fewer than three points or an odd number of coordinates; detectron2 leaves them
    out too. The RLE is None where no polygon remains. Raises MaskError.
    """
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, height=height, width=width)
    if isinstance(segmentation, dict):
        return _from_rle(segmentation, height=height, width=width), 0
    raise MaskError(f"`segmentation` is {type(segmentation).__name__}; it must be a list of polygons or an RLE object")


def decode(rles: Sequence[Rle], *, height: int, width: int) -> torch.Tensor:
    """Masks uint8 [N, H, W] of 0 and 1.

    Only the columns of a mask's box are written, which on scenes of many small objects is 2 to 20 times as fast as
    pycocotools' decoder and a transposition.
    """
    pixels = np.zeros((len(rles), height, width), np.uint8)
    for mask, rle, box in zip(pixels, rles, boxes(rles).int().tolist(), strict=True):
        x0, y0, x1, y1 = box
        runs = _decode_counts(rle["counts"])
        runs[0] -= x0 * height  # runs go down the columns: these pixels are left of the box
        if runs[0] < 0:  # begins with empty runs: allowed, but rare
            mask[:] = coco_mask.decode([rle])[..., 0]
            continue
        columns = np.repeat(np.arange(len(runs), dtype=np.uint8) & 1, runs)[: (x1 - x0) * height]
        mask[y0:y1, x0:x1] = columns.reshape(x1 - x0, height)[:, y0:y1].T
    return torch.from_numpy(pixels)


def boxes(rles: Sequence[Rle]) -> torch.Tensor:
    """Boxes float32 [N, 4], x0 y0 x1 y1 in px: the outer edges of the outermost pixels."""
    if not rles:
        return torch.zeros((0, 4))
    sides = torch.from_numpy(coco_mask.toBbox(list(rles))).float()
    sides[:, 2:] += sides[:, :2]
    return sides


def areas(rles: Sequence[Rle]) -> torch.Tensor:
    """Number of pixels, float32 [N]."""
    # One by one: pycocotools 2.0.11 overflows on a list of more than 255 masks.
    return torch.tensor([float(coco_mask.area(rle)) for rle in rles])


def count_foreground(rles: Sequence[Rle]) -> int:
    """Pixels covered by at least one of the masks."""
    return int(coco_mask.area(coco_mask.merge(list(rles)))) if rles else 0


def _from_polygons(polygons: list, *, height: int, width: int) -> tuple[Rle | None, int]:
    usable = []
    for polygon in polygons:
        if not isinstance(polygon, list):
            raise MaskError("a polygon is not a list of numbers; `segmentation` is a list of lists [x, y, x, y, ...]")
        try:
            points = np.asarray(polygon)
        except ValueError:  # lists of unequal length
            points = None
        if points is None or points.ndim != 1 or points.dtype.kind not in "iuf":
            raise MaskError("a polygon holds something that is not a number")
        if not np.isfinite(points).all():
            raise MaskError("a polygon holds NaN or infinity")
        if len(points) >= 6 and len(points) % 2 == 0:
            reach = np.abs(points.reshape(-1, 2) / (width, height) - 0.5).max()
            if reach > 1.5:  # the memory of rasterising it would grow with its length
                raise MaskError("a polygon lies farther outside its image than the image is large")
            usable.append(polygon)
    dropped = len(polygons) - len(usable)
    if not usable:
        return None, dropped
    return coco_mask.merge(coco_mask.frPyObjects(usable, height, width)), dropped


def _from_rle(rle: dict, *, height: int, width: int) -> Rle:
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list) or size != [height, width]:
        raise MaskError(f"the RLE's size is {size}, its image's [height, width] is [{height}, {width}]")
    if isinstance(counts, list):
        if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
            raise MaskError("the RLE's counts must be whole numbers from 0 on")
        if sum(counts) != height * width:
            raise MaskError(f"the RLE's counts add up to {sum(counts)}, not to {height} x {width}")
        return coco_mask.frPyObjects({"size": size, "counts": counts}, height, width)
    if not isinstance(counts, str):
        raise MaskError(f"the RLE's counts are {type(counts).__name__}, not a list or text")
    encoded = counts.encode("utf-8")
    runs = _decode_counts(encoded)
    if runs is None or (runs < 0).any() or int(runs.sum()) != height * width:
        raise MaskError(f"the RLE's text does not describe {height} x {width} pixels")
    return {"size": size, "counts": encoded}


def _decode_counts(text: bytes) -> np.ndarray | None:
    """Run lengths of compressed counts, None where the text is none.

    Five bits per character, lowest first; bit 5 says that more follow, bit 4 of the last is the sign. From
    the fourth run on, what is written is the difference from the run two before.
    """
    characters = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if len(characters) == 0 or characters.min() < 0 or characters.max() > 63 or characters[-1] & 32:
        return None
    last = np.flatnonzero((characters & 32) == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > 7:
        return None  # beyond 32 bits
    place = np.arange(len(characters)) - np.repeat(first, lengths)
    values = np.add.reduceat((characters & 31) << (5 * place), first)
    values -= np.where(characters[last] & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
