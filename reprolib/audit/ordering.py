"""Orders that the definition of a metric forces on the numbers of one row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reprolib.audit.finding import Finding, Severity
from reprolib.audit.printed import EPSILON, PrintedTable, Row, all_rows, short, variants

# Each pair: the first cannot be greater. AP is the mean of AP at IoU 0.50, 0.55, ..., 0.95, of which AP50 is the
# greatest; more detections per image find more; precision over recall ends at the greatest recall.
PAIRS = (
    ("AP", "AP50"),
    ("AP75", "AP50"),
    ("AR1", "AR10"),
    ("AR10", "AR100"),
    ("AP", "AR100"),
    ("APs", "ARs"),
    ("APm", "ARm"),
    ("APl", "ARl"),
)
GREATEST = {"%": 100.0}


def ordering(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """AP <= AP50, AP75 <= AP50, AR1 <= AR10 <= AR100, AP <= AR100 and the same by size.

    COCO's AP is the mean over ten IoU thresholds and falls as the threshold rises; recall rises with the number of
    detections allowed; precision is at most 1, so the area below precision over recall is at most the recall.
    """
    for row in all_rows(tables):
        for small, great in PAIRS:
            for kind, category in variants(row, small):
                lower, upper = f"{kind}/{small}{category}", f"{kind}/{great}{category}"
                if upper in row.cells:
                    yield _at_most(row, lower, upper)


def _at_most(row: Row, lower: str, upper: str) -> Finding | None:
    margin = row.rounding(lower) + row.rounding(upper)
    if row.value(lower) <= row.value(upper) + margin + EPSILON:
        return None
    return row.finding(
        Severity.ERROR,
        (lower, upper),
        f"{short(lower)} {row.printed(lower)} > {short(upper)} {row.printed(upper)}",
        f"{short(lower)} cannot be above {short(upper)}.",
    )


def threshold_mean(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """AP between (AP50 + 5 AP75) / 10 and (AP50 + AP75) / 2.

    AP is the mean of ten values that fall with the threshold: the five from 0.50 to 0.70 lie between AP75 and AP50,
    and the first of them is AP50; the five from 0.75 to 0.95 lie between 0 and AP75, and the first of them is AP75.
    So 10 AP is at least AP50 + 4 AP75 + AP75, and at most 5 AP50 + 5 AP75.
    """
    for row in all_rows(tables):
        for kind, category in variants(row, "AP"):
            ap, ap50, ap75 = (f"{kind}/{name}{category}" for name in ("AP", "AP50", "AP75"))
            if ap50 not in row.cells or ap75 not in row.cells:
                continue
            low = (row.value(ap50) + 5 * row.value(ap75)) / 10
            high = (row.value(ap50) + row.value(ap75)) / 2
            margin = row.rounding(ap) + 0.5 * (row.rounding(ap50) + row.rounding(ap75))
            if low - margin - EPSILON <= row.value(ap) <= high + margin + EPSILON:
                yield None
                continue
            yield row.finding(
                Severity.ERROR,
                (ap, ap50, ap75),
                f"({row.printed(ap50)} + 5 x {row.printed(ap75)}) / 10 = {low:.2f}, ({row.printed(ap50)} +"
                f" {row.printed(ap75)}) / 2 = {high:.2f}, {short(ap)} {row.printed(ap)}",
                f"{short(ap)} is no mean of ten thresholds that fits its AP50 and AP75.",
            )


def possible(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """Percentages from 0 to 100; times, speeds and sizes above 0."""
    for row in all_rows(tables):
        for metric, cell in row.cells.items():
            greatest = GREATEST.get(cell.unit, float("inf"))
            positive = cell.value > 0 or (cell.value == 0 and cell.unit in {"%", "count"})
            if positive and cell.value <= greatest:
                yield None
                continue
            text = f"{short(metric)} {cell.printed} {cell.unit}"
            yield row.finding(Severity.ERROR, (metric,), text, f"{short(metric)} cannot have this value.")
