"""Speeds: against times, against each other, and against what a system consists of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from reprolib.audit.finding import Finding, Severity
from reprolib.audit.printed import EPSILON, LOWER_IS_BETTER, PrintedTable, Row, all_rows, better, distinct, short

# What a system is made of by its own publication, with something added to each: it cannot be smaller or need fewer
# operations, and is not faster in one implementation. HTC adds the mask flow and a semantic branch to a cascade,
# Cascade Mask R-CNN two more stages, PANet a bottom-up path and pooling from all levels, Mask Scoring R-CNN a head that
# rates the masks.
CONTAINS = {
    "HTC": ("Cascade Mask R-CNN", "Mask R-CNN"),
    "Cascade Mask R-CNN": ("Mask R-CNN",),
    "PANet": ("Mask R-CNN",),
    "Mask Scoring R-CNN": ("Mask R-CNN",),
}
COSTS = ("fps", "time_ms", "params_M", "flops_G")


def fps_times_time(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """Images per second times milliseconds per image is 1000, within the printed digits of both."""
    for row in all_rows(tables):
        if not {"fps", "time_ms"} <= set(row.cells):
            continue
        (fps, half_fps), (time, half_time) = ((row.value(m), row.rounding(m)) for m in ("fps", "time_ms"))
        least, most = (fps - half_fps) * (time - half_time), (fps + half_fps) * (time + half_time)
        if least - EPSILON <= 1000 <= most + EPSILON:
            yield None
            continue
        yield row.finding(
            Severity.WARNING,
            ("fps", "time_ms"),
            f"{row.printed('fps')} x {row.printed('time_ms')} = {fps * time:.0f}, from {least:.0f} to {most:.0f} by"
            " rounding",
            "images per second and milliseconds do not belong together, unless one of them is of several images.",
        )


def fixed_ratio(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """Two tables of the same systems whose speeds have one ratio.

    Times measured on two data sets differ by more than rounding from system to system, since the number of proposals,
    of instances and of pixels does. One ratio for most rows suggests that one column was scaled from the other.
    """
    for table, other in _same_systems(tables):
        intervals = []
        for first, second in zip(table.rows, other.rows, strict=True):
            (a, half_a), (b, half_b) = ((row.value("fps"), row.rounding("fps")) for row in (first, second))
            intervals.append(((b - half_b) / (a + half_a), (b + half_b) / (a - half_a)))
        shared, ratio = max((sum(low <= edge <= high for low, high in intervals), edge) for edge, _ in intervals)
        if shared <= len(intervals) / 2:
            yield None
            continue
        rest = [row for row, (low, high) in zip(table.rows, intervals, strict=True) if not low <= ratio <= high]
        ratios = [b.value("fps") / a.value("fps") for a, b in zip(table.rows, other.rows, strict=True)]
        near = sorted(r for r, (low, high) in zip(ratios, intervals, strict=True) if low <= ratio <= high)
        yield Finding(
            severity=Severity.WARNING,
            cells=tuple(row.cells["fps"] for each in (table, other) for row in each.rows),
            key=f"{table.id}/{other.id}",
            arithmetic=f"ratio {near[0]:.3f} to {near[-1]:.3f} in {shared} of {len(intervals)} rows, one number within"
            f" rounding; all rows {min(ratios):.3f} to {max(ratios):.3f}; exceptions: rows"
            f" {', '.join(str(row.number) for row in rest) or 'none'}",
            message=f"Speeds of tables {table.number} and {other.number} differ by one factor in most rows, as if one"
            " column were computed from the other.",
        )


def equal_speed(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """Different systems with the same speed to the last digit in each of two tables.

    Once is chance; on two data sets, with three and more digits, hardly.
    """
    for table, other in _same_systems(tables):
        for first, second in combinations(table.rows, 2):
            if _described(first) == _described(second):
                continue
            partners = [other.rows[table.rows.index(row)] for row in (first, second)]
            if first.value("fps") != second.value("fps") or partners[0].value("fps") != partners[1].value("fps"):
                yield None
                continue
            yield Finding(
                severity=Severity.WARNING,
                cells=tuple(row.cells["fps"] for row in (first, second, *partners)),
                arithmetic=f"{first.printed('fps')} = {second.printed('fps')} and"
                f" {partners[0].printed('fps')} = {partners[1].printed('fps')}",
                message=f"{_label(first)} and {_label(second)} are different systems with exactly the same speed in"
                f" both tables {table.number} and {other.number}.",
            )


def larger_yet_faster(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """A system that contains another and is printed faster or smaller, on the same backbone in the same table."""
    for table in tables:
        rows = distinct(table)
        for row in rows:
            for inner in CONTAINS.get(row.head.method, ()):
                for part in rows:
                    if (part.head.method, part.head.backbone) == (inner, row.head.backbone):
                        yield from _cheaper(row, part)


def _cheaper(row: Row, part: Row) -> Iterator[Finding | None]:
    for metric in COSTS:
        if metric not in row.cells or metric not in part.cells:
            continue
        margin = row.rounding(metric) + part.rounding(metric)
        gap = abs(row.value(metric) - part.value(metric))
        if not better(metric, row.value(metric), part.value(metric)) or gap <= margin + EPSILON:
            yield None
            continue
        word = "<" if metric in LOWER_IS_BETTER else ">"
        yield Finding(
            severity=Severity.WARNING,
            cells=(row.cells[metric], part.cells[metric]),
            arithmetic=f"{short(metric)} {row.printed(metric)} {word} {part.printed(metric)}",
            message=f"{row.name} adds to {part.name} and is printed as the cheaper of the two.",
        )


def _same_systems(tables: Sequence[PrintedTable]) -> Iterator[tuple[PrintedTable, PrintedTable]]:
    """Pairs of tables of one paper with a speed in every row and the same rows."""
    timed = [table for table in tables if all("fps" in row.cells for row in table.rows)]
    for table, other in combinations(timed, 2):
        if table.paper == other.paper and list(map(_described, table.rows)) == list(map(_described, other.rows)):
            yield table, other


def _described(row: Row) -> tuple:
    return row.head.method, row.head.backbone, row.head.components


def _label(row: Row) -> str:
    components = f" with {' + '.join(row.head.components)}" if row.head.components else ""
    return f"{row.head.method}{components} (row {row.number})"
