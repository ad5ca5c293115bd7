"""The same system in two places: within one publication, under two publications, by boxes and by masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from reprolib.audit.finding import Finding, Severity
from reprolib.audit.printed import (
    EPSILON,
    PrintedTable,
    Row,
    all_rows,
    dataset_of,
    difference,
    distinct,
    full_rows,
    pair_finding,
    pair_key,
    short,
    signed,
)

UNSTATED = {"", "unstated"}

# Points of AP between two publications' numbers of one system: beyond, as much as the methods compared there gain.
FAR_APART = 2.0
# Points between AP of boxes and of masks of the same detections, and beyond which AP as a whole is a warning.
BOX_AND_MASK = 15.0
FEWEST_EQUAL = 3


def same_run(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """One publication's rows of the same method, components, backbone, data set and split in two tables.

    They are one run, so every metric that both print is the same. Another number is an error, and a warning where the
    row's method, components or split are not certain.
    """
    for first, second in combinations(all_rows(tables), 2):
        if not _in_two_tables(first, second) or not _same_run(first, second):
            continue
        shared = _shared(first, second)
        if not shared:
            continue
        unequal = [metric for metric in shared if not _agree(first, second, metric)]
        if not unequal:
            yield None
            continue
        sure = first.head.confidence == second.head.confidence == "certain" and first.head.split == second.head.split
        sure = sure and first.head.split not in UNSTATED
        severity = Severity.ERROR if sure else Severity.WARNING
        message = f"{first.name} and {second.name} are the same system on the same data, with other numbers."
        yield pair_finding(severity, first, second, unequal, _differences(first, second, unequal), message)


def equal_rows(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """Rows of one publication on one data set that agree in every number they share, three or more.

    A note: the same run shown twice, which tells what an unclear row is; two differently described rows with the same
    numbers are one run too, or one of them is a copy. A row whose place is inferred needs one shared number.
    """
    for first, second in combinations(all_rows(tables), 2):
        if first.head.paper != second.head.paper or first.head.dataset != second.head.dataset:
            continue
        unsure = "certain" not in {first.head.confidence} & {second.head.confidence}
        unsure = unsure and first.head.method == second.head.method and first.head.table != second.head.table
        shared = _shared(first, second)
        if len(shared) < (1 if unsure else FEWEST_EQUAL):
            continue
        if any(first.printed(metric) != second.printed(metric) for metric in shared):
            yield None
            continue
        alike = (first.head.method, first.head.components) == (second.head.method, second.head.components)
        words = "the same run shown twice" if alike else "described differently, so one run under two descriptions"
        if len(shared) > 1:
            message = f"{first.name} and {second.name} agree in all {len(shared)} numbers that they share; {words}."
        else:
            message = f"{first.name} and {second.name} print the same number; {words}, as far as that number tells."
        yield pair_finding(Severity.NOTE, first, second, shared, _equal(first, shared), message)


def across_papers(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """One method on one data set in two publications, as far as backbone and split do not differ.

    Other numbers are usual (other training, other splits) and matter, since a method may beat one of them and not the
    other: a note, and a warning where AP differs by more than 2 points. Equal ones to the last digit, three and more,
    are quoted: a note. Classes of Cityscapes are compared over both of its class lists, averages are not; nor are
    columns that are known to be mislabelled.
    """
    for first, second in combinations(_representatives(tables), 2):
        if first.head.paper == second.head.paper or not _same_system(first, second):
            continue
        shared = [
            metric
            for metric in _shared(first, second)
            if metric in first.accuracies
            and "label_wrong" not in {first.cells[metric].value_confidence, second.cells[metric].value_confidence}
        ]
        if first.head.dataset != second.head.dataset and "Cityscapes" in first.head.dataset + second.head.dataset:
            shared = [metric for metric in shared if metric.count("/") == 2]
        if not shared:
            continue
        unequal = [metric for metric in shared if not _agree(first, second, metric)]
        if not unequal and len(shared) < FEWEST_EQUAL:
            yield None
            continue
        rows = f"{first.head.paper} {first.name} and {second.head.paper} {second.name}"
        if not unequal:
            message = (
                f"{rows} agree in all {len(shared)} numbers: one quotes the other, under whatever protocol its own rows"
                " have."
            )
            yield pair_finding(Severity.NOTE, first, second, shared, _equal(first, shared), message)
            continue
        whole = [m for m in unequal if m in {"segm/AP", "bbox/AP"} or m.count("/") == 2]
        far = any(abs(first.value(metric) - second.value(metric)) > FAR_APART for metric in whole)
        severity = Severity.WARNING if far else Severity.NOTE
        message = (
            f"{rows} print different numbers for {first.head.method} on {second.head.dataset}; rows of the two do not"
            " compare."
        )
        yield pair_finding(severity, first, second, unequal, _differences(first, second, unequal), message)


def box_and_mask(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """AP of boxes against AP of masks of one system, which come from the same detections.

    More than 15 points apart in a size class is a note, in AP as a whole a warning.
    """
    for first, second in combinations(all_rows(tables), 2):
        if _in_two_tables(first, second) and _same_run(first, second):
            yield from _box_and_mask(first, second)
    for row in all_rows(tables):
        yield from _box_and_mask(row, row)


def _box_and_mask(first: Row, second: Row) -> Iterator[Finding | None]:
    """For a row that prints both, `other` is the row itself; of two rows, each prints one of them."""
    texts, cells, apart = [], [], []
    names = [
        name for name in ("AP", "APs", "APm", "APl") if _kinds(first, name) | _kinds(second, name) == {"bbox", "segm"}
    ]
    if first is not second:  # what one of the rows prints of both is compared in that row
        names = [name for name in names if len(_kinds(first, name)) == len(_kinds(second, name)) == 1]
    for name in names:
        box, mask = (first, second) if "bbox" in _kinds(first, name) else (second, first)
        gap = box.value(f"bbox/{name}") - mask.value(f"segm/{name}")
        if abs(gap) > BOX_AND_MASK:
            apart.append(name)
            cells += [box.cells[f"bbox/{name}"], mask.cells[f"segm/{name}"]]
            printed = f"box {box.printed(f'bbox/{name}')} / mask {mask.printed(f'segm/{name}')}"
            texts.append(f"{name} {printed} ({signed(gap, 1)})")
    if not apart:
        yield from [None] * bool(names)
        return
    place = first.name if first is second else f"{first.name} and {second.name}"
    yield Finding(
        severity=Severity.WARNING if "AP" in apart else Severity.NOTE,
        cells=tuple(cells),
        key=pair_key(first) if first is second else pair_key(first, second),
        arithmetic="; ".join(texts),
        message=f"{place}: boxes and masks of the same detections are far apart.",
    )


def _kinds(row: Row, name: str) -> set[str]:
    return {kind for kind in ("bbox", "segm") if f"{kind}/{name}" in row.cells}


def repeated_value(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """One method with the same AP, or AP of a size, to the last digit on two data sets of one publication; a note.

    Also chance: among many rows some pair agrees.
    """
    for first, second in combinations((row for table in tables for row in distinct(table)), 2):
        if first.head.paper != second.head.paper or first.head.dataset == second.head.dataset or not first.head.method:
            continue
        names = ("method", "components", "backbone")
        if any(getattr(first.head, name) != getattr(second.head, name) for name in names):
            continue
        for metric in _shared(first, second):
            if metric not in first.accuracies or metric.count("/") > 1:
                continue
            if first.printed(metric) != second.printed(metric):
                yield None
                continue
            yield Finding(
                severity=Severity.NOTE,
                cells=(first.cells[metric], second.cells[metric]),
                arithmetic=f"{short(metric)} {first.printed(metric)} on {first.head.dataset} and on"
                f" {second.head.dataset}",
                message=f"{first.name} and {second.name} print the same number for two data sets.",
            )


def _in_two_tables(first: Row, second: Row) -> bool:
    """Whether they are rows of two tables of one publication."""
    return first.head.paper == second.head.paper and first.head.table != second.head.table


def _same_run(first: Row, second: Row) -> bool:
    same = (first.head.dataset, first.head.components) == (second.head.dataset, second.head.components)
    return same and _same_system(first, second) and first.head.components is not None


def _same_system(first: Row, second: Row) -> bool:
    if not first.head.method or first.head.method != second.head.method:
        return False
    if dataset_of(first) != dataset_of(second):
        return False
    backbones = {first.head.backbone, second.head.backbone}
    splits = {first.head.split, second.head.split}
    return (len(backbones) == 1 or "" in backbones) and (len(splits) == 1 or bool(splits & UNSTATED))


def _representatives(tables: Sequence[PrintedTable]) -> list[Row]:
    """Rows without partial ablations, and without those whose numbers another row of the same system prints too."""
    kept: list[Row] = []
    for row in (row for table in tables for row in full_rows(table)):
        twins = [other for other in kept if other.head.paper == row.head.paper and _same_run(other, row)]
        if not any(all(m in other.cells and _agree(other, row, m) for m in row.accuracies) for other in twins):
            kept.append(row)
    return kept


def _shared(first: Row, second: Row) -> list[str]:
    return [metric for metric in first.cells if metric in second.cells]


def _agree(first: Row, second: Row, metric: str) -> bool:
    """Equal as far as the coarser of the two is printed."""
    rounding = max(first.rounding(metric), second.rounding(metric))
    return abs(first.value(metric) - second.value(metric)) <= rounding + EPSILON


def _differences(first: Row, second: Row, metrics: Sequence[str]) -> str:
    return "; ".join(
        f"{short(m)} {first.printed(m)} / {second.printed(m)} ({difference(second, first, m)})" for m in metrics
    )


def _equal(row: Row, metrics: Sequence[str]) -> str:
    """The numbers that another row prints too, the first three of them."""
    text = ", ".join(f"{short(metric)} {row.printed(metric)}" for metric in metrics[:3])
    return f"{text}{f' and {len(metrics) - 3} more' if len(metrics) > 3 else ''} in both"
