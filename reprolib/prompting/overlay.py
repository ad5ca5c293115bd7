"""Masks, prompts, classes and scores drawn over their image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from torch import Tensor

from reprolib.evaluation.morphology import erode
from reprolib.figures.pictures import COLOURS, DPI, Picture, draw_box, finish, house_style, new_figure

SIDE = (640, 2400)  # the picture's long side in px: small images are enlarged so that names can be read
STRENGTH = 0.45  # of a mask's colour within its outline


@house_style
def overlay(image: Tensor, segments: Mapping[str, Tensor], names: Sequence[str]) -> Picture:
    """The image uint8 [3,H,W] with each prompt's box, and its mask, class and score in the same colour.

    segments: boxes [N,4], labels [N] from 1, scores [N], masks bool [N,H,W]. names: of the classes, by label - 1.
    """
    height, width = image.shape[-2:]
    long = max(height, width)
    zoom = min(max(1.0, SIDE[0] / long), SIDE[1] / long)
    figure = new_figure(width * zoom / DPI, height * zoom / DPI)
    figure.set_layout_engine("none")  # the image is the whole picture
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(blend(image, segments["masks"]), interpolation="nearest", aspect="auto")
    rows = zip(segments["boxes"].tolist(), segments["labels"].tolist(), segments["scores"].tolist(), strict=True)
    for number, ((left, top, right, bottom), label, score) in enumerate(rows):
        colour = COLOURS[number % len(COLOURS)]
        corner = draw_box(axes, (left, top, right, bottom), colour, width=1.2)
        at_left = left < 0.7 * width  # from where the name runs, so that it stays in the picture
        axes.annotate(
            f"{names[label - 1]} {score:.2f}",
            corner if at_left else (right - 0.5, corner[1]),
            xytext=(0, -1.5),
            textcoords="offset points",
            ha="left" if at_left else "right",
            va="top",
            fontsize=7,
            color="white",
            parse_math=False,  # a name is no formula
            bbox={"facecolor": colour, "alpha": 0.75, "pad": 0.8, "edgecolor": "none"},
        )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_axis_off()
    return finish(figure, title="", note="")


def blend(image: Tensor, masks: Tensor) -> np.ndarray:
    """Image uint8 [3,H,W] and masks bool [N,H,W] -> uint8 [H,W,3], masks filled and outlined in turn."""
    pixels = image.permute(1, 2, 0).cpu().numpy().astype(np.float32)
    for number, mask in enumerate(masks.cpu().numpy()):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not rows.size:
            continue
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        part, inside = pixels[window], mask[window]  # a view: written through
        colour = 255 * np.array(to_rgb(COLOURS[number % len(COLOURS)]), dtype=np.float32)
        part[inside] += STRENGTH * (colour - part[inside])
        part[inside & ~erode(inside, 1, outside=False)] = colour
    return pixels.round().astype(np.uint8)
