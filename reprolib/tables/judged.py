"""Verdicts of a joined table: for each number what stands in the way of a comparison, and how sure the number is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reprolib.experiment import Row, Table
from reprolib.papers.named_systems import reported_only
from reprolib.papers.reported import Cell
from reprolib.params import Profile
from reprolib.tables.comparable import why_not_comparable
from reprolib.tables.joined import JoinedCell, JoinedRow
from reprolib.tables.uncertainty import IMAGES_ONLY, Estimate, Interval, estimate_gain, holm
from reprolib.tables.verdict import Case, verdict

COUNT_TOLERANCE = {"params_M": 0.005, "flops_G": 0.01}


def judge(
    rows: list[JoinedRow],
    table: Table,
    baselines: Mapping[int, int | None],
    *,
    profile: Profile,
    paper: Profile | None,
) -> list[JoinedRow]:
    """The rows with verdicts, and gains with intervals.

    Gains of one metric over one baseline are one family, whose intervals hold together. baselines: by row, the row that
    it is compared with, itself or None where there is none.
    """
    by_number = {row.number: row for row in rows}
    gains = _gains(rows, baselines)
    judged = []
    for row, printed in zip(rows, table.rows, strict=True):
        cells = []
        for cell in row.cells:
            if not cell.verdict:
                if gain := gains.get((row.number, cell.cell.metric)):
                    cell = replace(
                        cell,
                        delta_interval=gain.interval,
                        delta_interval_source=gain.estimate.source,
                        p_value=gain.p_value,
                    )
                before = _before(cell, by_number.get(baselines[row.number]))
                case, reasons = _case(cell, printed, row.records, before, profile=profile, paper=paper)
                cell = replace(cell, verdict=verdict(case), reasons=reasons)
            cells.append(cell)
        judged.append(replace(row, cells=tuple(cells)))
    return judged


@dataclass(frozen=True, kw_only=True)
class _Gain:
    """A difference to the baseline row, at the level that Holm's procedure gives its interval."""

    estimate: Estimate
    interval: Interval
    p_value: float


def _gains(rows: Sequence[JoinedRow], baselines: Mapping[int, int | None]) -> dict[tuple[int, str], _Gain]:
    """By row and metric, where something is known of how far they may be off."""
    by_number = {row.number: row for row in rows}
    families: dict[tuple[int, str], dict[int, Estimate]] = {}
    for row in rows:
        for cell in row.cells:
            before = _before(cell, by_number.get(baselines[row.number]))
            if before is None or cell.cell.unit != "%":
                continue
            if found := estimate_gain(cell.measured, before.measured, noise=cell.noise):
                families.setdefault((baselines[row.number], cell.cell.metric), {})[row.number] = found
    gains = {}
    for (_, metric), family in families.items():
        adjusted, levels = holm([found.p_value() for found in family.values()])
        for (number, found), p_value, level in zip(family.items(), adjusted, levels, strict=True):
            gains[number, metric] = _Gain(estimate=found, interval=found.interval(level), p_value=p_value)
    return gains


def _before(cell: JoinedCell, base: JoinedRow | None) -> JoinedCell | None:
    """The baseline row's cell that an ablation's cell is compared with; None for the baseline's own."""
    if base is None or base.number == cell.cell.row or cell.cell.row_kind != "ablation":
        return None
    return base.cell(cell.cell.metric)


def _case(
    joined: JoinedCell,
    row: Row,
    records: tuple[Mapping, ...],
    base: JoinedCell | None,
    *,
    profile: Profile,
    paper: Profile | None,
) -> tuple[Case, tuple[str, ...]]:
    """What the verdict of a cell rests on, and why it is no judgement where it is none."""
    cell = joined.cell
    if cell.row_kind == "dataset":
        return Case(kind="count", reported=cell.value, runnable=False), ("describes a data set",)
    if why := reported_only(cell.method):
        return Case(kind="level", reported=cell.value, runnable=False), (why.rstrip("."),)
    why = _why_not_run(cell, row, records, joined.values, profile)
    if why is not None:
        return Case(kind="level", reported=cell.value, measured=False), tuple(filter(None, (why,)))
    obstacles = []
    if row.extra is None:
        obstacles = [reason for record in records for reason in why_not_comparable(record, cell, paper)]
        if not joined.measured.values:
            obstacles.append(f"no such objects in the data ({cell.metric})")
        if cell.value_confidence == "label_wrong":
            obstacles.append("the printed column is not what its label says")
        if joined.assumed and base is None:
            obstacles.append("the system's design is partly inferred")
    common = {"obstacles": tuple(dict.fromkeys(obstacles)), "assumed": joined.assumed}
    if cell.metric in COUNT_TOLERANCE:
        case = Case(
            kind="count",
            reported=cell.value,
            rounding=cell.rounding,
            reproduced=joined.reproduced,
            tolerance=COUNT_TOLERANCE[cell.metric],
            **common,
        )
    elif base is not None:
        case = Case(
            kind="gain",
            reported=joined.delta_reported,
            rounding=cell.rounding + base.cell.rounding,
            reproduced=joined.delta_reproduced,
            interval=joined.delta_interval,
            complete=joined.delta_interval_source != IMAGES_ONLY,
            **common,
        )
    else:
        case = Case(
            kind="level",
            reported=cell.value,
            rounding=cell.rounding,
            reproduced=joined.reproduced,
            interval=joined.interval,
            complete=joined.interval_source != IMAGES_ONLY,
            **common,
        )
    return case, case.obstacles


def _why_not_run(
    cell: Cell, row: Row, records: tuple[Mapping, ...], values: Mapping[int, float | None], profile: Profile
) -> str | None:
    """Why nothing was measured, empty where it is only to be run; None where something was."""
    if row.experiment is None:
        return "not built yet"
    if not records:
        return (
            "" if row.experiment.id in profile.experiments else f"not among the experiments of profile {profile.name}"
        )
    return None if values else f"{cell.metric} is not measured"
