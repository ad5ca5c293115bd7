"""Every system that a table names or a row runs: where it is published, where it stands, what it was checked against.

The one place that gathers them; `reprolib.tables.systems_page`, the notebook `systems.ipynb` and the pages of
`reprolib.site` show it. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reprolib.experiment import Experiment, Row, Table
from reprolib.models.systems.cards import Reference
from reprolib.papers import catalog, named_systems
from reprolib.papers.folders import paper_folder, shown
from reprolib.papers.reported import Cell, load_table

COUNTS = Path("results") / "systems.json"
COSTS = ("params_M", "flops_G")


@dataclass(frozen=True, kw_only=True)
class Place:
    """The rows of a table that show a system. own: those of them that are the suite's own, which nothing prints."""

    table: Table
    rows: tuple[int, ...]
    own: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Count:
    """What a system costs at published scale, as `reprolib describe ... --profile paper` counts it.

    params: all of them. flops: multiply-adds of one image of input_size (height, width). fingerprint: of recipe and
    code, by which a count is known to be stale.
    """

    experiment: str
    backbone: str
    classes: int
    params: int
    flops: int
    input_size: tuple[int, int]
    fingerprint: str

    @property
    def of(self) -> Mapping[str, float]:
        """The counts by the metrics that publications print: millions and billions."""
        return {"params_M": self.params / 1e6, "flops_G": self.flops / 1e9}


@dataclass(frozen=True, kw_only=True)
class System:
    """What is known of one system, besides what its runs gave.

    name: as in the column `method` of the reported tables. named: whether a table names it; else it is run in place of
    one that a table names. family: two-stage, cascade, one-stage, query, or what it does instead. origin: where each
    publication's numbers come from, in words, by paper. references: empty where no public code was found. note: what
    there is to say of publication or references. inferred: what is assumed of its design. reported_only: why nothing
    can run it. Empty where there is none.
    experiment: the one that is counted, None where nothing can run. reported: the parameters and FLOPs that are printed
    for it, by metric, of those that are. count: None where it is not counted yet.
    """

    name: str
    named: bool
    family: str
    publication: str
    references: tuple[Reference, ...]
    note: str
    origin: Mapping[str, str]
    inferred: str
    reported_only: str
    places: tuple[Place, ...]
    experiment: Experiment | None
    reported: Mapping[str, float]
    count: Count | None

    @property
    def papers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(place.table.paper for place in self.places))


def gather_systems(root: str | Path = ".") -> tuple[System, ...]:
    """All systems by name, with the counts that `results/systems.json` below `root` holds, if any.

    Raises ValueError for a file of counts that cannot be read, and naming a system without facts.
    """
    counts = read_counts(Path(root) / COUNTS)
    cards, built, rows_of_tables = named_systems.cards(), named_systems.built_cards(), list(_rows())
    printed = {found.method for found in rows_of_tables if found.row.extra is None}
    rows_of: dict[str, list[_Shown]] = {}
    for found in rows_of_tables:
        for name in _names(found, printed, built):
            rows_of.setdefault(name, []).append(found)
    for name, rows in rows_of.items():
        if name not in cards:
            path = paper_folder(rows[0].table.paper) / "systems.csv"
            raise ValueError(f"{shown(path)}: {name} has no publication and family; add them to its line")
    systems = []
    for name, rows in rows_of.items():
        card, experiment = cards[name], _counted_experiment(name, rows, printed, built)
        count = counts.get(name)
        systems.append(
            System(
                name=name,
                named=name in printed,
                family=card.family,
                publication=card.publication,
                references=card.references,
                note=card.note,
                origin=_origin(name),
                inferred=card.inferred,
                reported_only=named_systems.reported_only(name),
                places=tuple(_places(rows)),
                experiment=experiment,
                reported=_reported(rows, experiment),
                count=count if count and experiment and count.experiment == experiment.id else None,
            )
        )
    return tuple(sorted(systems, key=lambda system: system.name.lower()))


def read_counts(path: str | Path) -> dict[str, Count]:
    """The counts of a file by system; empty where there is no such file. Raises ValueError naming a damaged one."""
    try:
        held = json.loads(Path(path).read_text(encoding="utf-8"))
        return {name: Count(**values | {"input_size": tuple(values["input_size"])}) for name, values in held.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: no file of counts ({error}); delete it, notebooks/systems.ipynb writes it") from None


@dataclass(frozen=True, kw_only=True)
class _Shown:
    table: Table
    row: Row
    method: str  # by the name of the reported tables; of a row of the suite's own that of the printed row it is like
    cells: Sequence[Cell]  # as printed


def _rows() -> Iterator[_Shown]:
    """Every row of every table that shows a method."""
    for table in catalog.all_tables().values():
        cells = load_table(table.paper, table.number)
        for row in table.rows:
            number = row.extra.like if row.extra else row.number
            method = next(cell.method for cell in cells if cell.row == number)
            if method:
                printed = [] if row.extra else [cell for cell in cells if cell.row == number]
                yield _Shown(table=table, row=row, method=method, cells=printed)


def _names(found: _Shown, printed: Collection[str], built: Collection[str]) -> Iterator[str]:
    """The systems that a row shows: the one printed, and one that is run in its place which no table names."""
    experiment = found.row.experiment
    if found.row.extra is None or (experiment and experiment.system == found.method):
        yield found.method
    if experiment and _unnamed(experiment, printed, built):
        yield experiment.system


def _unnamed(experiment: Experiment, printed: Collection[str], built: Collection[str]) -> bool:
    return experiment.system in built and experiment.system not in printed


def _counted_experiment(
    name: str, rows: Sequence[_Shown], printed: Collection[str], built: Collection[str]
) -> Experiment | None:
    """Of a system's rows the one whose network is counted: a printed row before one of the suite's own, with most
    components, one whose cost is printed, on COCO and with ResNet-50 where there is such."""
    rows = [found for found in rows if found.row.experiment is not None]
    if name in printed:
        rows = [found for found in rows if not _unnamed(found.row.experiment, printed, built)]

    def order(found: _Shown) -> tuple:
        experiment = found.row.experiment
        unprinted = not any(cell.metric in COSTS for cell in found.cells)
        others = (unprinted, experiment.dataset != "coco", experiment.backbone != "resnet50")
        return (found.row.extra is not None, -len(experiment.components), *others)

    return min(rows, key=order).row.experiment if rows else None


def _places(rows: Sequence[_Shown]) -> Iterator[Place]:
    for table in {found.table.id: found.table for found in rows}.values():
        here = [found.row for found in rows if found.table is table]
        own = tuple(row.number for row in here if row.extra)
        yield Place(table=table, rows=tuple(row.number for row in here), own=own)


def _reported(rows: Sequence[_Shown], experiment: Experiment | None) -> dict[str, float]:
    """What is printed for the cost of the experiment that is counted; of tables that differ, what the first prints."""
    same = [found for found in rows if experiment and found.row.experiment == experiment]
    cells = [cell for found in reversed(same) for cell in found.cells if cell.metric in COSTS]
    return {cell.metric: cell.value for cell in cells}


def _origin(name: str) -> dict[str, str]:
    """Where the numbers of a system come from, by the papers that name it."""
    lines = {paper: named_systems.systems_of(paper).get(name) for paper in catalog.papers()}
    return {paper: line.origin for paper, line in lines.items() if line and line.origin}
