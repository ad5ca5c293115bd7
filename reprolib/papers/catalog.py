"""Which papers exist, with their tables, facts and files. Imports no torch."""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path

from reprolib.experiment import Experiment, Table
from reprolib.papers.facts import Facts
from reprolib.papers.folders import paper_folder, paper_folders

FACT_FILES = ("systems.csv", "claims.csv", "audit.md", "card.md", "systems/*/card.toml", "reported/*.csv")


def papers() -> list[str]:
    """Keys of all papers, alphabetical."""
    return list(paper_folders())


def tables_of(paper: str) -> tuple[Table, ...]:
    """The tables of one paper in printed order. Raises KeyError naming the papers there are."""
    return _module(paper, "tables").TABLES


def facts(paper: str) -> Facts:
    """What is known of one paper beside its tables. Raises KeyError naming the papers there are."""
    return _module(paper, "facts").FACTS


def title(paper: str) -> str:
    """The paper's short title, the heading of its card."""
    card = paper_folder(paper) / "card.md"
    return card.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").strip()


def other_protocol(paper: str, number: int, row: int) -> str:
    """Why even a run at published scale on the data set's own split does not compare with a row; mostly empty."""
    said = facts(paper).other_protocol
    return said.get((number, row), said.get(number, ""))


def fact_files(paper: str) -> list[Path]:
    """The files of one paper that hold facts for its tables and for the pages over all papers; code is not in it."""
    folder = paper_folder(paper)
    return [path for pattern in FACT_FILES for path in sorted(folder.glob(pattern))]


def all_tables() -> dict[str, Table]:
    """Every table of every paper by id, e.g. "iemask_rcnn-3"."""
    return {table.id: table for paper in papers() for table in tables_of(paper)}


def all_experiments() -> dict[str, Experiment]:
    """Every experiment that some table names, by id; tables that show the same run share the experiment."""
    found = (row.experiment for table in all_tables().values() for row in table.rows)
    return {experiment.id: experiment for experiment in found if experiment is not None}


@lru_cache(maxsize=64)
def _module(paper: str, name: str):
    paper_folder(paper)  # raises for an unknown paper
    return importlib.import_module(f"reprolib.papers.{paper}.{name}")
