"""Verdicts on what the publications claim in words, by a profile's runs.

A claim about a difference of two printed rows, or about one row's number, can be checked with records: it gets the
verdict of that difference or number, by the same `judge` as a table's cell. General statements ("improves all
metrics") stand in claims.csv once per row and metric: those of one paper and text are one family, for which the
intervals hold together (`confidence_intervals.holm`). Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reprolib.papers import catalog
from reprolib.papers.claims import Claim, Place, load_claims
from reprolib.tables.confidence_intervals import IMAGES_ONLY, Estimate, Interval, estimate_gain, gain, holm
from reprolib.tables.render import read_rows
from reprolib.tables.table_rows import TableCell, TableRow
from reprolib.tables.verdicts import COUNT_TOLERANCE, NOT_COMPARABLE, NOT_RUN, REPORTED_ONLY, Comparison, judge

Rows = Mapping[str, Sequence[TableRow]]  # by table id


@dataclass(frozen=True, kw_only=True)
class RowReference:
    """A row of a table, by the table's id and the row's number, with the experiment that reproduces it ("" without)."""

    table: str
    row: int
    experiment: str


@dataclass(frozen=True, kw_only=True)
class ClaimVerdict:
    """A claim beside what was reproduced of it.

    comparison: what the verdict rests on. interval_source: what the interval holds, "" without. rows: minuend and
    subtrahend, empty where the claim names no rows. waiting: why nothing was reproduced. estimate: of a difference,
    whose interval waits for the level that its family gets.
    """

    claim: Claim
    comparison: Comparison
    interval_source: str = ""
    rows: tuple[RowReference, ...] = ()
    waiting: tuple[str, ...] = ()
    estimate: Estimate | None = None

    @property
    def reported(self) -> float | None:
        """The claimed number, None where only a direction or nothing countable is claimed."""
        return None if self.comparison.kind == "sign" else self.comparison.reported

    @property
    def reproduced(self) -> float | None:
        """The difference of the rows (or the one row's number), in the metric's unit."""
        return self.comparison.reproduced

    @property
    def interval(self) -> Interval | None:
        """Of `reproduced`."""
        return self.comparison.interval

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        return judge(self.comparison)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the verdict is no judgement, empty otherwise."""
        return (*self.comparison.obstacles, *self.waiting)

    def at_level(self, level: float) -> ClaimVerdict:
        """With the estimate's interval of that level."""
        estimate = self.estimate
        comparison = replace(self.comparison, interval=estimate.interval(level), complete=estimate.complete)
        return replace(self, comparison=comparison, interval_source=estimate.source)


def claim_verdicts(
    profile_name: str | None = None, *, paper: str = "", params: str | Path = "params.yaml"
) -> list[ClaimVerdict]:
    """Every claim, of one paper or of all, with a profile's records, in the order of the papers' claims.csv.

    Raises as `render.read_rows`.
    """
    claims = [claim for claim in load_claims() if paper in ("", claim.paper)]
    tables = [table for table in catalog.all_tables().values() if paper in ("", table.paper)]
    return judge_claims(claims, read_rows(tables, profile_name, params=params)[1])


def judge_claims(claims: Sequence[Claim], rows: Rows) -> list[ClaimVerdict]:
    """Claims with the rows of the tables that they speak of."""
    verdicts = [_compared(claim, rows) for claim in claims]
    families: dict[tuple[str, str], list[int]] = {}
    for index, verdict in enumerate(verdicts):
        if verdict.estimate:
            families.setdefault((verdict.claim.paper, verdict.claim.text), []).append(index)
    for members in families.values():
        _, levels = holm([verdicts[index].estimate.p_value() for index in members])
        for index, level in zip(members, levels, strict=True):
            verdicts[index] = verdicts[index].at_level(level)
    return verdicts


def _compared(claim: Claim, rows: Rows) -> ClaimVerdict:
    number = float(claim.claimed) if re.fullmatch(r"-?\d+(\.\d+)?", claim.claimed) else None
    direction = {"<0": -1.0, ">0": 1.0}.get(claim.claimed)
    places = ((claim.minuend_text, claim.minuend), (claim.subtrahend_text, claim.subtrahend))
    sides = [_row(place, claim.paper, rows) for text, place in places if text]
    cells = [row and (row.cell(claim.metric) or row.cell(f"oracle/{claim.metric}")) for row in sides]
    if not cells or None in cells or (number is None and direction is None):
        why = "the claim is not about printed rows of a table, or gives no number or direction"
        comparison = Comparison(kind="gain", reported=number, runnable=False)
        return ClaimVerdict(claim=claim, comparison=comparison, waiting=(why,))
    decimals = len(claim.claimed.partition(".")[2])
    words = {cell.verdict for cell in cells}
    comparison = Comparison(
        kind="sign" if number is None else "gain" if len(cells) == 2 else "level",
        reported=direction if number is None else number,
        rounding=0.0 if number is None else 0.5 * 10.0**-decimals,
        runnable=REPORTED_ONLY not in words,
        measured=NOT_RUN not in words,
        obstacles=_reasons(cells, NOT_COMPARABLE),
        assumed=any(cell.assumed for cell in cells),
    )
    compared = ClaimVerdict(
        claim=claim,
        comparison=comparison,
        rows=tuple(map(_reference, sides)),
        waiting=_reasons(cells, REPORTED_ONLY, NOT_RUN),
    )
    if any(cell.reproduced is None for cell in cells):
        return compared
    return _with_level(compared, *cells) if len(cells) == 1 else _with_difference(compared, *cells)


def _with_level(compared: ClaimVerdict, cell: TableCell) -> ClaimVerdict:
    """With what was reproduced of a claim about one row's number."""
    source = cell.interval_source
    comparison = replace(
        compared.comparison, reproduced=cell.reproduced, interval=cell.interval, complete=source != IMAGES_ONLY
    )
    return replace(compared, comparison=comparison, interval_source=source)


def _with_difference(compared: ClaimVerdict, cell: TableCell, base: TableCell) -> ClaimVerdict:
    """With what was reproduced of a claim about a difference."""
    difference = gain(cell.measured, base.measured)
    if difference is None:  # of data: no runs, but numbers of reports
        difference = cell.reproduced - base.reproduced
    comparison = replace(compared.comparison, reproduced=difference)
    metric = cell.reported.metric
    if metric in COUNT_TOLERANCE:  # without chance: an interval as wide as the counting rules allow
        slack = COUNT_TOLERANCE[metric] * max(abs(cell.reported.value), abs(base.reported.value))
        comparison = replace(comparison, interval=Interval(difference - slack, difference + slack))
        return replace(compared, comparison=comparison, interval_source="counting rules")
    estimate = estimate_gain(cell.measured, base.measured, noise=cell.noise) if cell.reported.unit == "%" else None
    return replace(compared, comparison=comparison, estimate=estimate)


def _reasons(cells: Sequence[TableCell], *verdicts: str) -> tuple[str, ...]:
    """The reasons of the cells that have one of the verdicts, each once."""
    return tuple(dict.fromkeys(reason for cell in cells if cell.verdict in verdicts for reason in cell.reasons))


def _row(place: Place | None, paper: str, rows: Rows) -> TableRow | None:
    if place is None:
        return None
    return next((row for row in rows.get(f"{paper}-{place.table}", ()) if row.number == place.row), None)


def _reference(row: TableRow) -> RowReference:
    return RowReference(
        table=row.head.table_id,
        row=row.number,
        experiment=row.experiment.id if row.experiment else "",
    )
