"""What the report shows, gathered from a profile's records and the reported numbers. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reprolib.audit.finding import Finding
from reprolib.audit.run import Checked, audit, in_order
from reprolib.experiment import Table
from reprolib.papers import catalog
from reprolib.papers.claims import load_claims
from reprolib.papers.systems import System as Known
from reprolib.papers.systems import gather_systems
from reprolib.params import Profile
from reprolib.tables.claims import Claim, join_claims
from reprolib.tables.joined import JoinedCell, JoinedRow
from reprolib.tables.layout import Sheet, lay_out
from reprolib.tables.recipe import Recipe, recipes
from reprolib.tables.render import join_tables

# What a publication prints per image, as images per second.
_RATE = {"fps": lambda value: value, "time_ms": lambda value: 1000 / value}


@dataclass(frozen=True, kw_only=True)
class TableContent:
    """One table joined with the records: its rows, the sheet that lays them out, and the recipes of the rows."""

    table: Table
    rows: Sequence[JoinedRow]
    sheet: Sheet
    recipes: Sequence[Recipe]

    @property
    def title(self) -> str:
        return f"Table {self.table.number}: {self.table.title}"

    def recipe_of(self, row: JoinedRow) -> Recipe | None:
        """The recipe of a row, None for one without an experiment."""
        return next((recipe for recipe in self.recipes if row.number in recipe.rows), None)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A row of a table that shows a system."""

    content: TableContent
    row: JoinedRow

    def rate(self) -> JoinedCell | None:
        """The cell of its speed."""
        return next((cell for cell in self.row.cells if cell.cell.metric in _RATE), None)


@dataclass(frozen=True, kw_only=True)
class System:
    """A method as publications name it, with every row that shows it.

    known: what is known of it besides; None of what stands in rows of the suite's own alone.
    """

    name: str
    known: Known | None
    places: Sequence[Place]

    @property
    def slug(self) -> str:
        return slug(self.name)

    @property
    def papers(self) -> list[str]:
        return list(dict.fromkeys(place.content.table.paper for place in self.places))

    @property
    def records(self) -> list[Mapping]:
        """The records of its rows, each once."""
        found = {record["run"]: record for place in self.places for record in place.row.records}
        return list(found.values())

    def reported(self, metric: str) -> list[Place]:
        """The rows that print a metric."""
        return [place for place in self.places if (cell := place.row.cell(metric)) and cell.cell.value is not None]


@dataclass(frozen=True, kw_only=True)
class Content:
    """A whole report. results: the profile's folder, absolute."""

    profile: Profile
    results: Path
    tables: Mapping[str, TableContent]
    systems: Sequence[System]
    records: Mapping[str, Mapping]
    claims: Sequence[Claim]
    checks: Sequence[Checked]

    @property
    def papers(self) -> list[str]:
        """Keys of all papers."""
        return catalog.papers()

    @cached_property
    def findings(self) -> list[Finding]:
        """What the audit's checks found, the heaviest first."""
        return in_order(finding for check in self.checks for finding in check.findings)

    def of_paper(self, paper: str) -> list[TableContent]:
        """A paper's tables in printed order."""
        return [content for content in self.tables.values() if content.table.paper == paper]

    def system(self, name: str) -> System | None:
        """A system by its name; None for what is none, such as a row that describes data."""
        return next((system for system in self.systems if system.name == name), None)


def gather(profile_name: str | None = None, *, params: str | Path = "params.yaml") -> Content:
    """Read a profile's records and join every table of every paper with them.

    Raises ParamsError for an unknown profile, RecordError for a record that cannot be read.
    """
    printed = catalog.all_tables()
    profile, paper, records, joined = join_tables(list(printed.values()), profile_name, params=params)
    results = (Path(params).parent / profile.results).absolute()
    tables = {}
    for name, table in printed.items():
        rows = joined[name]
        found = recipes(rows, profile, paper)
        tables[name] = TableContent(
            table=table, rows=rows, sheet=lay_out(table, rows, profile, found), recipes=tuple(found)
        )
    return Content(
        profile=profile,
        results=results,
        tables=tables,
        systems=_systems(list(tables.values()), Path(params).parent),
        records=records,
        claims=join_claims(load_claims(), joined),
        checks=audit(),
    )


def images_per_second(cell: JoinedCell) -> tuple[float | None, float | None]:
    """A speed as reported and as reproduced, both in images per second."""
    turn = _RATE[cell.cell.metric]
    return tuple(turn(value) if value else None for value in (cell.cell.value, cell.reproduced))


def slug(text: str) -> str:
    """A name as part of an address: lower case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("+", " plus ")).strip("-")


def _systems(tables: Sequence[TableContent], root: Path) -> list[System]:
    known = {system.name: system for system in gather_systems(root)}
    places: dict[str, list[Place]] = {}
    for content in tables:
        for row in content.rows:
            names = [row.head.method]
            if row.experiment and row.experiment.system in known and not known[row.experiment.system].named:
                names.append(row.experiment.system)  # run in place of the one that the row names
            for name in filter(None, names):
                places.setdefault(name, []).append(Place(content=content, row=row))
    systems = [System(name=name, known=known.get(name), places=tuple(found)) for name, found in places.items()]
    return sorted(systems, key=lambda system: system.name.lower())
