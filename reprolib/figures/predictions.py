"""Instance masks over images: ground truth beside predictions. Imports no torch."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reprolib.figures.instances import by_image, draw_mask, pixel_mask, read_pixels
from reprolib.figures.pictures import COLOURS, NothingToDraw, Picture, finish, house_style, new_figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes


@house_style
def predictions_grid(
    images: str | Path,
    annotations: str | Path,
    results: Mapping[str, str | Path],
    *,
    count: int = 4,
    score: float = 0.5,
    title: str = "",
    note: str = "",
) -> Picture:
    """Ground truth beside predictions: a row per image, a column for the truth and one per labelled run.

    images: folder. annotations: COCO JSON. results: COCO results JSON by label; masks scored `score` and more are
    drawn, one colour per class. Of the images with objects, `count` are taken at equal steps.
    """
    from matplotlib.patches import Patch

    files = {label: Path(file) for label, file in results.items() if Path(file).is_file()}
    if not files:
        raise NothingToDraw("no predictions: evaluate a run first")
    truth = json.loads(Path(annotations).read_text())
    columns = {"ground truth": by_image(truth["annotations"])}
    columns |= {label: by_image(json.loads(file.read_text()), score=score) for label, file in files.items()}
    names = {category["id"]: category["name"] for category in truth["categories"]}
    colours = {category: COLOURS[index % len(COLOURS)] for index, category in enumerate(sorted(names))}
    entries = [entry for entry in truth["images"] if columns["ground truth"].get(entry["id"])]
    chosen = entries[:: max(1, len(entries) // count)][:count]
    figure = new_figure(2.3 * len(columns) + 0.9, 2.3 * len(chosen) + 0.7)
    panels = figure.subplots(len(chosen), len(columns), squeeze=False)
    used: set[int] = set()
    for place, (line, entry) in enumerate(zip(panels, chosen, strict=True)):
        pixels = read_pixels(Path(images) / entry["file_name"])
        for axes, (label, instances) in zip(line, columns.items(), strict=True):
            axes.imshow(pixels, interpolation="nearest")
            axes.set_axis_off()
            if place == 0:
                axes.set_title(textwrap.fill(label, 26), fontsize=9)
            for item in instances.get(entry["id"], []):
                used.add(item["category_id"])
                mask = pixel_mask(item["segmentation"], entry["height"], entry["width"])
                draw_mask(axes, mask, colours[item["category_id"]])
    if len(used) <= len(COLOURS):  # more classes share colours, and a legend would mislead
        patches = [Patch(color=colours[category], alpha=0.7, label=names[category]) for category in sorted(used)]
        figure.legend(handles=patches, loc="outside right upper", fontsize=8)
    return finish(figure, title=title, note=note)


def draw_instances(axes: Axes, image: np.ndarray, masks: np.ndarray, names: Sequence[str] = ()) -> None:
    """Draw instance masks over an image, one colour per instance, with the class name at the mask's top.

    image: uint8 [H, W, 3]; masks: bool or uint8 [N, H, W].
    """
    axes.imshow(image, interpolation="nearest")
    for index, mask in enumerate(masks):
        mask = mask.astype(bool)
        if not mask.any():
            continue
        colour = COLOURS[index % (len(COLOURS) - 1)]  # without black, which hides what it covers
        draw_mask(axes, mask, colour)
        if names:
            row = int(mask.any(axis=1).argmax())
            column = float(mask[row].nonzero()[0].mean())
            box = {"facecolor": "white", "alpha": 0.65, "pad": 0.6, "edgecolor": "none"}
            axes.text(column, row, names[index], fontsize=6, color="black", ha="center", va="bottom", bbox=box)
