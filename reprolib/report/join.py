"""Reported numbers and records, joined row by row and cell by cell, each with its verdict."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from reprolib.experiment import Experiment, Row, Table
from reprolib.models.systems.inferred import inferred
from reprolib.params import Profile
from reprolib.report import described, verdict
from reprolib.report.comparable import MEASURED_BY_CLOCK, why_not_comparable
from reprolib.report.reported import Cell, load_table, unprinted

# Methods that nothing can run: no text or code to implement from, or old results that are only quoted.
REPORTED_ONLY_METHODS = frozenset(
    {
        "RSIISN",
        "FB-ISNet",
        "WSODet",
        "DAL",
        "Ref35-EllipticCenterness",
        "MNC",
        "FCIS",
        "FCIS+++",
    }
)

# Which parameters a publication counts; found by comparing published counts with the architectures.
PARAMETERS_COUNTED = {
    "iemask_rcnn": "params_frozen_norm_excluded",
    "seanet": "trainable_params",
    "insight_any_instance": "params",
}

COUNT_TOLERANCE = {"params_M": 0.005, "flops_G": 0.01}


@dataclass(frozen=True, kw_only=True)
class JoinedCell:
    """One reported number with what was reproduced of it; in a row that is not printed, the latter alone.

    values: by seed, in the unit of the reported number; None where the record says that there is no such
    number (for example AP of large objects where there are none). reproduced: their mean. difference: reproduced
    minus reported. delta_*: differences to the table's baseline row, in ablations. reasons: why the verdict is
    not a judgement, empty otherwise.
    """

    cell: Cell
    values: Mapping[int, float | None]
    reproduced: float | None
    difference: float | None
    delta_reported: float | None
    delta_reproduced: float | None
    verdict: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class JoinedRow:
    """One row. status: run, not run, not built yet, or reported only; `run` of a row that describes data says that
    there is a report. extra: whether it is the suite's own."""

    number: int
    experiment: Experiment | None
    extra: bool
    status: str
    is_baseline: bool
    records: tuple[Mapping, ...]
    cells: tuple[JoinedCell, ...]

    @property
    def head(self) -> Cell:
        """Any cell of the row, for method, backbone, data set and components."""
        return self.cells[0].cell

    def cell(self, metric: str) -> JoinedCell | None:
        """The row's cell of a metric, None where the publication prints none."""
        return next((joined for joined in self.cells if joined.cell.metric == metric), None)


def join(
    table: Table,
    records: Mapping[str, Mapping],
    profile: Profile,
    *,
    paper: Profile | None = None,
    reports: Mapping[str, Mapping] = MappingProxyType({}),
) -> list[JoinedRow]:
    """Join one table with a profile's records (by run id) and reports on data (by prepared data set).

    paper: the profile that holds the published recipes, to tell whether a run's scale is the published one.
    """
    reported = load_table(table.paper, table.number)
    by_row = {row.number: _cells_of(row, reported) for row in table.rows}
    found = {row.number: _records_of(row.experiment, records) for row in table.rows}
    baselines = {row.number: _baseline(by_row, row.number) for row in table.rows}
    joined = []
    for row in table.rows:
        base = baselines[row.number]
        if row.dataset:
            cells = [_describe(cell, row.dataset, profile, reports) for cell in by_row[row.number]]
        else:
            cells = [
                _join_cell(cell, row, found, by_row, base, profile=profile, paper=paper) for cell in by_row[row.number]
            ]
        joined.append(
            JoinedRow(
                number=row.number,
                experiment=row.experiment,
                extra=row.extra is not None,
                status=_status(row, cells, found[row.number]),
                is_baseline=base == row.number,
                records=found[row.number],
                cells=tuple(cells),
            )
        )
    return joined


def metrics_of(rows: list[JoinedRow]) -> list[str]:
    """All metrics of a joined table in the order of first print."""
    return list(dict.fromkeys(joined.cell.metric for row in rows for joined in row.cells))


def main_metrics(rows: list[JoinedRow]) -> list[str]:
    """The metrics that a table is read by: AP of masks (an oracle's too) and boxes; of cost and data, up to five."""
    metrics = metrics_of(rows)
    if any(row.head.row_kind == "efficiency" for row in rows):
        return metrics[:5]
    return [name for name in ("segm/AP", "oracle/segm/AP", "bbox/AP") if name in metrics] or metrics[:5]


def _cells_of(row: Row, reported: Sequence[Cell]) -> list[Cell]:
    """A row's cells as printed; those of an extra row are empty."""
    if row.extra is None:
        return [cell for cell in reported if cell.row == row.number]
    named = {"row": row.number, "method": row.extra.name, "note": row.extra.why}
    return [unprinted(cell, **named) for cell in reported if cell.row == row.extra.like]


def _join_cell(
    cell: Cell,
    row: Row,
    found: Mapping[int, tuple[Mapping, ...]],
    by_row: Mapping[int, list[Cell]],
    base: int | None,
    *,
    profile: Profile,
    paper: Profile | None,
) -> JoinedCell:
    values = _values(cell, found[row.number])
    numbers = [value for value in values.values() if value is not None]
    reproduced = statistics.fmean(numbers) if numbers else None
    base_cell = None
    if base is not None and base != row.number and cell.row_kind == "ablation":
        base_cell = next((other for other in by_row[base] if other.metric == cell.metric), None)
    base_values = _values(base_cell, found[base]) if base_cell else {}
    base_numbers = [value for value in base_values.values() if value is not None]
    delta = None
    if reproduced is not None and base_numbers:
        delta = reproduced - statistics.fmean(base_numbers)
    word, reasons = _judge(cell, row, found[row.number], values, base_cell, base_values, profile=profile, paper=paper)
    return JoinedCell(
        cell=cell,
        values=values,
        reproduced=reproduced,
        difference=_minus(reproduced, cell.value),
        delta_reported=_minus(cell.value, base_cell.value) if base_cell else None,
        delta_reproduced=delta,
        verdict=word,
        reasons=tuple(reasons),
    )


def _describe(cell: Cell, dataset: str, profile: Profile, reports: Mapping[str, Mapping]) -> JoinedCell:
    """The cell of a row that describes a published data set; `values`, which go by seed, are empty."""
    value, word, reasons = described.judge(cell, dataset, profile, reports)
    return JoinedCell(
        cell=cell,
        values={},
        reproduced=value,
        difference=_minus(value, cell.value),
        delta_reported=None,
        delta_reproduced=None,
        verdict=word,
        reasons=reasons,
    )


def _judge(
    cell: Cell,
    row: Row,
    records: tuple[Mapping, ...],
    values: Mapping[int, float | None],
    base_cell: Cell | None,
    base_values: Mapping[int, float | None],
    *,
    profile: Profile,
    paper: Profile | None,
) -> tuple[str, list[str]]:
    """The verdict of a cell and, where it is no judgement, why."""
    if cell.row_kind == "dataset":
        return verdict.REPORTED_ONLY, ["describes a data set"]
    if cell.method in REPORTED_ONLY_METHODS:
        return verdict.REPORTED_ONLY, ["no text or code to implement from, or a quoted result"]
    if row.experiment is None:
        return verdict.NOT_RUN, ["not built yet"]
    if not records:
        planned = row.experiment.id in profile.experiments
        return verdict.NOT_RUN, [] if planned else [f"not among the experiments of profile {profile.name}"]
    if not values:
        return verdict.NOT_RUN, [f"{cell.metric} is not measured"]
    if row.extra is not None:
        return verdict.NOT_REPORTED, []
    reasons = [reason for record in records for reason in why_not_comparable(record, cell, paper)]
    numbers = {seed: value for seed, value in values.items() if value is not None}
    if not numbers:
        reasons.append(f"no such objects in the data ({cell.metric})")
    if cell.value_confidence == "label_wrong":
        reasons.append("the printed column is not what its label says")
    assumed = inferred(row.experiment.system)
    if assumed and base_cell is None:
        reasons.append("the system's design is partly inferred")
    if reasons:
        return verdict.NOT_COMPARABLE, list(dict.fromkeys(reasons))
    if cell.metric in COUNT_TOLERANCE:
        return verdict.judge_count(
            reported=cell.value,
            rounding=cell.rounding,
            reproduced=statistics.fmean(numbers.values()),
            tolerance=COUNT_TOLERANCE[cell.metric],
        ), []
    if base_cell is not None:
        base_numbers = {seed: value for seed, value in base_values.items() if value is not None}
        word = verdict.judge_difference(
            reported=cell.value - base_cell.value,
            rounding=cell.rounding + base_cell.rounding,
            interval=verdict.difference_interval(numbers, base_numbers),
        )
        # A design that is partly a guess cannot reproduce a number, only its direction.
        return verdict.SAME_DIRECTION if assumed and word == verdict.REPRODUCED else word, []
    interval = verdict.t_interval(list(numbers.values()))
    return verdict.judge_value(reported=cell.value, rounding=cell.rounding, interval=interval), []


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _values(cell: Cell | None, records: tuple[Mapping, ...]) -> dict[int, float | None]:
    """The reproduced numbers by seed in the reported unit, without seeds whose record lacks the number."""
    if cell is None:
        return {}
    values: dict[int, float | None] = {}
    for record in records:
        if cell.metric in record["metrics"]:
            values[record["seed"]] = record["metrics"][cell.metric]
        elif cell.metric == "params_M" and cell.paper in PARAMETERS_COUNTED:
            values[record["seed"]] = record["cost"][PARAMETERS_COUNTED[cell.paper]] / 1e6
        elif cell.metric == "flops_G" and record["cost"]["flops"] is not None:
            values[record["seed"]] = record["cost"]["flops"] / 1e9
        elif cell.metric in MEASURED_BY_CLOCK and record["speed"]["images_per_second"] > 0:
            rate = record["speed"]["images_per_second"]
            values[record["seed"]] = rate if cell.metric == "fps" else 1000 / rate
    return values


def _records_of(experiment: Experiment | None, records: Mapping[str, Mapping]) -> tuple[Mapping, ...]:
    if experiment is None:
        return ()
    found = (record for record in records.values() if record["experiment"] == experiment.id)
    return tuple(sorted(found, key=lambda record: record["seed"]))


def _status(row: Row, cells: Sequence[JoinedCell], records: tuple[Mapping, ...]) -> str:
    if row.dataset:
        return "run" if any(joined.reproduced is not None for joined in cells) else "not run"
    if cells[0].cell.row_kind == "dataset" or cells[0].cell.method in REPORTED_ONLY_METHODS:
        return "reported only"
    if row.experiment is None:
        return "not built yet"
    return "run" if records else "not run"


def _baseline(by_row: Mapping[int, list[Cell]], number: int) -> int | None:
    """The row that an ablation row is compared with: without components, else (removals) with most of them.

    Only printed rows on the same data set and backbone count. None for rows that are no ablation.
    """
    head = by_row[number][0]
    if head.row_kind != "ablation":
        return None
    peers = {
        other: cells[0]
        for other, cells in by_row.items()
        if cells[0].row_kind == "ablation"
        and cells[0].printed
        and (cells[0].dataset, cells[0].backbone) == (head.dataset, head.backbone)
        and cells[0].components is not None
    }
    plain = [other for other, cell in peers.items() if not cell.components]
    if plain:
        return plain[0]
    return max(peers, key=lambda other: len(peers[other].components or ()), default=None)
