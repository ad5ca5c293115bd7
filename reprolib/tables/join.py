"""Reported numbers and records, joined row by row and cell by cell, each with its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from reprolib.experiment import Experiment, Row, Table
from reprolib.papers import catalog
from reprolib.papers.named_systems import inferred, reported_only
from reprolib.papers.reported import Cell, load_table, unprinted
from reprolib.params import Profile
from reprolib.tables import described
from reprolib.tables.comparable import MEASURED_BY_CLOCK
from reprolib.tables.joined import JoinedCell, JoinedRow
from reprolib.tables.judged import judge
from reprolib.tables.seed_noise import SeedNoise
from reprolib.tables.uncertainty import (
    Measured,
    Noise,
    estimate,
    paired,
)

if TYPE_CHECKING:
    from reprolib.tables.draws import Draws


def join(
    table: Table,
    records: Mapping[str, Mapping],
    profile: Profile,
    *,
    paper: Profile | None = None,
    reports: Mapping[str, Mapping] = MappingProxyType({}),
    draws: Mapping[str, Draws] = MappingProxyType({}),
) -> list[JoinedRow]:
    """Join one table with a profile's records (by run id) and reports on data (by prepared data set).

    paper: the profile that holds the published recipes, to tell whether a run's scale is the published one.
    draws: by run id, for intervals over images; without them intervals come from seeds alone.
    """
    noise = SeedNoise(records)
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
            cells = []
            for cell in by_row[row.number]:
                base_cell = _base_cell(cell, by_row, base)
                measured = measure(cell, found[row.number], draws)
                before = measure(base_cell, found[base], draws) if base_cell else None
                known = noise.of(cell.metric, found[row.number])
                cells.append(_join_cell(cell, row, found[row.number], base_cell, measured, before, known))
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
    return judge(joined, table, baselines, profile=profile, paper=paper)


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


def _base_cell(cell: Cell, by_row: Mapping[int, list[Cell]], base: int | None) -> Cell | None:
    """The number of the table's baseline row that a cell of an ablation is compared with."""
    if base is None or base == cell.row or cell.row_kind != "ablation":
        return None
    return next((other for other in by_row[base] if other.metric == cell.metric), None)


def _join_cell(
    cell: Cell,
    row: Row,
    records: tuple[Mapping, ...],
    base_cell: Cell | None,
    measured: Measured,
    before: Measured | None,
    noise: Noise | None,
) -> JoinedCell:
    """Values, differences and estimates, without the verdict: that needs the other rows' too."""
    values = _values(cell, records)
    reproduced = measured.mean if measured.values else None
    delta = None
    if measured.values and before and before.values:
        ours, theirs, _ = paired(measured, before)
        delta = ours.mean - theirs.mean
    found = estimate(measured, noise=noise) if cell.unit == "%" else None
    return JoinedCell(
        cell=cell,
        values=values,
        reproduced=reproduced,
        difference=_minus(reproduced, cell.value),
        delta_reported=_minus(cell.value, base_cell.value) if base_cell else None,
        delta_reproduced=delta,
        verdict="",
        reasons=(),
        interval=found.interval() if found else None,
        interval_source=found.source if found else "",
        measured=measured,
        noise=noise,
        assumed=bool(row.experiment and inferred(cell.method, row.experiment.system)),
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
        elif cell.metric == "params_M" and (counted := catalog.facts(cell.paper).parameters_counted):
            values[record["seed"]] = record["cost"][counted] / 1e6
        elif cell.metric == "flops_G" and record["cost"]["flops"] is not None:
            values[record["seed"]] = record["cost"]["flops"] / 1e9
        elif cell.metric in MEASURED_BY_CLOCK and record["speed"]["images_per_second"] > 0:
            rate = record["speed"]["images_per_second"]
            values[record["seed"]] = rate if cell.metric == "fps" else 1000 / rate
    return values


def measure(cell: Cell | None, records: Sequence[Mapping], draws: Mapping[str, Draws]) -> Measured:
    """What an experiment's runs gave for a metric, and on resamples of the images, of those runs that have matches."""
    values = {seed: value for seed, value in _values(cell, tuple(records)).items() if value is not None}
    known = {record["seed"]: draws.get(record["run"]) for record in records if record["seed"] in values}
    known = {seed: found for seed, found in known.items() if found and cell.metric in found.metrics}
    images = {found.images for found in known.values()}
    if len(images) != 1:
        return Measured(values=values)
    drawn = {seed: found.metrics[cell.metric] for seed, found in known.items()}
    return Measured(values=values, draws=drawn, images=images.pop())


def _records_of(experiment: Experiment | None, records: Mapping[str, Mapping]) -> tuple[Mapping, ...]:
    if experiment is None:
        return ()
    found = (record for record in records.values() if record["experiment"] == experiment.id)
    return tuple(sorted(found, key=lambda record: record["seed"]))


def _status(row: Row, cells: Sequence[JoinedCell], records: tuple[Mapping, ...]) -> str:
    if row.dataset:
        return "run" if any(joined.reproduced is not None for joined in cells) else "not run"
    if cells[0].cell.row_kind == "dataset" or reported_only(cells[0].cell.method):
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
