"""Sums over components: what each adds alone against what they add together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from reprolib.audit.ablation import Ladder, ladders
from reprolib.audit.finding import Finding, Severity
from reprolib.audit.printed import EPSILON, PrintedTable, Row, decimals, short, signed

EXPLAINED = {
    "params_M": "layers that do not depend on each other add up exactly: the components share or replace some",
    "time_ms": "components share work, or times vary by so much",
    "segm/AP": "gains of single components do not add up; a component's worth depends on the others",
    "bbox/AP": "gains of single components do not add up; a component's worth depends on the others",
}


def additivity(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """What single components add to the baseline, summed, against what all of them add.

    For parameters this is exact for components with layers of their own: a gap beyond rounding is a warning. Times and
    gains in AP need not add up: a gap of the full method is a note. So is one of parameters and times that the rounding
    of all cells together can explain. Of several ways to put a row together, the one with the smallest steps counts.
    """
    for ladder in ladders(tables):
        if ladder.baseline is None:
            continue
        most = max(len(row.head.components) for row in ladder.rows)
        for row in ladder.rows:
            singles = _singles(row, ladder)
            for metric in EXPLAINED:
                if metric.endswith("/AP") and len(row.head.components) < most:
                    continue
                if len(singles) > 1 and all(metric in member.cells for member in (row, ladder.baseline, *singles)):
                    yield _sum(row, ladder.baseline, singles, metric)


def _singles(row: Row, ladder: Ladder) -> tuple[Row, ...]:
    """The most rows whose components make up the row's, none twice; empty where there are none."""
    rows = {other.parts: other for other in ladder.rows if other is not row}
    return max(_covers(row.parts, rows), key=len, default=())


def _covers(components: frozenset[str], rows: Mapping[frozenset[str], Row]) -> Iterator[tuple[Row, ...]]:
    if not components:
        yield ()
        return
    first = min(components)
    for own, row in rows.items():
        if first in own and own <= components:
            for rest in _covers(components - own, rows):
                yield (row, *rest)


def _sum(row: Row, baseline: Row, singles: Sequence[Row], metric: str) -> Finding | None:
    base = baseline.value(metric)
    total = base + sum(single.value(metric) - base for single in singles)
    gap = row.value(metric) - total
    members = (row, baseline, *singles)
    digits = decimals(*(member.cells[metric] for member in members))
    if abs(gap) <= row.rounding(metric) + EPSILON:
        return None
    margin = sum(member.rounding(metric) for member in (row, *singles)) + (len(singles) - 1) * baseline.rounding(metric)
    if abs(gap) <= margin + EPSILON and metric.endswith("/AP"):
        return None
    if abs(gap) <= margin + EPSILON:
        severity, reason = Severity.NOTE, "the rounding of the cells together can explain it"
    else:
        severity = Severity.WARNING if metric == "params_M" else Severity.NOTE
        reason = EXPLAINED[metric]
    steps = " ".join(signed(single.value(metric) - base, digits) for single in singles)
    return Finding(
        severity=severity,
        cells=tuple(member.cells[metric] for member in members),
        arithmetic=f"{short(metric)} {baseline.printed(metric)} {steps} = {total:.{digits}f}, printed"
        f" {row.printed(metric)} ({signed(gap, digits)})",
        message=f"{row.name}: {' + '.join(row.head.components)} together are not the sum of the single rows; {reason}.",
    )
