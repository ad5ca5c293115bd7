"""Which papers exist: the folders here that hold a `tables.py`. Imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from reprolib.experiment import Experiment, Table


def papers() -> list[str]:
    """Keys of all papers, alphabetical."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/tables.py"))


def tables_of(paper: str) -> tuple[Table, ...]:
    """The tables of one paper in printed order. Raises KeyError naming the papers there are."""
    return _module(paper).TABLES


def title(paper: str) -> str:
    """The paper's short title, the heading of its card."""
    card = Path(__file__).parent / paper / "card.md"
    return card.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").strip()


def audit_notes(paper: str) -> Mapping[tuple[int, int | None, str | None], str]:
    """What an audit found about cells: (table, row or None for all, metric or None for all) -> note."""
    return getattr(_module(paper), "AUDIT", {})


def other_protocol(paper: str, number: int, row: int) -> str:
    """Why even a run at published scale on the data set's own split does not compare with a row; mostly empty.

    A paper says it of a whole table, by the table's number, or of one row, by (table, row), which goes first.
    """
    found = getattr(_module(paper), "OTHER_PROTOCOL", {})
    return found.get((number, row), found.get(number, ""))


def all_tables() -> dict[str, Table]:
    """Every table of every paper by id, e.g. "iemask_rcnn-3"."""
    return {table.id: table for paper in papers() for table in tables_of(paper)}


def all_experiments() -> dict[str, Experiment]:
    """Every experiment that some table names, by id; tables that show the same run share the experiment."""
    found = (row.experiment for table in all_tables().values() for row in table.rows)
    return {experiment.id: experiment for experiment in found if experiment is not None}


@lru_cache(maxsize=16)
def _module(paper: str):
    if paper not in papers():
        raise KeyError(f"no paper {paper!r}; there are {', '.join(papers())}")
    return importlib.import_module(f"reprolib.papers.{paper}.tables")
