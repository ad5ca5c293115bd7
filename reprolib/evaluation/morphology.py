"""A mask's own pixels out of its run-length encoding, and their erosion by a square."""

from __future__ import annotations

from collections.abc import Mapping

import hotcoco
import numpy as np


def cut_out(rle: Mapping[str, object], margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns of a mask's bounding box, `margin` pixels wider on each side but inside the image."""
    height, width = rle["size"]
    left, top, across, down = (int(value) for value in hotcoco.mask.to_bbox(rle))
    rows = slice(max(0, top - margin), min(height, top + down + margin))
    return rows, slice(max(0, left - margin), min(width, left + across + margin))


def decode(rle: Mapping[str, object]) -> np.ndarray:
    """A compressed RLE as Bool [H, W], column after column in memory."""
    return hotcoco.mask.decode(rle).view(bool)


def erode(mask: np.ndarray, reach: int, *, outside: bool) -> np.ndarray:
    """Keep the pixels whose whole neighbourhood of (2 reach + 1) x (2 reach + 1) pixels is set.

    The same as `reach` erosions by 3 x 3. A window of n pixels is the AND of two shifted windows of n/2, so a wide
    neighbourhood costs little more than a narrow one.

    Args:
        mask: Bool [H, W].
        reach: at least 1, in pixels: the largest of the horizontal and the vertical distance.
        outside: what the pixels beyond the array's border count as.

    Returns:
        Bool [H, W].
    """
    height, width = mask.shape
    window = np.full((height + 2 * reach, width + 2 * reach), outside, order="F")
    window[reach:-reach, reach:-reach] = mask
    for axis in (0, 1):
        along = window if axis == 0 else window.T
        done = 1
        while done < 2 * reach + 1:
            step = min(done, 2 * reach + 1 - done)
            along = along[:-step] & along[step:]
            done += step
        window = along if axis == 0 else along.T
    return window
