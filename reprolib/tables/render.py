"""Render a table of a paper: reproduced beside reported, as Markdown, CSV and LaTeX. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from reprolib.evaluation.record import read_records
from reprolib.experiment import Table
from reprolib.files import write_atomic
from reprolib.papers import catalog
from reprolib.params import Profile, load_profile
from reprolib.tables.described import read_reports
from reprolib.tables.draws import read_draws
from reprolib.tables.formats import comma_separated, latex, markdown
from reprolib.tables.join import JoinedRow, join
from reprolib.tables.layout import Sheet, lay_out
from reprolib.tables.recipe import recipes


def render(table_id: str, profile_name: str | None = None, *, params: str | Path = "params.yaml") -> list[Path]:
    """Write `results/<profile>/tables/<table id>.{md,csv,tex}` from the records that exist (in rows that describe data:
    from the data sets' reports); returns the paths.

    Rows without a record or report show as not run. Raises KeyError for an unknown table, ParamsError for an unknown
    profile, RecordError for a record that cannot be read, ValueError for such a report.
    """
    rows, profile, sheet = read_table(table_id, profile_name, params=params)
    folder = Path(params).parent / profile.results / "tables"
    contents = {
        "md": markdown(sheet),
        "csv": comma_separated(rows, profile=profile.name),
        "tex": latex(sheet),
    }
    paths = []
    for suffix, content in contents.items():
        paths.append(folder / f"{table_id}.{suffix}")
        write_atomic(paths[-1], content)
    return paths


def read_table(
    table_id: str, profile_name: str | None = None, *, params: str | Path = "params.yaml"
) -> tuple[list[JoinedRow], Profile, Sheet]:
    """Join a table with a profile's records and reports: its rows, the profile, and the sheet that `render` writes."""
    table = _table(table_id)
    joined = join_tables([table], profile_name, params=params)
    rows, profile = joined.rows[table.id], joined.profile
    return rows, profile, lay_out(table, rows, profile, recipes(rows, profile, joined.paper))


class Joined(NamedTuple):
    """Tables joined with a profile's records. paper: the profile that holds the published recipes."""

    profile: Profile
    paper: Profile
    records: Mapping[str, Mapping]  # by run id, all there are
    rows: Mapping[str, list[JoinedRow]]  # by table id


def join_tables(
    tables: Sequence[Table], profile_name: str | None = None, *, params: str | Path = "params.yaml"
) -> Joined:
    """Join tables with a profile's records and reports, which are read once. Raises as `render`."""
    profile = load_profile(profile_name, path=params)
    # The published recipes are those of the profile `paper`; one place for them.
    paper = profile if profile.name == "paper" else load_profile("paper", path=params)
    results = Path(params).parent / profile.results
    records, reports = read_records(results / "records"), read_reports(results / "data")
    shown = {row.experiment.id for table in tables for row in table.rows if row.experiment}
    draws = read_draws(results, [record for record in records.values() if record["experiment"] in shown])
    rows = {table.id: join(table, records, profile, paper=paper, reports=reports, draws=draws) for table in tables}
    return Joined(profile, paper, records, rows)


def _table(table_id: str) -> Table:
    tables = catalog.all_tables()
    if table_id not in tables:
        raise KeyError(f"no table {table_id!r}; there are {', '.join(tables)}")
    return tables[table_id]
