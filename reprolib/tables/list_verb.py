"""`reprolib list`: experiments with their addresses, or the rows of a table as its readers know them."""

from __future__ import annotations

import argparse
import json

from reprolib.evaluation.record import read_records
from reprolib.papers.addresses import table_by_id
from reprolib.papers.catalog import all_experiments, all_tables, title
from reprolib.papers.named_systems import inferred
from reprolib.params import Profile, load_profile
from reprolib.tables.data_reports import read_reports
from reprolib.tables.layout import main_metrics, metric_label, row_label
from reprolib.tables.number_text import NOTHING
from reprolib.tables.table_rows import TableRow, join_rows
from reprolib.tables.table_sources import TableSources

HELP = "experiments with the rows that show them, or the rows of a table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options, beside the profile's name."""
    parser.add_argument("--table", metavar="ID", help="its rows: address, printed name, reported numbers, experiment")
    parser.add_argument("--json", action="store_true")


def run(options: argparse.Namespace) -> None:
    """Print all experiments by id, or one table's rows with what the profile has of them."""
    if options.table:
        entries = table_entries(options.table, load_profile(options.profile))
        print(json.dumps(entries, indent=1) if options.json else table_text(options.table, entries))
    else:
        entries = experiment_entries()
        print(json.dumps(entries, indent=1) if options.json else experiments_text(entries))


def experiment_entries() -> list[dict[str, object]]:
    """All experiments as plain JSON, each with the rows that show it."""
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in all_experiments()}
    for table in all_tables().values():
        for row in table.rows:
            if row.experiment is not None:
                place = {"paper": table.paper, "table": table.id, "row": row.number}
                rows[row.experiment.id].append(place | {"address": f"{table.id}:{row.number}"})
    return [
        {
            "id": name,
            "system": experiment.system,
            "inferred": inferred(experiment.system),
            "components": list(experiment.components),
            "backbone": experiment.backbone,
            "dataset": experiment.dataset,
            "switches": dict(experiment.switches),
            "tables": rows[name],
        }
        for name, experiment in all_experiments().items()
    ]


def experiments_text(entries: list[dict]) -> str:
    """One line an experiment: id and addresses."""
    width = max(len(entry["id"]) for entry in entries)
    lines = []
    for entry in entries:
        addresses = ", ".join(row["address"] for row in entry["tables"])
        lines.append(f"{entry['id']:{width}}  {addresses}{'  (design partly inferred)' if entry['inferred'] else ''}")
    return "\n".join(lines)


def table_entries(table_id: str, profile: Profile) -> list[dict[str, object]]:
    """The rows of a table as plain JSON: address, printed name, reported main metrics, experiment and state.

    Raises ParamsError for an unknown table.
    """
    table = table_by_id(table_id)
    sources = TableSources(
        profile=profile,
        records=read_records(profile.results / "records"),
        reports=read_reports(profile.results / "data"),
    )
    rows = join_rows(table, sources)
    return [
        {
            "address": f"{table.id}:{row.number}",
            "name": " + ".join([row_label(row, rows), *row.components]),
            "printed": not row.extra,
            "reported": {metric_label(name): _reported(row, name) for name in main_metrics(rows)},
            "experiment": row.experiment.id if row.experiment else None,
            "state": _state(row),
        }
        for row in rows
    ]


def table_text(table_id: str, entries: list[dict]) -> str:
    """The rows in columns below the table's title."""
    table = table_by_id(table_id)
    metrics = list(entries[0]["reported"])
    lines = [("row", "system", *metrics, "state", "experiment")]
    for entry in entries:
        name = entry["name"] + ("" if entry["printed"] else " (not printed)")
        numbers = [entry["reported"][metric] or NOTHING for metric in metrics]
        lines.append((entry["address"], name, *numbers, entry["state"], entry["experiment"] or ""))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    columns = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines]
    heading = f"{title(table.paper)}, table {table.number}: {table.title}; reported numbers"
    return "\n".join([heading, *(line.rstrip() for line in columns)])


def _reported(row: TableRow, metric: str) -> str:
    cell = row.cell(metric)
    return cell.reported.printed if cell else ""


def _state(row: TableRow) -> str:
    """The row's status; where the profile leaves its experiment out, that; with several seeds, their number."""
    if len(row.records) > 1:
        return f"run, {len(row.records)} seeds"
    missing = next((cell.missing for cell in row.cells if cell.missing), "")
    return "not listed" if row.status == "not run" and missing else row.status
