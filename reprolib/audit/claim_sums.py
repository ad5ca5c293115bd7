"""Claims about more than two cells, each with the cells that it is about.

Which cells these are is not in claims.csv in a form that code could read, so they are named here by the claim's id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from reprolib.audit.finding import Finding, Severity
from reprolib.audit.printed import EPSILON, PrintedTable, signed
from reprolib.papers.claims import Claim

Tables = Mapping[str, PrintedTable]
VIDEO = (25.0, 30.0)  # images per second of video and television


def gain_against_gain(
    claim: Claim, tables: Tables, *, gain: tuple[tuple[int, int], ...], other: tuple[tuple[int, int], ...]
) -> Finding | None:
    """One gain against another; each two (table, row), the second taken from the first, of the claim's metric."""
    pairs = [[tables[f"{claim.paper}-{table}"].row(row) for table, row in pair] for pair in (gain, other)]
    gains = [first.value(claim.metric) - second.value(claim.metric) for first, second in pairs]
    difference = gains[0] - gains[1]
    if (difference > EPSILON) if claim.claimed == ">0" else (difference < -EPSILON):
        return None
    return Finding(
        severity=Severity.ERROR,
        cells=tuple(row.ref(claim.metric) for pair in pairs for row in pair),
        key=claim.id,
        arithmetic=f"{signed(gains[0], 2)} against {signed(gains[1], 2)}: {signed(difference, 2)}, claimed"
        f" {claim.claimed}",
        message=f"{claim.id}: {claim.text}; the gains are the other way round.",
    )


def count_of_methods(claim: Claim, tables: Tables) -> Finding | None:
    """So many methods are compared with in the paper's first table."""
    rows = [row for row in tables[f"{claim.paper}-1"].rows if row.head.row_kind == "comparison"]
    methods = {row.head.method: row for row in rows if not row.head.is_ours}
    if len(methods) == int(claim.claimed):
        return None
    return Finding(
        severity=Severity.ERROR,
        cells=tuple(next(iter(row.refs(row.cells))) for row in methods.values()),
        key=claim.id,
        arithmetic=f"{len(methods)} methods: {', '.join(methods)}; claimed {claim.claimed}",
        message=f"{claim.id}: {claim.text}; the table has another number of methods.",
    )


def mostly_below(claim: Claim, tables: Tables, *, rows: range, limit: float) -> Finding | None:
    """More than half of some rows of the paper's second table are below a limit."""
    found = [tables[f"{claim.paper}-2"].row(number) for number in rows]
    below = [row for row in found if row.value(claim.metric) < limit]
    if len(below) > len(found) / 2:
        return None
    return Finding(
        severity=Severity.ERROR,
        cells=tuple(row.ref(claim.metric) for row in found),
        key=claim.id,
        arithmetic=f"{len(below)} of {len(found)} below {limit:g}",
        message=f"{claim.id}: {claim.text}; it is not so for most of the rows.",
    )


def sum_of_shares(claim: Claim, tables: Tables, *, row: int, shares: tuple[str, ...]) -> Finding | None:
    """Shares of images of a row of the paper's first table add up to the claimed one."""
    found = tables[f"{claim.paper}-1"].row(row)
    metrics = [f"dataset/foreground_ratio_share/{share}" for share in shares]
    total = sum(map(found.value, metrics))
    if abs(total - float(claim.claimed)) <= 0.05 + EPSILON:
        return None
    return Finding(
        severity=Severity.ERROR,
        cells=found.refs(metrics),
        key=claim.id,
        arithmetic=" + ".join(found.cells[metric].printed for metric in metrics)
        + f" = {total:.1f}, claimed {claim.claimed}",
        message=f"{claim.id}: {claim.text}; the shares give another number.",
    )


def prompted_gain(claim: Claim, tables: Tables) -> Finding | None:
    """A gain of prompted over automatic segmentation, which the tables keep as metrics of different names."""
    place, base = claim.minuend, claim.subtrahend
    row = tables[f"{claim.paper}-{place.table}"].row(place.row)
    other = tables[f"{claim.paper}-{base.table}"].row(base.row)
    prompted = f"oracle/{claim.metric}"
    gain = row.value(prompted) - other.value(claim.metric)
    if abs(gain - float(claim.claimed)) <= 0.05 + EPSILON:
        return None
    return Finding(
        severity=Severity.ERROR,
        cells=(row.ref(prompted), other.ref(claim.metric)),
        key=claim.id,
        arithmetic=f"{row.cells[prompted].printed} - {other.cells[claim.metric].printed} = {signed(gain, 1)}, claimed"
        f" {claim.claimed}",
        message=f"{claim.id}: {claim.text}; claimed is {claim.claimed}, the cells give another number.",
    )


def about_equal(claim: Claim, tables: Tables, *, within: float) -> Finding | None:
    """Two numbers that are called equivalent differ by no more than a share of the second."""
    place, base = claim.minuend, claim.subtrahend
    row = tables[f"{claim.paper}-{place.table}"].row(place.row)
    other = tables[f"{claim.paper}-{base.table}"].row(base.row)
    change = row.value(claim.metric) / other.value(claim.metric) - 1
    if abs(change) <= within:
        return None
    return Finding(
        severity=Severity.WARNING,
        cells=(row.ref(claim.metric), other.ref(claim.metric)),
        key=claim.id,
        arithmetic=f"{row.cells[claim.metric].printed} / {other.cells[claim.metric].printed} is"
        f" {signed(100 * change, 1)} %",
        message=f"{claim.id}: {claim.text}; they differ by more than {100 * within:.0f} %.",
    )


def frame_rate(claim: Claim, tables: Tables) -> Finding | None:
    """A speed that is called real-time reaches the images per second of video; a note where it does not."""
    row = tables[f"{claim.paper}-{claim.minuend.table}"].row(claim.minuend.row)
    if row.value(claim.metric) >= VIDEO[0]:
        return None
    return Finding(
        severity=Severity.NOTE,
        cells=(row.ref(claim.metric),),
        key=claim.id,
        arithmetic=f"{row.cells[claim.metric].printed} < {VIDEO[0]:g} and {VIDEO[1]:g}",
        message=f"{claim.id}: {claim.text}; no threshold is given, and the speed is below that of video.",
    )


SUMS: Mapping[str, Callable[[Claim, Tables], Finding | None]] = {
    "MAI-109": count_of_methods,
    "SEA-075": partial(gain_against_gain, gain=((3, 8), (3, 7)), other=((3, 2), (3, 1))),
    "SEA-076": partial(gain_against_gain, gain=((3, 10), (3, 9)), other=((3, 4), (3, 3))),
    "SEA-077": partial(gain_against_gain, gain=((3, 12), (3, 11)), other=((3, 6), (3, 5))),
    "SEA-085": partial(about_equal, within=0.05),
    "IAI-058": prompted_gain,
    "IAI-060": partial(sum_of_shares, row=2, shares=("[0.0,0.1)", "[0.1,0.2)")),
    "IAI-061": partial(sum_of_shares, row=3, shares=("[0.0,0.1)",)),
    "IEM-073": partial(gain_against_gain, gain=((6, 8), (6, 1)), other=((5, 8), (5, 1))),
    "LOC-037": partial(mostly_below, rows=range(1, 8), limit=10.0),
}
