"""Claims against the tables: every difference recomputed, every "best" looked up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from reprolib.audit.claim_sums import checked_by_rule, claim_finding, frame_rate
from reprolib.audit.finding import Finding, Severity
from reprolib.audit.printed import (
    EPSILON,
    LOWER_IS_BETTER,
    PrintedTable,
    Row,
    decimals,
    difference,
    distinct,
    short,
    signed,
)
from reprolib.papers import catalog
from reprolib.papers.claims import Claim, Place

NUMBER = re.compile(r"[-+]?\d+(?:\.(\d+))?")
CONDITIONS: Mapping[str, Callable[[float], bool]] = {
    ">0": lambda gap: gap > EPSILON,
    "<0": lambda gap: gap < -EPSILON,
    "<=0": lambda gap: gap <= EPSILON,
    "small >0": lambda gap: gap > EPSILON,
}
BIG_WORDS = re.compile(r"\b(significantly|great improvement)\b")
SMALL_GAIN = 1.0


def claimed_numbers(tables: Sequence[PrintedTable], claims: Sequence[Claim]) -> Iterator[Finding | None]:
    """A printed difference or value against the cells that it is of.

    Both cells are within half a unit of their last digit, and so is the printed number. A claim that no such digits
    give is an error, a warning where the text says "about" or the cells are of two tables. One that is merely another
    number than the printed cells give is a note: it can come from numbers before rounding.
    """
    for claim, row, other in _of_rows(tables, claims):
        if not NUMBER.fullmatch(claim.claimed) or claim.metric not in row.cells:
            continue
        if other is None and claim.subtrahend is None:
            yield _number(claim, tables, row, None)
        elif other is not None and claim.metric in other.cells:
            yield _number(claim, tables, row, other)


def _number(claim: Claim, tables: Sequence[PrintedTable], row: Row, other: Row | None) -> Finding | None:
    metric, claimed = claim.metric, float(claim.claimed)
    gap = row.value(metric) - (other.value(metric) if other else 0)
    places = len(NUMBER.fullmatch(claim.claimed)[1] or "")
    half = 0.5 * 10.0**-places
    if abs(gap - claimed) <= half + EPSILON:
        return None
    margin = half + row.rounding(metric) + (other.rounding(metric) if other else 0)
    explained = abs(gap - claimed) < margin - EPSILON
    meaning = f"claimed is {claim.claimed}, the cells give another number."
    two_tables = other is not None and other.table_id != row.table_id
    severity = Severity.WARNING if "about" in claim.text or two_tables else Severity.ERROR
    if explained:
        severity = Severity.NOTE
        meaning += " Numbers before rounding can give the claimed one."
    if other and (fitting := _fitting(tables, row, other, metric, claimed)):
        meaning += f" {claim.claimed} fits {fitting}."
    cells = tuple(side.cells[metric] for side in (row, other) if side)
    arithmetic = f"{_subtraction(row, other, metric)}, claimed {claim.claimed}"
    return claim_finding(claim, cells, arithmetic, meaning, severity=severity)


def _fitting(tables: Sequence[PrintedTable], row: Row, other: Row, metric: str, claimed: float) -> str:
    """Rows of the same table with which one of the two would give the claimed number."""
    (table,) = (table for table in tables if table.id == other.table_id)
    close = 0.5 * 10.0 ** -max(row.cells[metric].decimals, 1) + EPSILON
    rows = [rival for rival in distinct(table) if metric in rival.cells and rival not in (row, other)]
    texts = [
        f"{rival.name} {rival.printed(metric)} in place of {other.name}"
        for rival in rows
        if not rival.head.is_ours and abs(row.value(metric) - rival.value(metric) - claimed) < close
    ]
    if row.head.row_kind == "ablation":  # a row with one component less
        size = len(row.parts) - 1
        gains = {rival: rival.value(metric) - other.value(metric) for rival in rows if len(rival.parts) == size}
        texts += [
            f"{rival.name} {signed(gain, 2)}" for rival, gain in gains.items() if size and abs(gain - claimed) < 0.05
        ]
    return ", ".join(texts)


def claimed_order(tables: Sequence[PrintedTable], claims: Sequence[Claim]) -> Iterator[Finding | None]:
    """A claim that one row is above (or below) another.

    An error where the publication says it of these rows or metrics, a warning where it says it in general ("stable
    improvement") and the table has an exception. With it, what the other metrics of the two rows say.
    """
    for claim, row, other in _of_rows(tables, claims):
        holds = CONDITIONS.get(claim.claimed)
        if holds is None or other is None or claim.metric not in row.cells or claim.metric not in other.cells:
            continue
        gap = row.value(claim.metric) - other.value(claim.metric)
        if holds(gap):
            yield None
            continue
        meaning = f"it does not hold for {short(claim.metric)}: {row.name}, {other.name}."
        if claim.minuend.row != claim.subtrahend.row and "best" in claim.subtrahend.rank:
            same = [m for m in row.accuracies if m in other.cells and m != claim.metric]
            if below := [m for m in same if row.value(m) < other.value(m)]:
                meaning += f" {other.head.method} is ahead in {', '.join(map(short, below))} too."
        yield claim_finding(
            claim,
            (row.cells[claim.metric], other.cells[claim.metric]),
            f"{_subtraction(row, other, claim.metric)}, claimed {claim.claimed}",
            meaning,
            severity=Severity.WARNING if claim.expanded else Severity.ERROR,
        )


def named_best(tables: Sequence[PrintedTable], claims: Sequence[Claim]) -> Iterator[Finding | None]:
    """The row that a claim takes as the best other one is the best other one.

    Among the compared methods of the same table, of the same backbone where the table has blocks of them, and of the
    same printed category where the claim is about one ("one-stage"); without those that the claim excepts ("lower than
    ..."). A claim against a weaker row than the best is a warning.
    """
    for claim, row, other in _of_rows(tables, claims):
        if other is None or "best" not in claim.subtrahend.rank or claim.metric not in other.cells:
            continue
        (table,) = (table for table in tables if table.id == other.table_id)
        rivals = [rival for rival in _rivals(table, row, claim.text) if claim.metric in rival.cells]
        if not rivals:
            continue
        pick = min if claim.metric in LOWER_IS_BETTER else max
        best = pick(rivals, key=lambda rival: rival.value(claim.metric))
        if best.value(claim.metric) == other.value(claim.metric):
            yield None
            continue
        yield claim_finding(
            claim,
            (best.cells[claim.metric], other.cells[claim.metric]),
            f"{short(claim.metric)} {best.name} {best.printed(claim.metric)}, {other.name}"
            f" {other.printed(claim.metric)}",
            f"compared with {other.name}, but {best.name} is better.",
            severity=Severity.WARNING,
        )


def _rivals(table: PrintedTable, row: Row, text: str) -> list[Row]:
    """The rows of a table that a claim of `row` being best is about."""
    own = [peer for peer in table.rows if peer.head.method == row.head.method]
    blocks = len({peer.head.backbone for peer in own}) > 1
    excepted = text.partition("lower than ")[2]
    category = _category(row) if "one-stage" in text else ""
    return [
        peer
        for peer in table.rows
        if peer.head.method != row.head.method
        and (not peer.head.is_ours or not row.head.is_ours)
        and (not blocks or peer.head.backbone == row.head.backbone)
        and (not category or _category(peer) == category)
        and peer.head.method not in excepted
        and (peer.head.row_kind == row.head.row_kind)
    ]


def _category(row: Row) -> str:
    return next((c.note.partition("printed category ")[2].partition(";")[0] for c in row.cells.values()), "")


def small_margin(tables: Sequence[PrintedTable], claims: Sequence[Claim]) -> Iterator[Finding | None]:
    """A claim with a big word ("significantly", "great improvement") and a margin below 1 point; a note."""
    for claim, row, other in _of_rows(tables, claims):
        if other is None or not BIG_WORDS.search(claim.text) or claim.metric not in row.accuracies:
            continue
        gap = row.value(claim.metric) - other.value(claim.metric)
        if not 0 < gap < SMALL_GAIN:
            yield None
            continue
        cells = (row.cells[claim.metric], other.cells[claim.metric])
        arithmetic = _subtraction(row, other, claim.metric)
        yield claim_finding(claim, cells, arithmetic, "it is ahead by less than a point.", severity=Severity.NOTE)


def named_row(tables: Sequence[PrintedTable], claims: Sequence[Claim]) -> Iterator[Finding | None]:
    """A claim whose text names another row than the one its number fits ("text says 6th row")."""
    for claim, row, other in _of_rows(tables, claims):
        match = re.search(r"text says (\d+)(?:st|nd|rd|th) row", claim.text)
        if not match or other is None or not NUMBER.fullmatch(claim.claimed):
            continue
        (table,) = (table for table in tables if table.id == other.table_id)
        named = table.row(int(match[1]))
        gap = row.value(claim.metric) - named.value(claim.metric)
        digits = decimals(row.cells[claim.metric], named.cells[claim.metric])
        if f"{gap:.{digits}f}" == f"{float(claim.claimed):.{digits}f}":
            yield None
            continue
        yield claim_finding(
            claim,
            tuple(side.cells[claim.metric] for side in (row, named, other)),
            f"{_subtraction(row, named, claim.metric)}, claimed {claim.claimed};"
            f" {_subtraction(row, other, claim.metric)} with row {other.number}",
            f"row {named.number} does not give the number, row {other.number} does.",
        )


def claimed_sums(tables: Sequence[PrintedTable], claims: Sequence[Claim]) -> Iterator[Finding | None]:
    """Claims about more than two cells: a gain against a gain, a count of rows or methods, a sum of shares.

    Also speeds called real-time, against the 25 and 30 images per second of video.
    """
    by_id = {table.id: table for table in tables}
    papers = {table.paper for table in tables}
    for claim in claims:
        if claim.paper not in papers:
            continue
        if claim.claimed == "threshold not given":
            yield frame_rate(claim, by_id)
        elif rule := catalog.facts(claim.paper).claim_rules.get(claim.id):
            yield checked_by_rule(claim, rule, by_id)


def _of_rows(tables: Sequence[PrintedTable], claims: Sequence[Claim]) -> Iterator[tuple[Claim, Row, Row | None]]:
    """Claims about printed rows, with these."""
    by_id = {table.id: table for table in tables}

    def find(claim: Claim, place: Place | None) -> Row | None:
        if place is None or f"{claim.paper}-{place.table}" not in by_id:
            return None
        return by_id[f"{claim.paper}-{place.table}"].row(place.row)

    for claim in claims:
        if (row := find(claim, claim.minuend)) is not None:
            yield claim, row, find(claim, claim.subtrahend)


def _subtraction(row: Row, other: Row | None, metric: str) -> str:
    if other is None:
        return f"{short(metric)} {row.printed(metric)}"
    return f"{short(metric)} {row.printed(metric)} - {other.printed(metric)} = {difference(row, other, metric)}"
