"""The second of four steps to a table: join reported numbers with what was run, row by row and cell by cell.

All that is known of a row or cell stands in it afterwards; no later step looks anything up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reprolib.experiment import Experiment, Row, Table
from reprolib.papers import catalog
from reprolib.papers.addresses import profile_lists
from reprolib.papers.named_systems import inferred, reported_only
from reprolib.papers.reported import Cell, unprinted
from reprolib.params import ParamsError, Profile, Run, resolve
from reprolib.tables.bootstrap_draws import BootstrapDraws
from reprolib.tables.comparability import MEASURED_BY_CLOCK, why_not_comparable
from reprolib.tables.confidence_intervals import Interval, Measured, Noise
from reprolib.tables.data_reports import prepared_name, report_value
from reprolib.tables.table_sources import TableSources


@dataclass(frozen=True, kw_only=True)
class TableCell:
    """One reported number with what was reproduced of it; in a row that is not printed, the latter alone.

    reported: the printed number. values: by seed, in the unit of the reported number; None where the record says that
    there is no such number (for example AP of large objects where there are none); empty in a row that describes data.
    reproduced: their mean, or the number of the report on data. difference: reproduced minus reported. measured: the
    values with their draws. noise: between seeds, as far as it is known. notes: footnotes.
    runnable: whether the suite can run it. missing: why there is no number, empty where it only waits to be run; None
    where there is one. obstacles: why the two numbers are not comparable. assumed: whether the system's design is
    partly a guess.

    The third step, `table_verdicts`, fills in the rest. gain_*: differences to the table's baseline row, in ablations.
    interval: of `reproduced`, 95%, in the number's unit; interval_source: what it holds, for example
    "images + 3 seeds", empty without interval. gain_interval: of `gain_reproduced`; it excludes 0 only where Holm's
    procedure over the rows of the ablation rejects (`confidence_intervals.holm`), and p_value is adjusted so.
    reasons: why the verdict is no judgement, empty otherwise.
    """

    reported: Cell
    values: Mapping[int, float | None] = field(default_factory=dict)
    reproduced: float | None
    difference: float | None
    measured: Measured = field(default_factory=lambda: Measured(values={}))
    noise: Noise | None = None
    notes: tuple[str, ...]
    runnable: bool = True
    missing: str | None
    obstacles: tuple[str, ...]
    assumed: bool = False

    gain_reported: float | None = None
    gain_reproduced: float | None = None
    interval: Interval | None = None
    interval_source: str = ""
    gain_interval: Interval | None = None
    gain_interval_source: str = ""
    p_value: float | None = None
    verdict: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row.

    experiment: what reproduces it, None without. published, planned: its run by the profile of published recipes and by
    this profile, None where that does not have it. extra: whether it is the suite's own. status: run, not run, not
    built yet, or reported only; `run` of a row that describes data says that there is a report. baseline: number of the
    row that an ablation's row is compared with, itself for the baseline; None outside ablations. components: as
    printed; where the publication leaves them open, those that the suite runs instead. notes: footnotes.
    """

    number: int
    experiment: Experiment | None
    published: Run | None
    planned: Run | None
    extra: bool
    status: str
    baseline: int | None
    components: tuple[str, ...]
    notes: tuple[str, ...]
    records: tuple[Mapping, ...]
    cells: tuple[TableCell, ...]

    @property
    def head(self) -> Cell:
        """Any reported cell of the row, for method, backbone, data set and components."""
        return self.cells[0].reported

    @property
    def is_baseline(self) -> bool:
        return self.baseline == self.number

    def cell(self, metric: str) -> TableCell | None:
        """The row's cell of a metric, None where the publication prints none."""
        return next((cell for cell in self.cells if cell.reported.metric == metric), None)


def join_rows(table: Table, sources: TableSources) -> list[TableRow]:
    """Join one table with what was read for it."""
    printed = sources.reported(table)
    reported = {row.number: _reported(row, printed) for row in table.rows}
    spelling = {name.lower(): name for cells in reported.values() for name in cells[0].components or ()}
    return [_row(row, reported, _baseline(row.number, reported), spelling, sources) for row in table.rows]


def _row(
    row: Row,
    reported: Mapping[int, Sequence[Cell]],
    baseline: int | None,
    spelling: Mapping[str, str],
    sources: TableSources,
) -> TableRow:
    head, experiment = reported[row.number][0], row.experiment
    published = _run(experiment, sources.paper)
    records = _records_of(experiment, sources.records)
    assumed = inferred(head.method, *([experiment.system] if experiment else []))
    if row.dataset:
        cells = [_data_cell(cell, row.dataset, sources) for cell in reported[row.number]]
    else:
        cells = [
            _cell(cell, row, records, published, sources, assumed=bool(experiment and assumed))
            for cell in reported[row.number]
        ]
    components = head.components
    if components is None:
        components = tuple(spelling.get(name, name) for name in experiment.components) if experiment else ()
    return TableRow(
        number=row.number,
        experiment=experiment,
        published=published,
        planned=_run(experiment, sources.profile),
        extra=row.extra is not None,
        status=_status(row, cells, records),
        baseline=baseline,
        components=components,
        notes=_row_notes(row, head, assumed),
        records=records,
        cells=tuple(cells),
    )


def _cell(
    reported: Cell,
    row: Row,
    records: Sequence[Mapping],
    published: Run | None,
    sources: TableSources,
    *,
    assumed: bool,
) -> TableCell:
    values = _values(reported, records)
    measured = _measured(reported.metric, values, records, sources.draws)
    reproduced = measured.mean if measured.values else None
    runnable, missing = _availability(reported, row, records, values, sources.profile)
    obstacles = []
    if row.extra is None and missing is None:
        obstacles = [reason for record in records for reason in why_not_comparable(record, reported, published)]
        if not measured.values:
            obstacles.append(f"no such objects in the data ({reported.metric})")
        if reported.value_confidence == "label_wrong":
            obstacles.append("the printed column is not what its label says")
    return TableCell(
        reported=reported,
        values=values,
        reproduced=reproduced,
        difference=minus(reproduced, reported.value),
        measured=measured,
        noise=sources.seed_noise.of(reported.metric, records),
        notes=_cell_notes(reported),
        runnable=runnable,
        missing=missing,
        obstacles=tuple(dict.fromkeys(obstacles)),
        assumed=assumed,
    )


def _data_cell(reported: Cell, dataset: str, sources: TableSources) -> TableCell:
    """The cell of a row that describes a published data set."""
    name = prepared_name(sources.profile, dataset)
    report = sources.reports.get(name)
    value = None if report is None else report_value(report, reported.metric)
    missing = None
    if report is None:
        missing = f"{name} is not prepared"
    elif value is None:
        missing = f"the report on {name} does not have it"
    obstacles = [f"other data ({name} stands in for {dataset})"] if name != dataset else []
    if protocol := catalog.other_protocol(reported.paper, reported.table, reported.row):
        obstacles.append(protocol)
    return TableCell(
        reported=reported,
        reproduced=value,
        difference=minus(value, reported.value),
        notes=_cell_notes(reported),
        missing=missing,
        obstacles=tuple(obstacles),
    )


def _run(experiment: Experiment | None, profile: Profile | None) -> Run | None:
    """The first run of an experiment under a profile, None where the profile does not have it."""
    if experiment is None or profile is None:
        return None
    try:
        return resolve(profile, experiment, profile.seeds[0])
    except ParamsError:
        return None


def minus(value: float | None, other: float | None) -> float | None:
    """The difference of two numbers, None where either is missing."""
    return None if value is None or other is None else value - other


def _reported(row: Row, printed: Sequence[Cell]) -> list[Cell]:
    """A row's cells as printed; those of an extra row are empty."""
    if row.extra is None:
        return [cell for cell in printed if cell.row == row.number]
    identity = {"row": row.number, "method": row.extra.name, "note": row.extra.why}
    return [unprinted(cell, **identity) for cell in printed if cell.row == row.extra.like]


def _baseline(number: int, reported: Mapping[int, Sequence[Cell]]) -> int | None:
    """The row that an ablation row is compared with: without components, else (removals) with most of them.

    Only printed rows on the same data set and backbone count. None for rows that are no ablation.
    """
    head = reported[number][0]
    if head.row_kind != "ablation":
        return None
    peers = {
        other: cells[0].components
        for other, cells in reported.items()
        if cells[0].row_kind == "ablation"
        and cells[0].printed
        and (cells[0].dataset, cells[0].backbone) == (head.dataset, head.backbone)
        and cells[0].components is not None
    }
    plain = [other for other, components in peers.items() if not components]
    return plain[0] if plain else max(peers, key=lambda other: len(peers[other]), default=None)


def _records_of(experiment: Experiment | None, records: Mapping[str, Mapping]) -> tuple[Mapping, ...]:
    if experiment is None:
        return ()
    own = (record for record in records.values() if record["experiment"] == experiment.id)
    return tuple(sorted(own, key=lambda record: record["seed"]))


def _values(reported: Cell, records: Sequence[Mapping]) -> dict[int, float | None]:
    """The reproduced numbers by seed in the reported unit, without seeds whose record lacks the number."""
    metric, values = reported.metric, {}
    counted = catalog.facts(reported.paper).parameters_counted
    for record in records:
        rate = record["speed"]["images_per_second"]
        if metric in record["metrics"]:
            values[record["seed"]] = record["metrics"][metric]
        elif metric == "params_M" and counted:
            values[record["seed"]] = record["cost"][counted] / 1e6
        elif metric == "flops_G" and record["cost"]["flops"] is not None:
            values[record["seed"]] = record["cost"]["flops"] / 1e9
        elif metric in MEASURED_BY_CLOCK and rate > 0:
            values[record["seed"]] = rate if metric == "fps" else 1000 / rate
    return values


def _measured(
    metric: str,
    values: Mapping[int, float | None],
    records: Sequence[Mapping],
    draws: Mapping[str, BootstrapDraws],
) -> Measured:
    """The values that are numbers, with their draws where all runs that have some are on the same images."""
    values = {seed: value for seed, value in values.items() if value is not None}
    drawn = {record["seed"]: draws[record["run"]] for record in records if record["run"] in draws}
    drawn = {seed: run for seed, run in drawn.items() if seed in values and metric in run.metrics}
    images = {run.images for run in drawn.values()}
    if len(images) != 1:
        return Measured(values=values)
    return Measured(
        values=values, draws={seed: run.metrics[metric] for seed, run in drawn.items()}, images=images.pop()
    )


def _availability(
    reported: Cell, row: Row, records: Sequence[Mapping], values: Mapping, profile: Profile
) -> tuple[bool, str | None]:
    """`runnable` and `missing` of a cell."""
    if reported.row_kind == "dataset":
        return False, "describes a data set"
    if why := reported_only(reported.method):
        return False, why.rstrip(".")
    if row.experiment is None:
        return True, "not built yet"
    if not records:
        waits = profile_lists(profile, row.experiment)
        return True, "" if waits else f"not among the experiments of profile {profile.name}"
    return True, None if values else f"{reported.metric} is not measured"


def _status(row: Row, cells: Sequence[TableCell], records: Sequence[Mapping]) -> str:
    if row.dataset:
        return "run" if any(cell.reproduced is not None for cell in cells) else "not run"
    if not cells[0].runnable:
        return "reported only"
    if row.experiment is None:
        return "not built yet"
    return "run" if records else "not run"


def _row_notes(row: Row, head: Cell, assumed: str) -> tuple[str, ...]:
    notes = [f"Not printed in the publication. {head.note}"] if row.extra else []
    if head.confidence != "certain":
        notes.append(f"{head.confidence.capitalize()}: {head.note}.")
    if assumed:
        notes.append(f"{assumed}.")
    return (*notes, *_audit_notes(head, None))


def _cell_notes(reported: Cell) -> tuple[str, ...]:
    notes = []
    if reported.value_confidence != "certain":
        notes = [f"{reported.value_confidence.replace('_', ' ').capitalize()}: {reported.note}."]
    return (*notes, *_audit_notes(reported, reported.metric))


def _audit_notes(cell: Cell, metric: str | None) -> list[str]:
    """What the paper's audit says of a cell, or, without a metric, of its row."""
    return [
        text
        for (table, row, about), text in catalog.facts(cell.paper).cell_notes.items()
        if (table, about) == (cell.table, metric) and row in (cell.row, None)
    ]
