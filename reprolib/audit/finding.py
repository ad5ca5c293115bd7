"""What a check of the reported numbers says: one finding, the cells that it is about, and how much it weighs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from reprolib.papers.reported import Cell


class Severity(StrEnum):
    """How much a finding weighs.

    error: printed numbers, or a number and a sentence of the same publication, that cannot all be right, whatever the
    digits behind the printed ones are. warning: nothing that arithmetic forbids, but what hardly happens, or what two
    places say differently. note: possible and even usual; a reader should know it before using the number.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the heaviest."""
        return list(Severity).index(self)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check found.

    cells: those involved, the one in question first. arithmetic: one line with the numbers. message: what it means,
    one or two sentences. check: the check's name, which the audit fills in. key: names the finding within its check;
    by default made of its tables, rows and metrics, so that it stays the same while the cells do.
    """

    severity: Severity
    cells: tuple[Cell, ...]
    arithmetic: str
    message: str
    check: str = ""
    key: str = ""

    @property
    def id(self) -> str:
        """Stable name, for example lvis_average/iemask_rcnn-7/8/segm-AP+segm-APr+segm-APc+segm-APf."""
        return f"{self.check}/{self.key or self._place()}"

    @property
    def paper(self) -> str:
        """The publication of the cell in question."""
        return self.cells[0].paper

    @property
    def papers(self) -> tuple[str, ...]:
        """All publications whose cells are involved."""
        return _unique(cell.paper for cell in self.cells)

    @property
    def tables(self) -> tuple[str, ...]:
        """Ids of the tables involved, the one in question first."""
        return _unique(cell.table_id for cell in self.cells)

    @property
    def rows(self) -> tuple[tuple[str, int], ...]:
        """(table id, row) of the rows involved."""
        return _unique((cell.table_id, cell.row) for cell in self.cells)

    @property
    def rows_by_table(self) -> dict[str, list[str]]:
        """Numbers of the rows involved, as text, by table id."""
        return {table: [str(row) for other, row in self.rows if other == table] for table in self.tables}

    def as_json(self) -> dict[str, object]:
        """Plain values; each cell with the line of the CSV file and where a page can place its row."""
        return {
            "id": self.id,
            "severity": str(self.severity),
            "check": self.check,
            "paper": self.paper,
            "tables": list(self.tables),
            "arithmetic": self.arithmetic,
            "message": self.message,
            "cells": [
                {
                    "table": cell.table_id,
                    "row": cell.row,
                    "metric": cell.metric,
                    "printed": cell.printed,
                    "source": cell.source,
                    "anchor": f"{cell.table_id}-row-{cell.row}",
                }
                for cell in self.cells
            ],
        }

    def _place(self) -> str:
        metrics = _unique(cell.metric.replace("/", "-") for cell in self.cells)
        places = (f"{table}/{'+'.join(rows)}" for table, rows in self.rows_by_table.items())
        return "/".join([*places, "+".join(metrics)])


def _unique(values: Iterable) -> tuple:
    return tuple(dict.fromkeys(values))
