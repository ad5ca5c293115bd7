"""The third of four steps to a table: intervals, gains over the baseline row, and verdicts of joined rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reprolib.tables.confidence_intervals import IMAGES_ONLY, Estimate, estimate, estimate_gain, gain, holm
from reprolib.tables.table_rows import TableCell, TableRow, minus
from reprolib.tables.verdicts import COUNT_TOLERANCE, Comparison, judge

Key = tuple[int, str]  # number of the row, metric


def with_verdicts(rows: Sequence[TableRow]) -> list[TableRow]:
    """The rows with intervals, gains and verdicts.

    Gains of one metric over one baseline are one family, whose intervals hold together (`confidence_intervals.holm`).
    """
    cells = {(row.number, cell.reported.metric): cell for row in rows for cell in row.cells}
    baselines = {row.number: row.baseline for row in rows}
    bases = {
        (number, metric): cells.get((baselines[number], metric))
        for (number, metric), cell in cells.items()
        if baselines[number] != number and cell.reported.row_kind == "ablation"
    }
    gains = _gain_intervals(cells, bases, baselines)
    judged = {key: _with_verdict(cell, bases.get(key), gains.get(key, {})) for key, cell in cells.items()}
    return [replace(row, cells=tuple(judged[row.number, cell.reported.metric] for cell in row.cells)) for row in rows]


def _gain_intervals(
    cells: Mapping[Key, TableCell], bases: Mapping[Key, TableCell | None], baselines: Mapping[int, int | None]
) -> dict[Key, dict[str, object]]:
    """By row and metric, the cell's fields on its gain's interval, at the level that Holm's procedure gives it; where
    something says how far the gain may be off."""
    families: dict[tuple[int | None, str], dict[Key, Estimate]] = {}
    for (number, metric), base in bases.items():
        cell = cells[number, metric]
        if base is None or cell.reported.unit != "%":
            continue
        if estimated := estimate_gain(cell.measured, base.measured, noise=cell.noise):
            families.setdefault((baselines[number], metric), {})[number, metric] = estimated
    intervals = {}
    for family in families.values():
        adjusted, levels = holm([estimated.p_value() for estimated in family.values()])
        for (key, estimated), p_value, level in zip(family.items(), adjusted, levels, strict=True):
            interval = {"gain_interval": estimated.interval(level), "gain_interval_source": estimated.source}
            intervals[key] = interval | {"p_value": p_value}
    return intervals


def _with_verdict(cell: TableCell, base: TableCell | None, gain_interval: Mapping[str, object]) -> TableCell:
    estimated = estimate(cell.measured, noise=cell.noise) if cell.reported.unit == "%" else None
    if estimated:
        cell = replace(cell, interval=estimated.interval(), interval_source=estimated.source)
    if base:
        cell = replace(
            cell,
            gain_reported=minus(cell.reported.value, base.reported.value),
            gain_reproduced=gain(cell.measured, base.measured),
            **gain_interval,
        )
    comparison = _comparison(cell, base)
    reasons = comparison.obstacles if cell.missing is None else tuple(filter(None, (cell.missing,)))
    return replace(cell, verdict=judge(comparison), reasons=reasons)


def _comparison(cell: TableCell, base: TableCell | None) -> Comparison:
    """What the verdict of a cell rests on."""
    reported, obstacles = cell.reported, cell.obstacles
    if cell.assumed and base is None and reported.value is not None:
        obstacles = (*obstacles, "the system's design is partly inferred")
    level = Comparison(
        kind="level",
        reported=reported.value,
        rounding=reported.rounding,
        reproduced=cell.reproduced,
        interval=cell.interval,
        complete=cell.interval_source != IMAGES_ONLY,
        runnable=cell.runnable,
        measured=cell.missing is None,
        obstacles=obstacles,
        assumed=cell.assumed,
    )
    if reported.metric in COUNT_TOLERANCE or reported.row_kind == "dataset":
        return replace(level, kind="count", tolerance=COUNT_TOLERANCE.get(reported.metric, 0.0))
    if base is None:
        return level
    return replace(
        level,
        kind="gain",
        reported=cell.gain_reported,
        rounding=reported.rounding + base.reported.rounding,
        reproduced=cell.gain_reproduced,
        interval=cell.gain_interval,
        complete=cell.gain_interval_source != IMAGES_ONLY,
    )
