"""What the publications claim in words, joined with the tables' rows: `papers/<key>/claims.csv`.

A claim about a difference of two printed rows, or about one row's number, can be checked with records; it gets the
verdict of that difference or number, by the same `verdict` as a table's cell. General statements ("improves all
metrics") stand in the file once per row and metric: those of one paper and text are one family, for which the
intervals hold together (Holm, see `reprolib.tables.uncertainty.holm`). Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reprolib.papers import catalog
from reprolib.papers.claims import Claim as Statement
from reprolib.papers.claims import Place, load_claims
from reprolib.tables.joined import JoinedCell, JoinedRow
from reprolib.tables.judged import COUNT_TOLERANCE
from reprolib.tables.render import join_tables
from reprolib.tables.uncertainty import IMAGES_ONLY, Estimate, Interval, estimate_gain, holm, paired
from reprolib.tables.verdict import NOT_COMPARABLE, NOT_RUN, REPORTED_ONLY, Case, verdict


@dataclass(frozen=True, kw_only=True)
class RowReference:
    """A row of a table, by the table's id and the row's number, with the experiment that reproduces it ("" without)."""

    table: str
    row: int
    experiment: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim beside what was reproduced of it.

    reported: the claimed number as a number, None where only a direction or nothing countable is claimed; `claimed` is
    its text. reproduced, interval: of the difference of the rows (or the one row's number), in the metric's unit;
    interval_source: what the interval holds, "" without. rows: minuend and subtrahend, empty where the claim names no
    rows. reasons: why the verdict is no judgement, empty otherwise. consistent: yes, no or not checkable, of the
    paper's claim with its own tables, where the difference is `in_tables`.
    """

    paper: str
    claim_id: str
    claim_type: str
    text: str
    metric: str
    claimed: str
    reported: float | None
    reproduced: float | None
    interval: Interval | None
    interval_source: str
    verdict: str
    reasons: tuple[str, ...]
    rows: tuple[RowReference, ...]
    consistent: str
    in_tables: str


def claims(profile_name: str | None = None, *, paper: str = "", params: str | Path = "params.yaml") -> list[Claim]:
    """Every claim, of one paper or of all, with a profile's records, in the order of the papers' claims.csv.

    Raises as `tables.render`.
    """
    found = [statement for statement in load_claims() if paper in ("", statement.paper)]
    tables = [table for table in catalog.all_tables().values() if paper in ("", table.paper)]
    return join_claims(found, join_tables(tables, profile_name, params=params).rows)


def join_claims(found: Sequence[Statement], tables: Mapping[str, Sequence[JoinedRow]]) -> list[Claim]:
    """Claims with the rows of joined tables (by id): reproduced, interval and verdict."""
    drafts = [_draft(statement, tables) for statement in found]
    families: dict[tuple[str, str], list[int]] = {}
    for index, (statement, draft) in enumerate(zip(found, drafts, strict=True)):
        if draft.estimate:
            families.setdefault((statement.paper, statement.text), []).append(index)
    levels: dict[int, float] = {}
    for members in families.values():
        _, family = holm([drafts[index].estimate.p_value() for index in members])
        levels |= dict(zip(members, family, strict=True))
    return [_claim(*pair, levels.get(index)) for index, pair in enumerate(zip(found, drafts, strict=True))]


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """A claim on its way: the case without its interval, what the interval comes from, and the rows."""

    case: Case
    reported: float | None
    rows: tuple[RowReference, ...] = ()
    reasons: tuple[str, ...] = ()
    estimate: Estimate | None = None
    level: JoinedCell | None = None


def _draft(statement: Statement, tables: Mapping[str, Sequence[JoinedRow]]) -> _Draft:
    number = float(statement.claimed) if re.fullmatch(r"-?\d+(\.\d+)?", statement.claimed) else None
    places = ((statement.minuend_text, statement.minuend), (statement.subtrahend_text, statement.subtrahend))
    sides = [_row(place, statement.paper, tables) for text, place in places if text]
    cells = [row and (row.cell(statement.metric) or row.cell(f"oracle/{statement.metric}")) for row in sides]
    direction = {"<0": -1.0, ">0": 1.0}.get(statement.claimed)
    if not cells or None in cells or (number is None and direction is None):
        why = "the claim is not about printed rows of a table, or gives no number or direction"
        return _Draft(case=Case(kind="gain", reported=number, runnable=False), reported=number, reasons=(why,))
    references = tuple(
        RowReference(
            table=f"{cell.cell.paper}-{cell.cell.table}",
            row=row.number,
            experiment=row.experiment.id if row.experiment else "",
        )
        for row, cell in zip(sides, cells, strict=True)
    )
    decimals = len(statement.claimed.partition(".")[2])
    words = {cell.verdict for cell in cells}
    case = Case(
        kind="sign" if number is None else "gain" if len(cells) == 2 else "level",
        reported=direction if number is None else number,
        rounding=0.0 if number is None else 0.5 * 10.0**-decimals,
        runnable=REPORTED_ONLY not in words,
        measured=NOT_RUN not in words,
        obstacles=tuple(
            dict.fromkeys(reason for cell in cells if cell.verdict == NOT_COMPARABLE for reason in cell.reasons)
        ),
        assumed=any(cell.assumed for cell in cells),
    )
    reasons = tuple(
        dict.fromkeys(reason for cell in cells if cell.verdict in (REPORTED_ONLY, NOT_RUN) for reason in cell.reasons)
    )
    draft = _Draft(case=case, reported=number, rows=references, reasons=reasons)
    if any(cell.reproduced is None for cell in cells):
        return draft
    if len(cells) == 1:
        return replace(draft, case=replace(case, reproduced=cells[0].reproduced), level=cells[0])
    return _difference(draft, *cells)


def _difference(draft: _Draft, cell: JoinedCell, base: JoinedCell) -> _Draft:
    if cell.measured.values and base.measured.values:
        ours, theirs, _ = paired(cell.measured, base.measured)
        difference = ours.mean - theirs.mean
    else:
        difference = cell.reproduced - base.reproduced
    found = None
    metric = cell.cell.metric
    if metric in COUNT_TOLERANCE:  # without chance: an interval of the counting rules' width
        slack = COUNT_TOLERANCE[metric] * max(abs(cell.cell.value), abs(base.cell.value))
        exact = Interval(difference - slack, difference + slack)
        return replace(draft, case=replace(draft.case, reproduced=difference, interval=exact))
    if cell.cell.unit == "%":
        found = estimate_gain(cell.measured, base.measured, noise=cell.noise)
    return replace(draft, case=replace(draft.case, reproduced=difference), estimate=found)


def _claim(statement: Statement, draft: _Draft, level: float | None) -> Claim:
    case, source = draft.case, ""
    if draft.estimate:
        source = draft.estimate.source
        case = replace(case, interval=draft.estimate.interval(level), complete=draft.estimate.complete)
    elif draft.level:
        source = draft.level.interval_source
        case = replace(case, interval=draft.level.interval, complete=source != IMAGES_ONLY)
    elif case.interval:
        source = "counting rules"
    return Claim(
        paper=statement.paper,
        claim_id=statement.id,
        claim_type=statement.type,
        text=statement.text,
        metric=statement.metric,
        claimed=statement.claimed,
        reported=draft.reported,
        reproduced=case.reproduced,
        interval=case.interval,
        interval_source=source,
        verdict=verdict(case),
        reasons=(*case.obstacles, *draft.reasons),
        rows=draft.rows,
        consistent=statement.judged,
        in_tables=statement.table_delta,
    )


def _row(place: Place | None, paper: str, tables: Mapping[str, Sequence[JoinedRow]]) -> JoinedRow | None:
    rows = tables.get(f"{paper}-{place.table}", ()) if place else ()
    return next((row for row in rows if row.number == place.row), None) if place else None
