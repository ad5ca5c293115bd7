"""The reported tables and claims, and copies of them with a cell changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reprolib.audit.printed import load_tables, printed_table
from reprolib.audit.run import audit
from reprolib.papers.claims import load_claims


@pytest.fixture(scope="session")
def tables():
    """Every reported table by id."""
    return {table.id: table for table in load_tables()}


@pytest.fixture(scope="session")
def claims():
    """Every claim by id."""
    return {claim.id: claim for claim in load_claims()}


@pytest.fixture(scope="session")
def checked():
    """What every check found in the reported tables, by name."""
    return {one.name: one for one in audit()}


@pytest.fixture
def changed(tables):
    """Function that copies a table with one cell printed otherwise."""

    def change(table_id, row, metric, printed):
        table = tables[table_id]
        cells = [
            replace(cell, value=float(printed), printed=printed, decimals=len(printed.partition(".")[2]))
            if (cell.row, cell.metric) == (row, metric)
            else cell
            for each in table.rows
            for cell in each.cells.values()
        ]
        assert table.row(row).cells[metric].printed != printed
        return printed_table(cells)

    return change


@pytest.fixture
def audited_with(tables, claims):
    """Function that runs one check over all tables, some of them replaced; returns what it found."""

    def run(check, *others, with_claims=False):
        replaced = {**tables, **{table.id: table for table in others}}
        data = (list(replaced.values()), list(claims.values())) if with_claims else (list(replaced.values()),)
        return [finding for finding in check(*data) if finding is not None]

    return run
