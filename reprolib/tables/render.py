"""Write a table of a paper, reproduced beside reported, as Markdown, CSV and LaTeX. Imports no torch.

The way of a number: `table_sources` reads, `table_rows` joins, `table_verdicts` judges, and here it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reprolib.experiment import Table
from reprolib.files import write_atomic
from reprolib.papers import catalog
from reprolib.params import Profile
from reprolib.tables.formats import comma_separated, latex, markdown
from reprolib.tables.layout import Sheet, lay_out
from reprolib.tables.recipe import recipes
from reprolib.tables.table_rows import TableRow, join_rows
from reprolib.tables.table_sources import TableSources, read_sources
from reprolib.tables.table_verdicts import with_verdicts


def render(table_id: str, profile_name: str | None = None, *, params: str | Path = "params.yaml") -> list[Path]:
    """Write `results/<profile>/tables/<table id>.{md,csv,tex}` from the records that exist (in rows that describe data:
    from the data sets' reports); returns the paths.

    Rows without a record or report show as not run. Raises KeyError for an unknown table, and as `read_sources`.
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
) -> tuple[list[TableRow], Profile, Sheet]:
    """A table with a profile's records and reports: its rows, the profile, and the sheet that `render` writes."""
    tables = catalog.all_tables()
    if table_id not in tables:
        raise KeyError(f"no table {table_id!r}; there are {', '.join(tables)}")
    sources, rows = read_rows([tables[table_id]], profile_name, params=params)
    return rows[table_id], sources.profile, sheet_of(tables[table_id], rows[table_id], sources.profile)


def read_rows(
    tables: Sequence[Table], profile_name: str | None = None, *, params: str | Path = "params.yaml"
) -> tuple[TableSources, Mapping[str, list[TableRow]]]:
    """The rows of several tables by table id, with what they rest on. Raises as `read_sources`."""
    sources = read_sources(tables, profile_name, params=params)
    joined = {table.id: join_rows(table, sources) for table in tables}
    return sources, {table_id: with_verdicts(rows) for table_id, rows in joined.items()}


def sheet_of(table: Table, rows: Sequence[TableRow], profile: Profile) -> Sheet:
    """The table laid out for reading, with the recipes of its rows."""
    return lay_out(table, rows, profile, recipes(rows, profile))
