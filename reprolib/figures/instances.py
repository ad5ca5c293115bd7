"""Instances of COCO files for pictures: read, decoded, drawn. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes


def by_image(items: Iterable[Mapping], *, score: float = 0.0, crowds: bool = False) -> dict[object, list[Mapping]]:
    """Annotations or results by image id, without results scored less than `score`; crowds: with crowds too."""
    grouped: dict[object, list[Mapping]] = {}
    for item in items:
        if (crowds or not item.get("iscrowd")) and item.get("score", score) >= score:
            grouped.setdefault(item["image_id"], []).append(item)
    return grouped


def read_pixels(path: str | Path) -> np.ndarray:
    """Any image file as uint8 [H, W, 3]; 16-bit data are stretched to their own range."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as picture:
        if picture.mode.startswith("I") or picture.mode == "F":
            values = np.asarray(picture, dtype=float)
            span = max(float(values.max() - values.min()), 1e-9)
            picture = Image.fromarray(((values - values.min()) / span * 255).astype("uint8"))
        return np.asarray(picture.convert("RGB"))


def as_rle(shape: list | Mapping, height: int, width: int) -> Mapping:
    """Polygons, or an RLE of either kind, as compressed RLE."""
    from pycocotools import mask as coco_mask

    if isinstance(shape, list):
        return coco_mask.merge(coco_mask.frPyObjects(shape, height, width))
    return coco_mask.frPyObjects(shape, height, width) if isinstance(shape["counts"], list) else shape


def pixel_mask(shape: list | Mapping, height: int, width: int) -> np.ndarray:
    """Polygons or RLE as bool [height, width]."""
    from pycocotools import mask as coco_mask

    return coco_mask.decode(as_rle(shape, height, width)).astype(bool)


def draw_mask(axes: Axes, mask: np.ndarray, colour: str) -> None:
    """Fill and outline one mask, bool [H, W]."""
    import numpy as np
    from matplotlib.colors import to_rgb

    fill = np.zeros((*mask.shape, 4))
    fill[mask] = (*to_rgb(colour), 0.45)
    axes.imshow(fill, interpolation="nearest")
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors=[colour], linewidths=0.9)
