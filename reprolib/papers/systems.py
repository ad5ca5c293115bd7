"""Every system that a table names or a row runs: where it is published, where it stands, what it was checked against.

The one place that gathers them; `reprolib.tables.systems_page`, the notebook `systems.ipynb` and the pages of
`reprolib.site` show it. Imports no torch.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

from reprolib.experiment import Experiment, Row, Table
from reprolib.models.systems.inferred import inferred
from reprolib.papers import catalog
from reprolib.papers.reported import Cell, load_table
from reprolib.papers.reported_only import REPORTED_ONLY

COUNTS = Path("results") / "systems.json"
COSTS = ("params_M", "flops_G")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Public code that a system was checked against: facts and numbers were taken from it, no code."""

    repository: str  # owner/name
    licence: str
    note: str


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

    name: canonical, as in methods.csv. family: box-based (two-stage, cascade) or not (one-stage, query), or what it
    does instead. origin: where each publication's numbers come from, in words, by paper. references: empty where no
    public code was found. note: what there is to say of publication or references. inferred: what is assumed of its
    design. reported_only: why nothing can run it. Empty where there is none.
    experiment: the one that is counted, None where nothing can run. reported: the parameters and FLOPs that are printed
    for it, by metric, of those that are. count: None where it is not counted yet.
    """

    name: str
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
    def named(self) -> bool:
        """Whether a table names it; else it is run in place of one that a table names."""
        return self.name in read_methods()

    @property
    def papers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(place.table.paper for place in self.places))


def gather_systems(root: str | Path = ".") -> tuple[System, ...]:
    """All systems by name, with the counts that `results/systems.json` below `root` holds, if any.

    Raises ValueError for a file of counts that cannot be read, and naming a system that no line of systems.csv has.
    """
    counts = read_counts(Path(root) / COUNTS)
    methods, facts, known = read_methods(), _by_name("systems.csv", "system"), read_references()
    shown: dict[str, list[_Shown]] = {}
    for found in _rows():
        for name in _names(found, methods):
            shown.setdefault(name, []).append(found)
    if missing := [name for name in shown if name not in facts]:
        raise ValueError(f"reprolib/papers/systems.csv has no line for {', '.join(missing)}: add publication and code")
    systems = []
    for name, rows in shown.items():
        method = methods[name if name in methods else rows[0].method]
        experiment = _counted_experiment(name, rows, methods)
        count = counts.get(name)
        systems.append(
            System(
                name=name,
                family=method["family"],
                publication=facts[name]["publication"],
                references=tuple(known[each] for each in facts[name]["references"].split(";") if each),
                note=facts[name]["note"],
                origin=_by_paper(method["status_by_paper"]) if name in methods else {},
                inferred=inferred(name),
                reported_only=REPORTED_ONLY.get(name, ""),
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


def read_methods() -> Mapping[str, Mapping[str, str]]:
    """The lines of methods.csv, by the canonical name of a method of the reported tables."""
    return _by_name("methods.csv", "canonical_name")


def read_references() -> dict[str, Reference]:
    """The public code that systems were checked against, by repository."""
    return {name: Reference(**line) for name, line in _by_name("references.csv", "repository").items()}


@dataclass(frozen=True, kw_only=True)
class _Shown:
    table: Table
    row: Row
    method: str  # canonical; of a row of the suite's own that of the printed row that it is like
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


def _names(found: _Shown, methods: Mapping[str, object]) -> Iterator[str]:
    """The systems that a row shows: the one printed, and one that is run in its place which no table names."""
    experiment = found.row.experiment
    if found.row.extra is None or (experiment and experiment.system == found.method):
        yield found.method
    if experiment and _unnamed(experiment, methods):
        yield experiment.system


def _unnamed(experiment: Experiment, methods: Mapping[str, object]) -> bool:
    return experiment.module.startswith("reprolib.models.systems.") and experiment.system not in methods


def _counted_experiment(name: str, rows: Sequence[_Shown], methods: Mapping[str, object]) -> Experiment | None:
    """Of a system's rows the one whose network is counted: a printed row before one of the suite's own, with most
    components, one whose cost is printed, on COCO and with ResNet-50 where there is such."""
    rows = [found for found in rows if found.row.experiment is not None]
    if name in methods:
        rows = [found for found in rows if not _unnamed(found.row.experiment, methods)]

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


def _by_paper(text: str) -> dict[str, str]:
    """`paper=text; paper=text` as a mapping."""
    entries = (entry.partition("=") for entry in re.split(r"; (?=\w+=)", text))
    return {paper: said for paper, _, said in entries if said}


@lru_cache(maxsize=4)
def _by_name(file: str, column: str) -> Mapping[str, Mapping[str, str]]:
    """The lines of a CSV file of `reprolib.papers` by a column that is unique, else ValueError."""
    text = (resources.files("reprolib.papers") / file).read_text(encoding="utf-8")
    lines = list(csv.DictReader(text.splitlines()))
    names = [line[column] for line in lines]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"reprolib/papers/{file}: more than one line for {', '.join(twice)}")
    return dict(zip(names, lines, strict=True))
