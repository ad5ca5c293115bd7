"""Which papers exist, with their tables, facts and files. Imports no torch."""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path

from reprolib.experiment import Experiment, Table
from reprolib.papers.facts import Facts
from reprolib.papers.folders import paper_folder, paper_folders, shown

FACT_FILES = ("systems.csv", "claims.csv", "audit.md", "card.md", "systems/*/card.toml", "reported/*.csv")


class PaperError(ValueError):
    """A paper cannot be used; the message names its file and how to mend it."""


def papers() -> list[str]:
    """Keys of all papers, alphabetical."""
    return list(paper_folders())


def tables_of(paper: str) -> tuple[Table, ...]:
    """The tables of one paper in printed order. Raises KeyError naming the papers there are."""
    return _tables(paper, paper_folder(paper))


def facts(paper: str) -> Facts:
    """What is known of one paper beside its tables. Raises KeyError naming the papers there are."""
    return _value(paper, paper_folder(paper) / "facts.py", "FACTS")


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
    """Every experiment that some table names, by id; tables that show the same run share the experiment.

    Raises ValueError where two different experiments have one id: the record of one would be shown as the other's.
    """
    experiments: dict[str, Experiment] = {}
    addresses: dict[str, str] = {}
    for table in all_tables().values():
        for row in table.rows:
            if row.experiment is None:
                continue
            name, address = row.experiment.id, f"{table.id}:{row.number}"
            if experiments.setdefault(name, row.experiment) != row.experiment:
                raise ValueError(
                    f"two different experiments have the id {name!r}: {experiments[name]} in row {addresses[name]}"
                    f" and {row.experiment} in row {address}; give one of them another system name or a switch"
                )
            addresses.setdefault(name, address)
    return experiments


@lru_cache(maxsize=64)
def _tables(paper: str, folder: Path) -> tuple[Table, ...]:
    tables = _value(paper, folder / "tables.py", "TABLES")
    for table in tables:
        if table.paper != paper:
            raise PaperError(
                f"{shown(folder / 'tables.py')}: table {table.number} names paper {table.paper!r}, not {paper!r}"
            )
    return tables


def _value(paper: str, file: Path, name: str):
    """A constant of one of a paper's modules; what goes wrong there is said with the file."""
    try:
        return getattr(importlib.import_module(f"reprolib.papers.{paper}.{file.stem}"), name)
    except Exception as error:  # a paper is code of others: whatever it raises, one line says where
        raise PaperError(
            f"{shown(file)} cannot be used ({type(error).__name__}: {error}); mend it, `reprolib check-paper {paper}`"
            " says what a paper needs"
        ) from error
