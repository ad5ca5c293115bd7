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
from reprolib.papers.systems import System, gather_systems
from reprolib.params import Profile
from reprolib.tables.claim_verdicts import ClaimVerdict, judge_claims
from reprolib.tables.layout import Sheet
from reprolib.tables.recipe import Recipe
from reprolib.tables.render import read_rows, sheet_of
from reprolib.tables.table_rows import TableCell, TableRow

# What a publication prints per image, as images per second.
_RATE = {"fps": lambda value: value, "time_ms": lambda value: 1000 / value}


@dataclass(frozen=True, kw_only=True)
class TableContent:
    """One table beside the records: its rows, and the sheet that lays them out."""

    table: Table
    rows: Sequence[TableRow]
    sheet: Sheet

    @property
    def title(self) -> str:
        return f"Table {self.table.number}: {self.table.title}"

    def recipe_of(self, row: TableRow) -> Recipe | None:
        """The recipe of a row, None for one without an experiment."""
        return next((recipe for recipe in self.sheet.recipes if row.number in recipe.rows), None)


@dataclass(frozen=True, kw_only=True)
class ShownRow:
    """A row of a table that shows a system."""

    content: TableContent
    row: TableRow

    def rate(self) -> TableCell | None:
        """The cell of its speed."""
        return next((cell for cell in self.row.cells if cell.reported.metric in _RATE), None)


@dataclass(frozen=True, kw_only=True)
class ShownSystem:
    """A method as publications name it, with every row that shows it.

    facts: publication, cost and code; None where only rows of the suite's own show it.
    """

    name: str
    facts: System | None
    places: Sequence[ShownRow]

    @property
    def slug(self) -> str:
        return slug(self.name)

    @property
    def papers(self) -> list[str]:
        return list(dict.fromkeys(place.content.table.paper for place in self.places))

    @property
    def records(self) -> list[Mapping]:
        """The records of its rows, each once."""
        return list({record["run"]: record for place in self.places for record in place.row.records}.values())

    def reported(self, metric: str) -> list[ShownRow]:
        """The rows that print a metric."""
        return [place for place in self.places if (cell := place.row.cell(metric)) and cell.reported.value is not None]


@dataclass(frozen=True, kw_only=True)
class Content:
    """A whole report. results: the profile's folder, absolute."""

    profile: Profile
    results: Path
    tables: Mapping[str, TableContent]
    systems: Sequence[ShownSystem]
    records: Mapping[str, Mapping]
    claims: Sequence[ClaimVerdict]
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

    def system(self, name: str) -> ShownSystem | None:
        """A system by its name; None for what is none, such as a row that describes data."""
        return next((system for system in self.systems if system.name == name), None)


def gather(profile_name: str | None = None, *, params: str | Path = "params.yaml") -> Content:
    """Read a profile's records and join every table of every paper with them.

    Raises ParamsError for an unknown profile, RecordError for a record that cannot be read.
    """
    printed = catalog.all_tables()
    sources, rows = read_rows(list(printed.values()), profile_name, params=params)
    profile = sources.profile
    tables = {
        name: TableContent(table=table, rows=rows[name], sheet=sheet_of(table, rows[name], profile))
        for name, table in printed.items()
    }
    return Content(
        profile=profile,
        results=(Path(params).parent / profile.results).absolute(),
        tables=tables,
        systems=_systems(list(tables.values()), Path(params).parent),
        records=sources.records,
        claims=judge_claims(load_claims(), rows),
        checks=audit(),
    )


def images_per_second(cell: TableCell) -> tuple[float | None, float | None]:
    """A speed as reported and as reproduced, both in images per second."""
    convert = _RATE[cell.reported.metric]
    return tuple(convert(value) if value else None for value in (cell.reported.value, cell.reproduced))


def slug(text: str) -> str:
    """A name as part of an address: lower case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("+", " plus ")).strip("-")


def _systems(tables: Sequence[TableContent], root: Path) -> list[ShownSystem]:
    facts = {system.name: system for system in gather_systems(root)}
    places: dict[str, list[ShownRow]] = {}
    for content in tables:
        for row in content.rows:
            names = [row.head.method]
            if row.experiment and row.experiment.system in facts and not facts[row.experiment.system].named:
                names.append(row.experiment.system)  # run in place of the one that the row names
            for name in filter(None, names):
                places.setdefault(name, []).append(ShownRow(content=content, row=row))
    systems = [ShownSystem(name=name, facts=facts.get(name), places=tuple(rows)) for name, rows in places.items()]
    return sorted(systems, key=lambda system: system.name.lower())
