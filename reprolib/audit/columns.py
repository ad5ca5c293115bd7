"""Whole columns: what a column's head says against what it can hold, and cells printed unlike their column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from reprolib.audit.finding import Finding, Severity
from reprolib.audit.printed import PrintedTable, Row, dataset_of

# A column's ratio to AP is compared with that of the same metric in other tables of the data set, when there are so
# many rows; it is off where every row of the column is this factor or more away from every other.
FEWEST_ROWS = 8
FACTOR = 1.5
NAMES = ("AP50", "AP75", "APs", "APm", "APl")


def mislabelled(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """A column's ratio to AP against the same metric's in all other tables of the data set.

    The ratio of AP of small objects to AP, say, hardly depends on the system. A column of which every row is off by
    1.5 times or more from every other table's row does not hold what its head says. An error; the arithmetic names the
    ranges of the other metrics for comparison.
    """
    for table in tables:
        for dataset in dict.fromkeys(map(dataset_of, table.rows)):
            for kind in ("segm", "bbox"):
                for name in NAMES:
                    yield from _column(tables, table, dataset, kind, name)


def _column(
    tables: Sequence[PrintedTable], table: PrintedTable, dataset: str, kind: str, name: str
) -> Iterator[Finding | None]:
    metric = f"{kind}/{name}"
    own = _ratios(table.rows, dataset, kind, name)
    rest = [row for other in tables if other is not table for row in other.rows]
    others = _ratios(rest, dataset, kind, name)
    if len(own) < FEWEST_ROWS or len(others) < FEWEST_ROWS:
        return
    low, high = min(others.values()), max(others.values())
    if not (min(own.values()) >= FACTOR * high or max(own.values()) <= low / FACTOR):
        yield None
        return
    texts = [
        f"{metric} / AP {min(own.values()):.2f} to {max(own.values()):.2f} here, {low:.2f} to {high:.2f} elsewhere"
    ]
    for other in NAMES:
        if other != name and (found := _ratios(rest, dataset, kind, other)):
            least, most = min(found.values()), max(found.values())
            inside = sum(least <= ratio <= most for ratio in own.values())
            texts.append(f"{other} / AP {least:.2f} to {most:.2f} elsewhere ({inside} of {len(own)} rows inside)")
    refs = [row.ref(name) for row in own for name in (metric, f"{kind}/AP")]
    yield Finding(
        severity=Severity.ERROR,
        cells=tuple(refs),
        key=f"{table.id}/{kind}-{name}",
        arithmetic="; ".join(texts),
        message=f"Table {table.number}: the column {name} cannot hold {name}; its ratio to AP is off in all {len(own)}"
        " rows.",
    )


def _ratios(rows: Sequence[Row], dataset: str, kind: str, name: str) -> dict[Row, float]:
    """Ratio to AP of the rows on a data set that print both."""
    whole, part = f"{kind}/AP", f"{kind}/{name}"
    return {
        row: row.value(part) / row.value(whole)
        for row in rows
        if dataset_of(row) == dataset and whole in row.cells and part in row.cells and row.value(whole) > 0
    }


def digits(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """A cell printed with more or fewer decimals than the rest of its column; a note: it may come from elsewhere."""
    for table in tables:
        columns: dict[str, list[Row]] = {}
        for row in table.rows:
            for metric in row.cells:
                columns.setdefault(metric, []).append(row)
        for metric, rows in columns.items():
            if len(rows) < 3 or metric.startswith("dataset/"):
                continue
            usual = Counter(row.cells[metric].decimals for row in rows).most_common(1)[0][0]
            for row in rows:
                if row.cells[metric].decimals == usual:
                    yield None
                    continue
                yield Finding(
                    severity=Severity.NOTE,
                    cells=(row.ref(metric),),
                    arithmetic=f"{row.cells[metric].printed} among {len(rows) - 1} numbers with {usual} decimals",
                    message=f"{row.name}: printed unlike its column, so perhaps quoted from elsewhere.",
                )
