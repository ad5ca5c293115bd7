"""Pictures and feature maps side by side: what a block computes on one image. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reprolib.figures.pictures import (
    COLOURS,
    LABEL_GROUND,
    Picture,
    draw_box,
    finish,
    house_style,
    new_figure,
    note_height,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

SIDE = 1.5  # inches


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture, uint8 [H,W,3], or one map of numbers [h,w].

    low, high: ends of the colour scale, by default the map's own. bar: with a colour bar. numbers: how each number
    is written into its cell, for example "{:.2f}". mark: a cell (column, row) with a ring around it. box: xyxy in
    pixels of `values`. boxes: more of them, each with a text and in a colour of its own. square: stretched to a
    square, as RoIAlign does.
    """

    title: str
    values: np.ndarray
    low: float | None = None
    high: float | None = None
    bar: bool = False
    numbers: str = ""
    mark: tuple[float, float] | None = None
    box: tuple[float, float, float, float] | None = None
    boxes: Sequence[tuple[str, tuple[float, float, float, float]]] = ()
    square: bool = False


@house_style
def panel_grid(rows: Sequence[Sequence[Panel]], *, title: str = "", note: str = "") -> Picture:
    """Rows of panels; rows may differ in length."""
    columns = max(map(len, rows))
    tall = max(1 if p.square else p.values.shape[0] / p.values.shape[1] for row in rows for p in row)
    barred = sum(any(panel.bar for panel in row) for row in rows)
    more_lines = sum(max(panel.title.count("\n") for panel in row) for row in rows)
    width = SIDE * columns + 0.2
    height = (SIDE * min(tall, 2) + 0.25) * len(rows) + 0.2 * barred + 0.15 * more_lines
    height += note_height(note, width) + (0.3 if title else 0)
    figure = new_figure(width, height)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(grid, rows, strict=True):
        for axes in line:
            axes.set_axis_off()
        for axes, panel in zip(line, row, strict=False):
            _draw(axes, panel)
    return finish(figure, title=title, note=note)


def tinted_cells(image: np.ndarray, numbers: np.ndarray, *, share: float = 0.6) -> np.ndarray:
    """An image, uint8 [H,W,3], under a grid [h,w] over all of it whose cells are coloured by number; 0 is clear.

    Number 1 has the colour of a panel's first one of `boxes`, and so on.
    """
    import numpy as np
    from matplotlib.colors import to_rgb

    colours = 255 * np.array([to_rgb(colour) for colour in COLOURS[:-1]])
    rows, columns = (
        np.arange(side) * cells // side for side, cells in zip(image.shape[:2], numbers.shape, strict=True)
    )
    number = numbers[rows[:, None], columns[None]]
    tinted = (1 - share) * image + share * colours[(number - 1) % len(colours)]
    return np.where(number[..., None] > 0, tinted, image).astype(np.uint8)


def _draw(axes: Axes, panel: Panel) -> None:
    from matplotlib.patches import Circle
    from matplotlib.ticker import MaxNLocator

    height, width = panel.values.shape[:2]
    colours = {"cmap": "viridis", "vmin": panel.low, "vmax": panel.high, "interpolation": "nearest"}
    shown = axes.imshow(panel.values, aspect=width / height if panel.square else "equal", **colours)
    axes.set_title(panel.title, fontsize=8)
    if panel.bar:
        below = axes.inset_axes((0.05, -0.09, 0.9, 0.05))
        bar = axes.figure.colorbar(shown, cax=below, orientation="horizontal")
        bar.locator = MaxNLocator(3)
        bar.ax.tick_params(labelsize=6.5, length=2, pad=1)
    if panel.numbers:
        low, high = shown.get_clim()
        for row, line in enumerate(panel.values):
            for column, value in enumerate(line):
                dark = value < (low + high) / 2
                ink = {"color": "white" if dark else "black", "fontsize": 5.5, "ha": "center", "va": "center"}
                axes.text(column, row, panel.numbers.format(value), **ink)
    if panel.mark:
        ring = Circle(panel.mark, 0.04 * max(height, width), fill=False, color=COLOURS[0], linewidth=1.6)
        axes.add_patch(ring)
    if panel.box:
        draw_box(axes, panel.box, COLOURS[0], width=1.4)
    for index, (text, box) in enumerate(panel.boxes):
        colour = COLOURS[index % (len(COLOURS) - 1)]
        left, top = draw_box(axes, box, colour, width=1.4)
        place = {"ha": "left", "va": "bottom", "clip_on": True, "bbox": LABEL_GROUND}
        axes.text(max(left, 0), max(top, 0.05 * height), text, fontsize=6, color=colour, **place)
