"""Where the time of one image goes. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from reprolib.figures.pictures import COLOURS, Picture, finish, house_style, new_figure

PART_COLOURS = ("#999999", *COLOURS[1:4], COLOURS[0])  # input in grey, post-processing in red: they are no network


@house_style
def latency_bars(systems: Mapping[str, Mapping], *, title: str = "", note: str = "") -> Picture:
    """Where the time of one image goes: a bar per system, its parts one behind the other.

    systems: by label what was measured of each: `parts` in milliseconds, `milliseconds` and `fps` of the
    whole, `network_fps` without post-processing, the last of the parts.
    """
    parts = list(next(iter(systems.values()))["parts"])
    figure = new_figure(8.2, 1.5 + 0.34 * len(systems))
    axes = figure.subplots()
    places, start = range(len(systems)), [0.0] * len(systems)
    for colour, part in zip(PART_COLOURS, parts, strict=True):
        widths = [entry["parts"][part] for entry in systems.values()]
        axes.barh(places, widths, left=start, color=colour, height=0.62, label=part)
        start = [left + width for left, width in zip(start, widths, strict=True)]
    for place, end, entry in zip(places, start, systems.values(), strict=True):
        text = f"{entry['milliseconds']:.1f} ms: {entry['fps']:.1f} FPS, {entry['network_fps']:.1f} without {parts[-1]}"
        axes.annotate(text, (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5)
    axes.set_yticks(places, list(systems))
    axes.invert_yaxis()
    axes.set(xlabel="milliseconds of one image", xlim=(0, 1.55 * max(start)))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=len(parts), fontsize=8)
    return finish(figure, title=title, note=note)
