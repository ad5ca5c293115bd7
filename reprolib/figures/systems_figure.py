"""Parameters and FLOPs of all systems in one picture."""

from __future__ import annotations

from collections.abc import Sequence

from reprolib.figures.pictures import COLOURS, GREY, NothingToDraw, Picture, finish, house_style, new_figure
from reprolib.papers.systems import System
from reprolib.tables.systems_page import families

PANELS = {"params_M": "parameters (M)", "flops_G": "FLOPs (G)"}


@house_style
def costs_by_family(systems: Sequence[System], *, title: str = "", note: str = "") -> Picture:
    """A line per system, by family and then by FLOPs: a dot for what is counted, a ring for what is printed.

    Raises NothingToDraw where nothing is counted.
    """
    counted = [system for system in systems if system.count]
    if not counted:
        raise NothingToDraw("no system is counted; notebooks/systems.ipynb counts them")
    order = families(counted)
    shown = sorted(counted, key=lambda system: (order.index(system.family), system.count.flops))
    figure = new_figure(8.4, 1.3 + 0.19 * len(shown))
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (metric, label) in zip(panels, PANELS.items(), strict=True):
        for family, colour in zip(order, COLOURS, strict=False):
            places = [place for place, system in enumerate(shown) if system.family == family]
            values = [shown[place].count.of[metric] for place in places]
            axes.hlines(places, 0, values, color=colour, linewidth=1.2, alpha=0.35)
            axes.plot(values, places, "o", color=colour, markersize=5, label=family)
        rings = [place for place, system in enumerate(shown) if metric in system.reported]
        values = [shown[place].reported[metric] for place in rings]
        axes.plot(values, rings, "o", color=GREY, fillstyle="none", markersize=8, label="as printed")
        axes.set(xlabel=label, ylim=(len(shown) - 0.4, -0.6))
        axes.set_xlim(left=0)
    panels[0].set_yticks(range(len(shown)), [system.name for system in shown], fontsize=8)
    panels[-1].legend(loc="lower right", fontsize=8)
    return finish(figure, title=title, note=note)
