"""Whole columns: what a column's head says against what it can hold, and cells printed unlike their column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from reprolib.audit.finding import Finding, Severity
from reprolib.audit.printed import PrintedTable, Row, dataset_of

# A column's ratio to AP is compared with that of the same metric in each other table of the data set. It is off from a
# table where every row is this factor or more away from every row there.
FACTOR = 1.5
FEWEST_ROWS = 3
FEWEST_TABLES = 2
NAMES = ("AP50", "AP75", "APs", "APm", "APl")


def mislabelled(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """A column's ratio to AP against the same metric's in all other tables of the data set.

    The ratio of AP of small objects to AP, say, hardly depends on the system. A column of which every row is off by
    1.5 times or more from every row of most other tables does not hold what its head says, or they do not. An error;
    the arithmetic says in how many rows the other metrics' ratios would fit.
    """
    for table in tables:
        for dataset in dict.fromkeys(map(dataset_of, table.rows)):
            for kind in ("segm", "bbox"):
                for name in NAMES:
                    yield from _column(tables, table, dataset, kind, name)


def _column(
    tables: Sequence[PrintedTable], table: PrintedTable, dataset: str, kind: str, name: str
) -> Iterator[Finding | None]:
    own = _ratios(table.rows, dataset, kind, name)
    others = [_ratios(other.rows, dataset, kind, name) for other in tables if other is not table]
    others = [ratios for ratios in others if len(ratios) >= FEWEST_ROWS]
    if len(own) < FEWEST_ROWS or len(others) < FEWEST_TABLES:
        return
    low, high = min(own.values()), max(own.values())
    off = [ratios for ratios in others if low >= FACTOR * max(ratios.values()) or high <= min(ratios.values()) / FACTOR]
    if len(off) <= len(others) / 2:
        yield None
        return
    elsewhere = [ratio for ratios in off for ratio in ratios.values()]
    texts = [
        f"{name} / AP {low:.2f} to {high:.2f} here, {min(elsewhere):.2f} to {max(elsewhere):.2f} in {len(off)} of"
        f" {len(others)} other tables"
    ]
    rest = [row for other in tables if other is not table for row in other.rows]
    for other in NAMES:
        if other != name and (ratios := _ratios(rest, dataset, kind, other)):
            least, most = min(ratios.values()), max(ratios.values())
            inside = sum(least <= ratio <= most for ratio in own.values())
            texts.append(f"{other} / AP {least:.2f} to {most:.2f} elsewhere ({inside} of {len(own)} rows inside)")
    yield Finding(
        severity=Severity.ERROR,
        cells=tuple(row.cells[f"{kind}/{column}"] for row in own for column in (name, "AP")),
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
                arithmetic = f"{row.printed(metric)} among {len(rows) - 1} numbers with {usual} decimals"
                meaning = "printed unlike its column, so perhaps quoted from elsewhere."
                yield row.finding(Severity.NOTE, (metric,), arithmetic, meaning)
