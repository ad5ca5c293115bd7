"""What is missing or inconsistent in one paper, in the order in which a person would mend it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from reprolib.experiment import Experiment, Row, Table
from reprolib.papers import catalog
from reprolib.papers.addresses import profile_experiments, profile_papers, profile_tables
from reprolib.papers.claims import Place, load_claims
from reprolib.papers.folders import notebook_of, paper_folder, shown
from reprolib.papers.named_systems import cards, systems_of
from reprolib.papers.new.make import FILL_IN
from reprolib.papers.reported import load_table, table_numbers
from reprolib.params import ParamsError, load_profile, load_profiles, resolve

FILES = ("tables.py", "facts.py", "systems.csv", "claims.csv", "card.md", "__init__.py", "model.py")
SECTIONS = ("## What it is", "## Ambiguities")


def check_paper(paper: str) -> list[str]:
    """Every problem as one line with its mend; empty where the paper is complete.

    Where one step has problems that the next ones would trip over, those are left for the next call. Raises KeyError
    for a paper that has no folder.
    """
    paper_folder(paper)
    found: list[str] = []
    for step in STEPS:
        try:
            found += step(paper)
        except (ValueError, KeyError) as error:  # a file of this paper, or of another one, cannot be read
            return [*found, str(error.args[0] if error.args else error)]
        if found and step in NEEDED_BY_THE_NEXT:
            return found
    return found


def _files(paper: str) -> Iterator[str]:
    folder = paper_folder(paper)
    for name in FILES:
        if not (folder / name).is_file():
            yield f"{shown(folder / name)} is missing; `reprolib new-paper` makes one in a new paper, for an example"
    if not table_numbers(paper):
        yield f"{shown(folder / 'reported')} has no table_<number>.csv: the printed numbers, one line for each"


def _numbers(paper: str) -> Iterator[str]:
    """The printed numbers, and a table with as many rows for each file."""
    folder = paper_folder(paper)
    tables = {table.number: table for table in catalog.tables_of(paper)}
    for number in sorted({*table_numbers(paper), *tables}):
        path = folder / "reported" / f"table_{number}.csv"
        if number not in tables:
            yield f"{shown(folder / 'tables.py')}: TABLES has no table {number}, which {path.name} prints"
        elif not path.is_file():
            yield f"{shown(path)} is missing, but TABLES has table {number}"
        else:
            printed = sorted({cell.row for cell in load_table(paper, number)})
            named = [row.number for row in tables[number].rows if row.extra is None]
            if printed != named:
                yield f"{shown(path)}: prints rows {_span(printed)}, but TABLES has rows {_span(named)}"
            yield from _unfilled(path)


def _systems(paper: str) -> Iterator[str]:
    path = paper_folder(paper) / "systems.csv"
    named, known = systems_of(paper), cards()
    printed = {cell.method for number in table_numbers(paper) for cell in load_table(paper, number)} - {""}
    for name in sorted(printed - set(named)):
        yield f"{shown(path)}: no line for {name}, which a table prints"
    for name in sorted(set(named) - printed):
        yield f"{shown(path)}: no table prints {name}; delete its line, or correct the column `method` of the tables"
    for name in sorted(printed & set(named) - set(known)):
        yield f"{shown(path)}: {name} needs family and publication, as no other paper and no card of a system has them"
    yield from _unfilled(path)


def _tables(paper: str) -> Iterator[str]:
    """What reproduces each row, or why nothing does; what is said about cells."""
    path = paper_folder(paper) / "tables.py"
    facts, named = catalog.facts(paper), systems_of(paper)
    for table in catalog.tables_of(paper):
        methods = {cell.row: cell.method for cell in load_table(paper, table.number)}
        for row in table.rows:
            method = methods.get(row.number, "")
            if row.extra or row.dataset or not method:
                continue
            if row.experiment is None and not named[method].reported_only:
                yield (
                    f"{shown(path)}: {table.id} row {row.number} ({method}) names no experiment; name one, or say in"
                    " systems.csv, reported_only, why nothing can run it"
                )
            if _other_name(row, method) and (table.number, row.number, None) not in facts.cell_notes:
                yield (
                    f"{shown(path)}: {table.id} row {row.number} prints {method} and runs {row.experiment.system}; say"
                    f" why in facts.py, cell_notes: ({table.number}, {row.number}, None)"
                )
    cells = _cells(paper)
    for table_number, row_number, metric in facts.cell_notes:
        if not any(t == table_number and row_number in (None, r) and metric in (None, m) for t, r, m in cells):
            yield f"{shown(path.with_name('facts.py'))}: cell_notes names no cell: {(table_number, row_number, metric)}"
    yield from _unfilled(path, path.with_name("facts.py"))


def _model(paper: str) -> Iterator[str]:
    """Each network of the paper's own is built thin, trained for two steps and run."""
    from reprolib.pipeline.contract_check import broken_contract  # loads torch, which no other step needs

    folder = paper_folder(paper)
    for experiment in _own_networks(catalog.tables_of(paper), paper):
        if trouble := broken_contract(experiment):
            yield f"{shown(folder / 'model.py')}: {experiment.id} {trouble}"
    yield from _unfilled(*sorted(folder.glob("*.py")), skip=("tables.py", "facts.py"))


def _claims(paper: str) -> Iterator[str]:
    path = paper_folder(paper) / "claims.csv"
    cells, claims = _cells(paper), [claim for claim in load_claims() if claim.paper == paper]
    rows = {(table, row) for table, row, _ in cells}
    for claim in claims:
        for place in filter(None, (claim.minuend, claim.subtrahend)):
            if (place.table, place.row) not in rows:
                yield f"{shown(path)}: {claim.id} speaks of {_place(place)}, which does not exist"
                continue
            printed = {metric for table, row, metric in cells if (table, row) == (place.table, place.row)}
            for metric in filter(None, claim.metric.split(";")):
                if not {metric, f"oracle/{metric}"} & printed:
                    yield f"{shown(path)}: {claim.id} speaks of {metric} of {_place(place)}, which is not printed"
    for name in sorted(set(catalog.facts(paper).claim_rules) - {claim.id for claim in claims}):
        yield f"{shown(path.with_name('facts.py'))}: claim_rules names {name}, which claims.csv does not have"
    yield from _unfilled(path, path.with_name("audit.md"))


def _card(paper: str) -> Iterator[str]:
    path = paper_folder(paper) / "card.md"
    text = path.read_text(encoding="utf-8")
    if not text.startswith("# "):
        yield f"{shown(path)}: the first line must be `# ` and the paper's short title"
    for section in SECTIONS:
        if f"{section}\n" not in text:
            yield f"{shown(path)}: no section `{section}`"
    for name in _switches(paper):
        if f"`{name}`" not in text:
            yield f"{shown(path)}: does not explain the switch `{name}`: its default, and what the default rests on"
    yield from _unfilled(path)


def _notebook(paper: str) -> Iterator[str]:
    path = notebook_of(paper)
    if not path.is_file():
        yield f"{shown(path)} is missing: how the method works, and its tables"
        return
    try:
        sources = [(cell["metadata"], "".join(cell["source"])) for cell in json.loads(path.read_text())["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        yield f"{path}: not a notebook that can be read ({error})"
        return
    if not any("parameters" in metadata.get("tags", []) and "profile" in source for metadata, source in sources):
        yield f'{path}: no cell with the tag `parameters` that sets `profile = "demo"`'
    yield from _unfilled(path)


def _params(paper: str) -> Iterator[str]:
    """Published schedules for all experiments, and a profile that runs some of them."""
    published = load_profile("paper")
    for experiment in _experiments(catalog.tables_of(paper)):
        try:
            resolve(published, experiment, 0)
        except ParamsError as error:
            yield str(error)
        if experiment.schedule and experiment.schedule not in published.schedules:
            yield f"params.yaml: profile paper has no schedule {experiment.schedule!r}, which {experiment.id} names"
    listing = [profile for profile in map(load_profile, load_profiles()) if paper in profile_papers(profile)]
    for profile in listing:
        profile_experiments(profile), profile_tables(profile)  # both raise for what does not exist
    if not listing:
        yield f"params.yaml: no profile lists {paper} under `papers`"
    lines = Path("params.yaml").read_text(encoding="utf-8").splitlines()
    if open_lines := [number for number, line in enumerate(lines, start=1) if FILL_IN in line]:
        yield f"params.yaml, line {open_lines[0]}: {FILL_IN}"


STEPS: tuple[Callable[[str], Iterator[str]], ...] = (
    *(_files, _numbers, _systems, _tables, _model),
    *(_claims, _card, _notebook, _params),
)
NEEDED_BY_THE_NEXT = (_files, _numbers, _systems)


def _cells(paper: str) -> set[tuple[int, int, str]]:
    """(table, row, metric) of every printed number."""
    return {(cell.table, cell.row, cell.metric) for n in table_numbers(paper) for cell in load_table(paper, n)}


def _experiments(tables: tuple[Table, ...]) -> list[Experiment]:
    found = (row.experiment for table in tables for row in table.rows if row.experiment)
    return list({experiment.id: experiment for experiment in found}.values())


def _own_networks(tables: tuple[Table, ...], paper: str) -> list[Experiment]:
    """One experiment for each network that the paper's own folder builds, whatever the data set."""
    own = [one for one in _experiments(tables) if one.module.startswith(f"reprolib.papers.{paper}.")]
    return list({(one.module, one.components, *sorted(one.switches.items())): one for one in own}.values())


def _other_name(row: Row, method: str) -> bool:
    return row.experiment is not None and row.experiment.system != method.partition(" (")[0]


def _switches(paper: str) -> list[str]:
    name = f"reprolib.papers.{paper}.switches"
    if importlib.util.find_spec(name) is None:
        return []
    switches = getattr(importlib.import_module(name), "Switches", None)
    return [field.name for field in dataclasses.fields(switches)] if switches else []


def _unfilled(*paths: Path, skip: tuple[str, ...] = ()) -> Iterator[str]:
    """The first line of each file that the template left to be written."""
    for path in paths:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() and path.name not in skip else []
        if left := [number for number, line in enumerate(lines, start=1) if FILL_IN in line]:
            yield f"{shown_or_plain(path)}, line {left[0]}: {FILL_IN}" + (
                f" ({len(left)} lines)" if len(left) > 1 else ""
            )


def shown_or_plain(path: Path) -> str:
    """A file as messages name it, whether a paper's folder holds it or the repository."""
    return shown(path) if path.is_absolute() else path.as_posix()


def _span(numbers: list[int]) -> str:
    return f"{numbers[0]} to {numbers[-1]}" if numbers == list(range(1, len(numbers) + 1)) else str(numbers)


def _place(place: Place) -> str:
    return f"table {place.table} row {place.row}"
