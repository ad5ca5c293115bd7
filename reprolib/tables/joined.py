"""Reported numbers beside what was reproduced of them: the rows and cells of tables, figures and claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reprolib.experiment import Experiment
from reprolib.papers.reported import Cell
from reprolib.tables.uncertainty import Interval, Measured, Noise


@dataclass(frozen=True, kw_only=True)
class JoinedCell:
    """One reported number with what was reproduced of it; in a row that is not printed, the latter alone.

    values: by seed, in the unit of the reported number; None where the record says that there is no such
    number (for example AP of large objects where there are none). reproduced: their mean. difference: reproduced
    minus reported. delta_*: differences to the table's baseline row, in ablations. reasons: why the verdict is
    not a judgement, empty otherwise.
    interval: of `reproduced`, 95%, in the number's unit; interval_source: what it holds, for example
    "images + 3 seeds", empty without interval. delta_interval: of `delta_reproduced`; it excludes 0 only where Holm's
    procedure over the rows of the ablation rejects (`reprolib.tables.uncertainty.holm`), and p_value is adjusted so.
    measured, noise: what the intervals are made from, for differences between other rows. assumed: whether the
    system's design is partly a guess.
    """

    cell: Cell
    values: Mapping[int, float | None]
    reproduced: float | None
    difference: float | None
    delta_reported: float | None
    delta_reproduced: float | None
    verdict: str
    reasons: tuple[str, ...]
    interval: Interval | None = None
    interval_source: str = ""
    delta_interval: Interval | None = None
    delta_interval_source: str = ""
    p_value: float | None = None
    measured: Measured = field(default_factory=lambda: Measured(values={}))
    noise: Noise | None = None
    assumed: bool = False


@dataclass(frozen=True, kw_only=True)
class JoinedRow:
    """One row. status: run, not run, not built yet, or reported only; `run` of a row that describes data says that
    there is a report. extra: whether it is the suite's own."""

    number: int
    experiment: Experiment | None
    extra: bool
    status: str
    is_baseline: bool
    records: tuple[Mapping, ...]
    cells: tuple[JoinedCell, ...]

    @property
    def head(self) -> Cell:
        """Any cell of the row, for method, backbone, data set and components."""
        return self.cells[0].cell

    def cell(self, metric: str) -> JoinedCell | None:
        """The row's cell of a metric, None where the publication prints none."""
        return next((joined for joined in self.cells if joined.cell.metric == metric), None)
