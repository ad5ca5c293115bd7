"""Pictures that explain a method: what a block computes on one image. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from reprolib.report.pictures import COLOURS, Picture, finish, house_style, new_figure

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
