"""What the report draws: reported beside reproduced, gains against gains, speed against AP."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reprolib.figures.pictures import NothingToDraw, new_figure
from reprolib.site.svg import CLASS, GRID, INK, MARKERS, MUTED, SERIES, Drawing, drawn, finish
from reprolib.tables.layout import ablation_label, metric_label, row_label
from reprolib.tables.table_rows import TableRow

REPORTED, REPRODUCED = MUTED, SERIES[0]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A mark of a scatter. group: what has its colour and shape. name: a class that a style sheet can pick it out by.
    link: where a click leads."""

    x: float
    y: float
    group: str
    name: str = ""
    link: str = ""


@drawn
def reported_and_reproduced(rows: Sequence[TableRow], metric: str, *, name: str) -> Drawing:
    """A line per row of a table: the reported number as a ring, the reproduced one as a dot with its interval.

    Rows that print the metric are shown, whether run or not. Raises NothingToDraw where none has both numbers.
    """
    shown = [row for row in rows if row.cell(metric)]
    pairs = [row for row in shown if row.cell(metric).reproduced is not None]
    if not pairs:
        raise NothingToDraw(f"no row with {metric} has run")
    figure = new_figure(7.4, 1.0 + 0.25 * len(shown))
    axes = figure.subplots()
    for place, row in enumerate(shown):
        cell = row.cell(metric)
        if cell.reported.value is not None and cell.reproduced is not None:
            axes.plot([cell.reported.value, cell.reproduced], [place, place], color=GRID, linewidth=1.2, zorder=1)
        if cell.interval:
            axes.plot(
                [cell.interval.low, cell.interval.high], [place, place], color=REPRODUCED, linewidth=2.4, zorder=2
            )
        if cell.reproduced is not None:
            axes.plot(cell.reproduced, place, "o", color=REPRODUCED, markersize=6, zorder=3)
        if cell.reported.value is not None:
            axes.plot(cell.reported.value, place, "o", markeredgecolor=REPORTED, markerfacecolor="none", zorder=4)
    axes.set_yticks(range(len(shown)), [f"{_short(_name(row, rows))}  {row.number}" for row in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(metric_label(metric))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    _legend(figure, [("reported", "o", REPORTED, False), ("reproduced", "o", REPRODUCED, True)])
    alt = (
        f"{metric_label(metric)} of {len(shown)} rows: reported as rings, reproduced as dots for {len(pairs)} of them;"
        " the same numbers stand in the table"
    )
    return finish(figure, name=name, alt=alt)


@drawn
def gains(points: Sequence[Point], *, name: str, note: str) -> Drawing:
    """Gains of components, reproduced over reported: on the dashed line they are equal, in the lower right the sign
    differs. Raises NothingToDraw without points."""
    if not points:
        raise NothingToDraw("no row of an ablation and its baseline have both run")
    figure = new_figure(6.6, 4.3)
    axes = figure.subplots()
    groups = _styles(points)
    _scatter(axes, points, groups)
    axes.margins(0.08)
    low, high = (pick(axes.get_xlim()[end], 0.0) for end, pick in enumerate((min, max)))
    axes.plot([low, high], [low, high], linestyle=(0, (4, 3)), color=MUTED, linewidth=1, zorder=1, scaley=False)
    axes.set_xlim(low, high)
    axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
    axes.set(xlabel="reported gain in mask AP, points", ylabel="reproduced gain in mask AP, points")
    axes.annotate("equal", (high, high), xytext=(-2, 5), textcoords="offset points", ha="right", color=MUTED)
    _legend(figure, [(group, marker, colour, True) for group, (marker, colour) in groups.items()])
    figure.supxlabel("\n".join(textwrap.wrap(note, 105)), fontsize=7.5, color=MUTED, x=0.01, ha="left")
    same = sum(point.x * point.y > 0 for point in points)
    alt = (
        f"{len(points)} gains of components in mask AP, reproduced against reported: {same} have the same sign. {note}"
    )
    return finish(figure, name=name, alt=alt)


@drawn
def speed_accuracy(panels: Mapping[str, Sequence[Point]], *, name: str) -> Drawing:
    """Mask AP over images per second, one panel each; the speeds of different panels are of different hardware.

    Raises NothingToDraw without points.
    """
    panels = {title: points for title, points in panels.items() if points}
    if not panels:
        raise NothingToDraw("no row has both a speed and mask AP")
    figure = new_figure(3.7 * max(len(panels), 1.6), 3.9)
    groups = _styles([point for points in panels.values() for point in points])
    for axes, (title, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        _scatter(axes, points, groups)
        axes.set(title=title, xlabel="images per second, logarithmic", xscale="log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.tick_params(axis="x", which="minor", labelsize=7)
    figure.axes[0].set_ylabel("mask AP")
    _legend(figure, [(group, marker, colour, True) for group, (marker, colour) in groups.items()])
    counts = ", ".join(f"{len(points)} {title}" for title, points in panels.items())
    return finish(figure, name=name, alt=f"Mask AP against images per second: {counts}; the numbers are in the table")


def _styles(points: Sequence[Point]) -> dict[str, tuple[str, str]]:
    """Marker and colour of each group, in the groups' alphabetical order."""
    groups = sorted({point.group for point in points}, key=str.lower)
    return {group: (MARKERS[place % len(MARKERS)], SERIES[place % len(SERIES)]) for place, group in enumerate(groups)}


def _scatter(axes, points: Sequence[Point], styles: Mapping[str, tuple[str, str]]) -> None:
    for group, name in dict.fromkeys((point.group, point.name) for point in points):
        marker, colour = styles[group]
        chosen = [point for point in points if (point.group, point.name) == (group, name)]
        marks = axes.scatter(
            [point.x for point in chosen],
            [point.y for point in chosen],
            marker=marker,
            s=26,
            color=colour,
            alpha=0.85,
            linewidths=0,
            zorder=3,
        )
        marks.set_urls([point.link for point in chosen])
        if name:
            marks.set_gid(f"{CLASS}{name}")


def _legend(figure, entries: Sequence[tuple[str, str, str, bool]]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="none", marker=marker, color=colour, markerfacecolor=colour if filled else "none")
        for _, marker, colour, filled in entries
    ]
    labels = [entry[0] for entry in entries]
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 5), fontsize=8, labelcolor=INK)


def _name(row: TableRow, rows: Sequence[TableRow]) -> str:
    """In an ablation its components, which tell rows apart; else the system."""
    base = next((other for other in rows if other.is_baseline), None)
    if base is None or row is base or row.extra or row.head.row_kind != "ablation":
        return row_label(row, rows)
    return ablation_label(row, base)


def _short(text: str) -> str:
    return textwrap.shorten(text, 46, placeholder=" …")
