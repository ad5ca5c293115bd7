"""Rows of tables, joined with hand-made records and judged."""

from __future__ import annotations

import pytest

from reprolib.params import load_profile
from reprolib.tables.table_rows import join_rows
from reprolib.tables.table_sources import TableSources
from reprolib.tables.table_verdicts import with_verdicts


@pytest.fixture
def rows_of(root):
    """Function that joins a table with records and reports: `rows_of(table, [record, ...], profile="paper")`."""

    def rows(table, records=(), *, profile="paper", reports=None):
        path = root / "params.yaml"
        sources = TableSources(
            profile=load_profile(profile, path=path),
            paper=load_profile("paper", path=path),
            records={record["run"]: record for record in records},
            reports=reports or {},
        )
        return with_verdicts(join_rows(table, sources))

    return rows
