"""Gains of an ablation's rows over its baseline, reported beside reproduced. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reprolib.figures.pictures import COLOURS, GREY, NothingToDraw, Picture, finish, house_style, new_figure
from reprolib.tables.confidence_intervals import Interval, estimate_gain, gain
from reprolib.tables.layout import ablation_label, metric_label
from reprolib.tables.table_rows import TableRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REPORTED, REPRODUCED = "#7F7F7F", COLOURS[1]


@house_style
def ablation_gains(
    rows: Sequence[TableRow],
    *,
    metric: str = "segm/AP",
    over: Sequence[int] = (),
    title: str = "",
    note: str = "",
) -> Picture:
    """Gain of every ablation row over the table's baseline: reported on the left, reproduced beside it.

    over: numbers of other rows; one more panel each for the reproduced gains over it. Every panel has its own axis
    because the levels differ by setting; zero is the row that is compared with. Reproduced bars carry their 95%
    interval where there is one, over the baseline for all rows together (`TableCell.gain_interval`). Raises
    NothingToDraw where the table is no ablation.
    """
    base = next((row for row in rows if row.is_baseline), None)
    shown = [row for row in rows if row.cell(metric) and row is not base and row.head.row_kind == "ablation"]
    if base is None or not shown:
        raise NothingToDraw(f"no ablation rows with {metric}")
    bases = [base, *(row for row in rows if row.number in over)]
    figure = new_figure(8.2 + 2.6 * (len(bases) - 1), 1.5 + 0.3 * len(shown))
    left, *panels = figure.subplots(1, 1 + len(bases), sharey=True)
    theirs = [row.cell(metric).gain_reported for row in shown]
    _bars(left, theirs, [None] * len(shown), colour=REPORTED, missing="not printed")
    names = [
        f"{row.number}  {row.head.method if row.extra else ablation_label(row, base)}"
        + (" ?" if row.head.components is None else "")
        for row in shown
    ]
    left.set_yticks(range(len(shown)), names)
    left.invert_yaxis()
    label = f"gain in {metric_label(metric)} over{' ' if len(bases) == 1 else chr(10)}row {{}}, points"
    left.set(title="reported", xlabel=label.format(base.number))
    for axes, other in zip(panels, bases, strict=True):
        gains = [_gain(row, other, metric) for row in shown]
        intervals = [_gain_interval(row, other, metric) for row in shown]
        _bars(axes, gains, intervals, colour=REPRODUCED, missing="not run")
        axes.set(title="reproduced", xlabel=label.format(other.number))
        if not any(value is not None for value in gains):
            axes.set_xlim(left.get_xlim())
    return finish(figure, title=title, note=note)


def _bars(
    axes: Axes, values: Sequence[float | None], intervals: Sequence[Interval | None], *, colour: str, missing: str
) -> None:
    """A bar per gain, its interval, and its value beyond both; `missing` where there is none."""
    axes.barh(range(len(values)), [value or 0.0 for value in values], color=colour, height=0.62)
    for place, (value, interval) in enumerate(zip(values, intervals, strict=True)):
        if interval:
            axes.plot([interval.low, interval.high], [place, place], color="black", linewidth=1.2)
        text = missing if value is None else f"{value:+.2f}".replace("-", "−")
        left = value is not None and value < 0
        end = value or 0.0
        if interval:
            end = interval.low if left else interval.high
        axes.annotate(
            text,
            (end, place),
            xytext=(-3 if left else 3, 0),
            textcoords="offset points",
            va="center",
            ha="right" if left else "left",
            fontsize=7.5,
            color=GREY if value is None else "black",
        )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.22)
    axes.tick_params(axis="y", length=0)


def _gain(row: TableRow, base: TableRow, metric: str) -> float | None:
    ours, theirs = row.cell(metric), base.cell(metric)
    return gain(ours.measured, theirs.measured) if ours and theirs else None


def _gain_interval(row: TableRow, base: TableRow, metric: str) -> Interval | None:
    """As the table has it over its own baseline; over another row for this difference alone."""
    ours, theirs = row.cell(metric), base.cell(metric)
    if not ours or not theirs or row is base:
        return None
    if base.is_baseline:
        return ours.gain_interval
    estimated = estimate_gain(ours.measured, theirs.measured, noise=ours.noise)
    return estimated.interval() if estimated else None
