"""Pictures that explain a method: what a block computes on one image. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reprolib.figures.pictures import COLOURS, Picture, finish, house_style, new_figure

if TYPE_CHECKING:
    import numpy as np


@house_style
def weight_maps(
    image: np.ndarray, maps: Mapping[str, np.ndarray], *, label: str, title: str = "", note: str = ""
) -> Picture:
    """An image, uint8 [H, W, 3], beside maps [h, w] of weights in 0..1 by name, on one colour scale."""
    figure = new_figure(2.2 * (len(maps) + 1) + 0.6, 2.8)
    panels = figure.subplots(1, len(maps) + 1)
    panels[0].imshow(image, interpolation="nearest")
    panels[0].set_title("image")
    for axes, (name, weights) in zip(panels[1:], maps.items(), strict=True):
        # Centred on 0.5, where both sources weigh the same.
        shown = axes.imshow(weights, cmap="PuOr", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(f"{name}, {weights.shape[0]}×{weights.shape[1]}")
    for axes in panels:
        axes.set_axis_off()
    if maps:
        figure.colorbar(shown, ax=list(panels[1:]), label=label, shrink=0.8)
    return finish(figure, title=title, note=note)


@house_style
def sorted_values(values: Mapping[str, np.ndarray], *, ylabel: str, title: str = "", note: str = "") -> Picture:
    """Each named vector's values in descending order, over the share of its length."""
    import numpy as np

    figure = new_figure(5.4, 3.0)
    axes = figure.subplots()
    for index, (name, vector) in enumerate(values.items()):
        share = np.linspace(0, 1, len(vector))
        axes.plot(share, np.sort(vector)[::-1], color=COLOURS[index], label=f"{name} ({len(vector)} channels)")
    axes.set(xlabel="share of the channels", ylabel=ylabel, ylim=(0, 1), xlim=(0, 1))
    axes.legend(fontsize=8)
    return finish(figure, title=title, note=note)


@house_style
def dots(
    points: Mapping[str, tuple[np.ndarray, np.ndarray]], *, xlabel: str, ylabel: str, title: str = "", note: str = ""
) -> Picture:
    """A panel per name: its second vector over its first, both in 0..1, with their rank correlation (Spearman)."""
    import numpy as np
    from scipy.stats import rankdata

    figure = new_figure(2.9 * len(points), 3.2)
    for axes, (name, (xs, ys)) in zip(figure.subplots(1, len(points), squeeze=False)[0], points.items(), strict=True):
        axes.scatter(xs, ys, s=7, color=COLOURS[1], alpha=0.5, linewidths=0)
        heading = name
        if len(xs) > 2:
            correlation = np.corrcoef(rankdata(xs), rankdata(ys))[0, 1]
            heading += f"\n{len(xs)} boxes, rank correlation {correlation:.2f}"
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=xlabel)
        axes.set_title(heading, fontsize=9)
    figure.axes[0].set_ylabel(ylabel)
    return finish(figure, title=title, note=note)


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Functions of one variable by name, all at `x` [N], on one pair of axes."""

    xlabel: str
    ylabel: str
    x: np.ndarray
    lines: Mapping[str, np.ndarray]


@house_style
def curves(panels: Sequence[Curves], *, title: str = "", note: str = "") -> Picture:
    """Pairs of axes side by side."""
    figure = new_figure(3.2 * len(panels), 3.0)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for index, (name, values) in enumerate(panel.lines.items()):
            dashes = ("-", "--", ":")[index % 3]  # lines that coincide show through
            axes.plot(panel.x, values, color=COLOURS[index], linestyle=dashes, linewidth=1.6, label=name)
        axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel, xlim=(panel.x[0], panel.x[-1]))
        axes.legend(fontsize=7.5)
    return finish(figure, title=title, note=note)
