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
    decimals,
    distinct,
    full_rows,
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
    for one, other in combinations(all_rows(tables), 2):
        if one.head.paper != other.head.paper or one.head.table == other.head.table or not _same_run(one, other):
            continue
        shared = _shared(one, other)
        if not shared:
            continue
        unequal = [metric for metric in shared if not _agree(one, other, metric)]
        if not unequal:
            yield None
            continue
        sure = one.head.confidence == other.head.confidence == "certain" and one.head.split == other.head.split
        sure = sure and one.head.split not in UNSTATED
        yield Finding(
            severity=Severity.ERROR if sure else Severity.WARNING,
            cells=tuple(ref for metric in unequal for ref in (one.ref(metric), other.ref(metric))),
            key=f"{one.table_id}/{one.number}/{other.table_id}/{other.number}",
            arithmetic=_differences(one, other, unequal),
            message=f"{one.name} and {other.name} are the same system on the same data, with other numbers.",
        )


def equal_rows(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """Rows of one publication on one data set that agree in every number they share, three or more.

    A note: the same run shown twice, which tells what an unclear row is; two differently described rows with the same
    numbers are one run too, or one of them is a copy. A row whose place is inferred needs one shared number.
    """
    for one, other in combinations(all_rows(tables), 2):
        if one.head.paper != other.head.paper or one.head.dataset != other.head.dataset:
            continue
        unsure = "certain" not in {one.head.confidence} & {other.head.confidence}
        unsure = unsure and one.head.method == other.head.method and one.head.table != other.head.table
        shared = _shared(one, other)
        if len(shared) < (1 if unsure else FEWEST_EQUAL):
            continue
        if any(one.cells[metric].printed != other.cells[metric].printed for metric in shared):
            yield None
            continue
        alike = (one.head.method, one.head.components) == (other.head.method, other.head.components)
        words = "the same run shown twice" if alike else "described differently, so one run under two descriptions"
        yield Finding(
            severity=Severity.NOTE,
            cells=tuple(ref for metric in shared for ref in (one.ref(metric), other.ref(metric))),
            key=f"{one.table_id}/{one.number}/{other.table_id}/{other.number}",
            arithmetic=_equal(one, shared),
            message=f"{one.name} and {other.name} agree in all {len(shared)} numbers that they share; {words}."
            if len(shared) > 1
            else f"{one.name} and {other.name} print the same number; {words}, as far as that number tells.",
        )


def across_papers(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """One method on one data set in two publications, as far as backbone and split do not differ.

    Other numbers are usual (other training, other splits) and matter, since a method may beat one of them and not the
    other: a note, and a warning where AP differs by more than 2 points. Equal ones to the last digit, three and more,
    are quoted: a note. Classes of Cityscapes are compared over both of its class lists, averages are not; nor are
    columns that are known to be mislabelled.
    """
    for one, other in combinations(_representatives(tables), 2):
        if one.head.paper == other.head.paper or not _same_system(one, other):
            continue
        shared = [
            metric
            for metric in _shared(one, other)
            if metric in one.accuracies
            and "label_wrong" not in {one.cells[metric].value_confidence, other.cells[metric].value_confidence}
        ]
        if one.head.dataset != other.head.dataset and "Cityscapes" in one.head.dataset + other.head.dataset:
            shared = [metric for metric in shared if metric.count("/") == 2]
        if not shared:
            continue
        unequal = [metric for metric in shared if not _agree(one, other, metric)]
        if not unequal and len(shared) < FEWEST_EQUAL:
            yield None
            continue
        key = f"{one.table_id}/{one.number}/{other.table_id}/{other.number}"
        if not unequal:
            yield Finding(
                severity=Severity.NOTE,
                cells=tuple(ref for metric in shared for ref in (one.ref(metric), other.ref(metric))),
                key=key,
                arithmetic=_equal(one, shared),
                message=f"{_in_paper(one)} and {_in_paper(other)} agree in all {len(shared)} numbers: one quotes the"
                " other, under whatever protocol its own rows have.",
            )
            continue
        whole = [m for m in unequal if m in {"segm/AP", "bbox/AP"} or m.count("/") == 2]
        far = any(abs(one.value(metric) - other.value(metric)) > FAR_APART for metric in whole)
        yield Finding(
            severity=Severity.WARNING if far else Severity.NOTE,
            cells=tuple(ref for metric in unequal for ref in (one.ref(metric), other.ref(metric))),
            key=key,
            arithmetic=_differences(one, other, unequal),
            message=f"{_in_paper(one)} and {_in_paper(other)} print different numbers for {one.head.method} on"
            f" {other.head.dataset}; rows of the two do not compare.",
        )


def box_and_mask(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """AP of boxes against AP of masks of one system, which come from the same detections.

    More than 15 points apart in a size class is a note, in AP as a whole a warning.
    """
    for one, other in combinations(all_rows(tables), 2):
        if one.head.paper == other.head.paper and one.head.table != other.head.table and _same_run(one, other):
            yield from _box_and_mask(one, other)
    for row in all_rows(tables):
        yield from _box_and_mask(row, row)


def _box_and_mask(one: Row, other: Row) -> Iterator[Finding | None]:
    """For a row that prints both, `other` is the row itself; of two rows, each prints one of them."""
    texts, refs, apart = [], [], []
    names = [
        name for name in ("AP", "APs", "APm", "APl") if _kinds(one, name) | _kinds(other, name) == {"bbox", "segm"}
    ]
    if one is not other:  # what one of the rows prints of both is compared in that row
        names = [name for name in names if len(_kinds(one, name)) == len(_kinds(other, name)) == 1]
    for name in names:
        box, mask = (one, other) if "bbox" in _kinds(one, name) else (other, one)
        gap = box.value(f"bbox/{name}") - mask.value(f"segm/{name}")
        if abs(gap) > BOX_AND_MASK:
            apart.append(name)
            refs += [box.ref(f"bbox/{name}"), mask.ref(f"segm/{name}")]
            printed = f"box {box.cells[f'bbox/{name}'].printed} / mask {mask.cells[f'segm/{name}'].printed}"
            texts.append(f"{name} {printed} ({signed(gap, 1)})")
    if not apart:
        yield from [None] * bool(names)
        return
    place = one.name if one is other else f"{one.name} and {other.name}"
    yield Finding(
        severity=Severity.WARNING if "AP" in apart else Severity.NOTE,
        cells=tuple(refs),
        key=f"{one.table_id}/{one.number}" + ("" if one is other else f"/{other.table_id}/{other.number}"),
        arithmetic="; ".join(texts),
        message=f"{place}: boxes and masks of the same detections are far apart.",
    )


def _kinds(row: Row, name: str) -> set[str]:
    return {kind for kind in ("bbox", "segm") if f"{kind}/{name}" in row.cells}


def repeated_value(tables: Sequence[PrintedTable]) -> Iterator[Finding | None]:
    """One method with the same AP, or AP of a size, to the last digit on two data sets of one publication; a note.

    Also chance: among many rows some pair agrees.
    """
    for one, other in combinations((row for table in tables for row in distinct(table)), 2):
        if one.head.paper != other.head.paper or one.head.dataset == other.head.dataset or not one.head.method:
            continue
        names = ("method", "components", "backbone")
        if any(getattr(one.head, name) != getattr(other.head, name) for name in names):
            continue
        for metric in _shared(one, other):
            if metric not in one.accuracies or metric.count("/") > 1:
                continue
            if one.cells[metric].printed != other.cells[metric].printed:
                yield None
                continue
            yield Finding(
                severity=Severity.NOTE,
                cells=(one.ref(metric), other.ref(metric)),
                arithmetic=f"{short(metric)} {one.cells[metric].printed} on {one.head.dataset} and on"
                f" {other.head.dataset}",
                message=f"{one.name} and {other.name} print the same number for two data sets.",
            )


def _same_run(one: Row, other: Row) -> bool:
    same = (one.head.dataset, one.head.components) == (other.head.dataset, other.head.components)
    return same and _same_system(one, other) and one.head.components is not None


def _same_system(one: Row, other: Row) -> bool:
    if not one.head.method or one.head.method != other.head.method:
        return False
    if dataset_of(one) != dataset_of(other):
        return False
    backbones = {one.head.backbone, other.head.backbone}
    splits = {one.head.split, other.head.split}
    return (len(backbones) == 1 or "" in backbones) and (len(splits) == 1 or bool(splits & UNSTATED))


def _representatives(tables: Sequence[PrintedTable]) -> list[Row]:
    """Rows without partial ablations, and without those whose numbers another row of the same system prints too."""
    kept: list[Row] = []
    for row in (row for table in tables for row in full_rows(table)):
        twins = [one for one in kept if one.head.paper == row.head.paper and _same_run(one, row)]
        if not any(all(metric in one.cells and _agree(one, row, metric) for metric in row.accuracies) for one in twins):
            kept.append(row)
    return kept


def _shared(one: Row, other: Row) -> list[str]:
    return [metric for metric in one.cells if metric in other.cells]


def _agree(one: Row, other: Row, metric: str) -> bool:
    """Equal as far as the coarser of the two is printed."""
    return abs(one.value(metric) - other.value(metric)) <= max(one.rounding(metric), other.rounding(metric)) + EPSILON


def _differences(one: Row, other: Row, metrics: Sequence[str]) -> str:
    texts = []
    for metric in metrics:
        digits = decimals(one.cells[metric], other.cells[metric])
        change = signed(other.value(metric) - one.value(metric), digits)
        texts.append(f"{short(metric)} {one.cells[metric].printed} / {other.cells[metric].printed} ({change})")
    return "; ".join(texts)


def _equal(row: Row, metrics: Sequence[str]) -> str:
    """The numbers that another row prints too, the first three of them."""
    text = ", ".join(f"{short(metric)} {row.cells[metric].printed}" for metric in metrics[:3])
    return f"{text}{f' and {len(metrics) - 3} more' if len(metrics) > 3 else ''} in both"


def _in_paper(row: Row) -> str:
    return f"{row.head.paper} {row.name}"
