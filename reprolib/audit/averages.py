"""Averages against what they are averages of: size classes, categories, frequencies, shares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from reprolib.audit.finding import Finding, Severity
from reprolib.audit.printed import EPSILON, PrintedTable, Row, all_rows, decimals, short, signed, variants

# The average is not exactly a mean of its size classes (see `size_classes`); how far outside their range a row may be
# is read from the tables: of the rows that print all three, all but one are inside or at most 0.3 outside.
FAR_OUTSIDE = 1.0
NO_SUCH_MEAN = 5.0
SIZE_CLASSES = {"AP": ("APs", "APm", "APl"), "AR100": ("ARs", "ARm", "ARl")}

# Categories of LVIS v1 by how many training images show them (rare to 10, common to 100, frequent), as in the data
# set's card. AP is averaged over the categories that the evaluated split shows, which are fewer.
LVIS_CATEGORIES = {"segm/APr": 337, "segm/APc": 461, "segm/APf": 405}
FEWEST_LVIS_ROWS = 6


def size_classes(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """AP in the range of APs, APm and APl; AR100 in that of ARs, ARm and ARl.

    AP is not exactly a mean of its size classes: each size class is averaged over the categories that have objects of
    that size, unmatched detections of another size are ignored, and the ranking is one over all sizes. It stays near
    their range nevertheless. Outside by up to 1 point is a note, by up to 5 a warning, by more an error.
    """
    for table in tables:
        for row in table.rows:
            for name, sizes in SIZE_CLASSES.items():
                for kind, category in variants(row, name):
                    whole, classes = f"{kind}/{name}{category}", [f"{kind}/{size}{category}" for size in sizes]
                    if all(metric in row.cells for metric in classes):
                        yield _enclosed(table, row, whole, classes)


def _enclosed(table: PrintedTable, row: Row, whole: str, classes: Sequence[str]) -> Finding | None:
    value, lowest, highest = row.value(whole), min(classes, key=row.value), max(classes, key=row.value)
    if row.value(lowest) <= value <= row.value(highest):
        return None
    nearest = highest if value > row.value(highest) else lowest
    outside = abs(value - row.value(nearest))
    severity = Severity.NOTE if outside <= FAR_OUTSIDE + EPSILON else Severity.WARNING
    if outside > NO_SUCH_MEAN:
        severity = Severity.ERROR
    meaning = f"{short(whole)} lies outside the range of its size classes."
    column = [other for other in table.rows if whole in other.cells]
    if len(column) > 1 and row is max(column, key=lambda other: other.value(whole)) and severity is Severity.ERROR:
        second = max((other for other in column if other is not row), key=lambda other: other.value(whole))
        meaning += f" It is the highest of its column; without it that is {second.printed(whole)}, {second.name}."
    if outside <= row.rounding(whole) + row.rounding(nearest) + EPSILON:
        meaning += " The rounding of the printed digits can explain it."
    sizes = ", ".join(f"{metric.rpartition('/')[2][-1]} {row.printed(metric)}" for metric in classes)
    arithmetic = f"{short(whole)} {row.printed(whole)}, size classes {sizes}: {outside:.1f} outside"
    return row.finding(severity, (whole, *classes), arithmetic, meaning)


def class_average(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """A printed average against the mean of the categories printed beside it.

    The average and each category are within half a unit of their last digit. An average that no such digits give is an
    error; one that only all of them at their limit give, a warning; one that is merely another digit than the printed
    categories' mean, a note.
    """
    for row in all_rows(tables):
        for name in ("AP", "AP50", "AP75"):
            for kind in ("segm", "bbox"):
                whole = f"{kind}/{name}"
                classes = [metric for metric in row.cells if metric.startswith(f"{whole}/")]
                if whole in row.cells and len(classes) > 1:
                    yield _mean_of(row, whole, classes)


def _mean_of(row: Row, whole: str, classes: Sequence[str]) -> Finding | None:
    mean = sum(map(row.value, classes)) / len(classes)
    gap = row.value(whole) - mean
    margin = row.rounding(whole) + sum(map(row.rounding, classes)) / len(classes)
    if abs(gap) <= row.rounding(whole) + EPSILON:
        return None
    printed = row.printed(whole)
    if abs(gap) > margin + EPSILON:
        severity, reason = Severity.ERROR, "no rounding explains it"
    elif abs(gap) > margin - EPSILON:
        severity, reason = Severity.WARNING, "only if every category were rounded by half a unit to the same side"
    else:
        severity, reason = Severity.NOTE, "the rounding of the categories can explain it"
    meaning = f"the printed average {short(whole)} is not the mean of the {len(classes)} printed categories; {reason}."
    for category in classes if severity is Severity.ERROR else ():
        if row.printed(category) == printed:
            fitting = row.value(category) + gap * len(classes)
            meaning += (
                f" {short(category)} is printed with the average's own digits, {printed}: {fitting:.1f} there would"
                " fit, so one may be a copy of the other."
            )
    arithmetic = f"mean of {' '.join(map(row.printed, classes))} = {mean:.2f}, printed {printed} ({signed(gap, 2)})"
    return row.finding(severity, (whole, *classes), arithmetic, meaning)


def lvis_average(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """LVIS AP against the mean of APr, APc and APf, weighted by how many categories each stands for.

    AP is the mean over categories, so it is exactly (r APr + c APc + f APf) / (r + c + f), where r, c and f count the
    categories that have objects in the evaluated images. LVIS v1 publishes 337, 461 and 405; those with objects in a
    split are fewer, mostly of the rare ones, and the publications do not say how many. So the shares are fitted to the
    table itself by least squares: while the worst row is further off than rounding allows, it is set aside and the
    rest fitted again. A row set aside is an error, as long as most rows agree.
    """
    for table in tables:
        rows = [row for row in table.rows if all(metric in row.cells for metric in ("segm/AP", *LVIS_CATEGORIES))]
        if len(rows) < FEWEST_LVIS_ROWS:
            continue
        shares, kept = _fit(rows)
        worst = max(abs(_off(row, shares)) for row in kept)
        counts = np.array(list(LVIS_CATEGORIES.values())) / sum(LVIS_CATEGORIES.values())
        for row in rows:
            if row in kept:
                yield None
                continue
            implied = row.value("segm/AP") - _off(row, shares)
            terms = [f"{share:.3f} x {row.printed(m)}" for share, m in zip(shares, LVIS_CATEGORIES, strict=True)]
            yield row.finding(
                Severity.ERROR,
                ("segm/AP", *LVIS_CATEGORIES),
                f"{' + '.join(terms)} = {implied:.2f}, printed {row.printed('segm/AP')}"
                f" ({signed(_off(row, shares), 2)}); the other {len(kept)} rows within {worst:.3f}"
                f" (the published 337, 461, 405 would give {_frequencies(row) @ counts:.2f})",
                "AP is not the category-weighted mean of its APr, APc and APf, while the other rows' is. One of the"
                " four is misprinted; if it is AP, each gain over another row changes by"
                f" {signed(-_off(row, shares), 2)}.",
            )


def _frequencies(row: Row) -> np.ndarray:
    return np.array([row.value(metric) for metric in LVIS_CATEGORIES])


def _off(row: Row, shares: np.ndarray) -> float:
    return float(row.value("segm/AP") - _frequencies(row) @ shares)


def _fit(rows: Sequence[Row]) -> tuple[np.ndarray, list[Row]]:
    """Shares, and the rows that agree with them within rounding; at least half of the rows are kept."""
    kept = list(rows)
    while True:
        values = np.array([row.value("segm/AP") for row in kept])
        shares = np.linalg.lstsq(np.array([_frequencies(row) for row in kept]), values, rcond=None)[0]
        worst = max(kept, key=lambda row: abs(_off(row, shares)))
        margin = worst.rounding("segm/AP") + max(map(worst.rounding, LVIS_CATEGORIES))
        if abs(_off(worst, shares)) <= margin + EPSILON or len(kept) <= len(rows) / 2:
            return shares, kept
        kept.remove(worst)


def shares_sum(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """Shares of one whole add up to 100 %."""
    for row in all_rows(tables):
        metrics = [metric for metric in row.cells if "_share/" in metric]
        if len(metrics) < 2:
            continue
        total = sum(map(row.value, metrics))
        if abs(total - 100) <= sum(map(row.rounding, metrics)) + EPSILON:
            yield None
            continue
        digits = decimals(*(row.cells[metric] for metric in metrics))
        arithmetic = f"{' + '.join(map(row.printed, metrics))} = {total:.{digits}f}"
        yield row.finding(Severity.ERROR, metrics, arithmetic, "the shares do not add up to 100 %.")
