"""Ablations and baselines: steps that lose, metrics that jump, a method below what it is built on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reprolib.audit.finding import Finding, Severity
from reprolib.audit.printed import (
    EPSILON,
    PrintedTable,
    Row,
    better,
    difference,
    distinct,
    full_rows,
    pair_finding,
    short,
    signed,
)
from reprolib.papers.named_systems import systems_of

COSTS = ("params_M", "flops_G", "time_ms", "fps")

# A metric of few objects jumps where the whole barely moves: so many times the spread of AP, and so many points.
TIMES_AP, LEAST_SPREAD = 5.0, 10.0

# Backbones of one family, weakest first.
FAMILIES = (
    ("ResNet-50-FPN", "ResNet-101-FPN", "ResNeXt-101-FPN"),
    ("HRNetV2-W18", "HRNetV2-W32", "HRNetV2-W40"),
)


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The ablation rows of one method on one data set, those with known components, with their baseline if printed."""

    baseline: Row | None
    rows: tuple[Row, ...]


def host(row: Row) -> str:
    """The method that an own method's row is built on; empty for other rows."""
    if not row.head.is_ours:
        return ""
    _, _, named = row.head.method.removesuffix(")").partition(" (")  # one printed as `SEANet (Mask R-CNN)` says it
    return named or systems_of(row.head.paper)[row.head.method].built_on


def ladders(tables: Sequence[PrintedTable]) -> Iterator[Ladder]:
    """Every ablation: own rows of one method, data set and backbone in a table that switch components."""
    for table in tables:
        groups: dict[tuple, list[Row]] = {}
        for row in table.rows:
            if row.head.is_ours and row.head.components and row.head.row_kind in {"ablation", "efficiency"}:
                groups.setdefault((row.head.method, row.head.dataset, row.head.backbone), []).append(row)
        for rows in groups.values():
            if len(rows) > 1:
                yield Ladder(baseline=baseline_of(table, rows[0]), rows=tuple(rows))


def baseline_of(table: PrintedTable, row: Row) -> Row | None:
    """The row of the same table that an own method's row is built on; None where there is none or several differ."""
    hosts = [other for other in table.rows if other.head.method == host(row) and other.head.dataset == row.head.dataset]
    hosts = [other for other in hosts if other.head.backbone == row.head.backbone] or hosts
    same = {tuple(cell.printed for cell in other.cells.values()) for other in hosts}
    return hosts[-1] if hosts and len(same) == 1 else None


def steps(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """A row with more components than another, nothing between them, and lower accuracy.

    Every such step is a note, with all metrics that fall; where the publication says that each component helps, the
    claims are checked one by one.
    """
    for ladder in ladders(tables):
        rows = (*((ladder.baseline,) if ladder.baseline else ()), *ladder.rows)
        for less, more in ((less, more) for less in rows for more in ladder.rows):
            if not less.parts < more.parts or any(less.parts < row.parts < more.parts for row in ladder.rows):
                continue
            added = " + ".join(name for name in more.head.components if name not in less.parts)
            yield _worse(more, less, f"adding {added} to {_title(less)} lowers", Severity.NOTE)


def spread(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """AP of one size class over an ablation, against AP as a whole.

    Where a size class spans five times as much as AP and ten points or more, it rests on so few objects that its
    single numbers say little.
    """
    for table in tables:
        ablations: dict[str, list[Row]] = {}
        for row in table.rows:
            if row.head.row_kind == "ablation":
                ablations.setdefault(row.head.dataset, []).append(row)
        for rows in ablations.values():
            for kind in ("bbox", "segm"):
                for size in ("APs", "APm", "APl"):
                    whole, metric = f"{kind}/AP", f"{kind}/{size}"
                    if len(rows) > 2 and all(whole in row.cells and metric in row.cells for row in rows):
                        yield _spread(rows, whole, metric)


def _spread(rows: Sequence[Row], whole: str, metric: str) -> Finding | None:
    values, overall = ([row.value(name) for row in rows] for name in (metric, whole))
    wide, narrow = max(values) - min(values), max(overall) - min(overall)
    if wide < LEAST_SPREAD or wide < TIMES_AP * narrow:
        return None
    return Finding(
        severity=Severity.NOTE,
        cells=tuple(row.cells[metric] for row in rows),
        arithmetic=f"{short(metric)} {', '.join(row.printed(metric) for row in rows)}: {wide:.1f} points;"
        f" {short(whole)} {narrow:.1f}",
        message=f"Table {rows[0].head.table}: {short(metric)} jumps over the ablation while {short(whole)} hardly"
        " moves; it rests on few objects.",
    )


def below_baseline(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """The full method below the system that it is built on, in the same table; all metrics of accuracy that are.

    A note for parts of the accuracy, a warning where AP itself is below.
    """
    for table, row, baseline in _full_rows(tables):
        fallen = [m for m in row.accuracies if m in baseline.cells and row.value(m) < baseline.value(m)]
        whole = any(metric in {"segm/AP", "bbox/AP"} for metric in fallen)
        severity = Severity.WARNING if whole else Severity.NOTE
        words = f"the full method is below its baseline {baseline.head.method} in"
        lowest = [m for m in fallen if all(row.value(m) <= peer.value(m) for peer in table.rows if m in peer.cells)]
        last = f"; lowest of the table in {', '.join(map(short, lowest))}" if lowest and len(table.rows) > 2 else ""
        yield _worse(row, baseline, words, severity, last=last)


def costs(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """What the full method costs beside the system that it is built on, in percent; a note wherever it costs more."""
    for _, row, baseline in _full_rows(tables):
        metrics = [m for m in COSTS if m in row.cells and m in baseline.cells]
        if not metrics:
            continue
        if not any(better(m, baseline.value(m), row.value(m)) for m in metrics):
            yield None
            continue
        texts = []
        for metric in metrics:
            ours, theirs = row.value(metric), baseline.value(metric)
            text = f"{metric} {baseline.printed(metric)} to {row.printed(metric)}"
            texts.append(f"{text} ({signed(100 * (ours / theirs - 1), 0)} %)")
            if metric == "fps" and "time_ms" not in metrics:
                texts[-1] += f", {1000 / theirs:.1f} to {1000 / ours:.1f} ms"
        meaning = f"what it costs beside its baseline {baseline.head.method}."
        yield row.finding(Severity.NOTE, metrics, "; ".join(texts), meaning, baseline=baseline)


def stronger_backbone(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """The same method with a stronger backbone of the same family and lower AP, in one table.

    By more than a point a warning, else a note.
    """
    for table in tables:
        for row in table.rows:
            family = next((family for family in FAMILIES if row.head.backbone in family), ())
            weaker = [
                other
                for other in table.rows
                if other.head.backbone in family[: family.index(row.head.backbone) if family else 0]
                and (other.head.method, other.head.components) == (row.head.method, row.head.components)
            ]
            for metric in ("segm/AP", "bbox/AP"):
                rows = [other for other in weaker if metric in other.cells and metric in row.cells]
                above = [other for other in rows if other.value(metric) > row.value(metric)]
                if not above:
                    yield from [None] * bool(rows)
                    continue
                lost = max(other.value(metric) for other in above) - row.value(metric)
                yield Finding(
                    severity=Severity.WARNING if lost > 1 else Severity.NOTE,
                    cells=(row.cells[metric], *(other.cells[metric] for other in above)),
                    arithmetic=f"{short(metric)} {row.head.backbone} {row.printed(metric)} < "
                    + ", ".join(f"{other.head.backbone} {other.printed(metric)}" for other in above),
                    message=f"{row.name}: lower with the stronger backbone.",
                )


def _full_rows(tables: Sequence[PrintedTable]) -> Iterator[tuple[PrintedTable, Row, Row]]:
    """Each table's own rows that no row of the method has more components than, with their baselines."""
    for table in tables:
        kept = distinct(table)
        for row in full_rows(table):
            if row in kept and host(row) and (baseline := baseline_of(table, row)) is not None:
                yield table, row, baseline


def _worse(row: Row, other: Row, words: str, severity: Severity, *, last: str = "") -> Finding | None:
    """What is lower in `row` than in `other`, all metrics of accuracy in one finding."""
    fallen = [m for m in row.accuracies if m in other.cells and other.value(m) - row.value(m) > EPSILON]
    if not fallen:
        return None
    arithmetic = "; ".join(
        f"{short(m)} {row.printed(m)} < {other.printed(m)} ({difference(row, other, m)})" for m in fallen
    )
    message = f"{row.name}: {words} {', '.join(map(short, fallen))}{last}."
    key = f"{row.table_id}/{row.number}+{other.number}"
    return pair_finding(severity, row, other, fallen, arithmetic, message, key=key)


def _title(row: Row) -> str:
    return " + ".join(row.head.components) if row.head.components else row.head.method
