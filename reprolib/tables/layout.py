"""A joined table as text: which columns it has, what each cell says, which footnotes it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reprolib.experiment import Table
from reprolib.papers import catalog
from reprolib.papers.named_systems import inferred
from reprolib.papers.reported import Cell
from reprolib.params import Profile
from reprolib.tables.join import JoinedCell, JoinedRow, main_metrics, metrics_of
from reprolib.tables.recipe import Recipe
from reprolib.tables.texts import NOTHING, interval_text, intervals_note, number_text, p_text, row_ranges, spread_text

NOT_AVAILABLE = "n/a"

# In the order in which the publications' columns stand, and for table headings.
_IOU_TYPES = {"segm": "mask", "bbox": "box", "boundary": "boundary"}
_PLAIN_NAMES = {"params_M": "parameters (M)", "flops_G": "FLOPs (G)", "time_ms": "time (ms)", "fps": "images/s"}


@dataclass(frozen=True)
class Entry:
    """One cell of text with the numbers of its footnotes."""

    text: str
    notes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Everything a rendered table says, independent of the format.

    columns and body: the table that one reads, a line per row. cell_columns and cell_body: a line per number.
    intervals: what the intervals hold, empty where there are none. reasons: why verdicts are no judgements, with the
    rows. notes: footnotes, numbered from 1.
    """

    title: str
    banner: str
    summary: str
    intervals: str
    columns: tuple[str, ...]
    body: tuple[tuple[Entry, ...], ...]
    cell_columns: tuple[str, ...]
    cell_body: tuple[tuple[Entry, ...], ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    recipes: tuple[Recipe, ...]


@dataclass
class _Notes:
    """Footnotes, numbered in the order in which they are first needed."""

    texts: list[str] = field(default_factory=list)

    def number(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def lay_out(table: Table, rows: Sequence[JoinedRow], profile: Profile, recipes: Sequence[Recipe] = ()) -> Sheet:
    """Lay a joined table out for reading."""
    rows = list(rows)
    notes = _Notes()
    audit = catalog.facts(table.paper).cell_notes
    main = main_metrics(rows)
    components = component_columns(rows)
    listed = not components and len({printed_components(row, rows) for row in rows} - {()}) > 1
    ablation = any(cell.delta_reported is not None for row in rows for cell in row.cells)
    body = [_line(row, main, components, listed, ablation, notes, audit, rows) for row in rows]
    cell_body = [
        (
            Entry(str(row.number)),
            Entry(row_label(row, rows)),
            Entry(metric_label(cell.cell.metric)),
            *_numbers(cell, notes, audit, listed=True),
            *([_gain(cell)] if ablation else []),
            Entry(cell.verdict),
        )
        for row in rows
        for cell in row.cells
    ]
    return Sheet(
        title=f"{catalog.title(table.paper)}, table {table.number}: {table.title}",
        banner=profile.note,
        summary=_summary(rows),
        intervals=intervals_note(rows),
        columns=_columns(main, ["components"] if listed else components, ablation),
        body=tuple(body),
        cell_columns=(
            *("row", "system", "metric", "reproduced", "reported", "difference"),
            *(["gain reproduced"] if ablation else []),
            "verdict",
        ),
        cell_body=tuple(cell_body),
        reasons=tuple(_reasons(rows)),
        notes=tuple(notes.texts),
        recipes=tuple(recipes),
    )


def component_columns(rows: Sequence[JoinedRow]) -> list[str]:
    """Components that get a column with check marks: those of the ablation rows, as printed; else none."""
    if not all(row.head.row_kind == "ablation" for row in rows):
        return []
    longest_first = sorted(rows, key=lambda row: -len(row.head.components or ()))
    return list(dict.fromkeys(name for row in longest_first for name in row.head.components or ()))


def printed_components(row: JoinedRow, rows: Sequence[JoinedRow]) -> tuple[str, ...]:
    """A row's components as printed; where the publication leaves them open, what the suite runs instead."""
    if row.head.components is not None:
        return row.head.components
    spelling = {name.lower(): name for other in rows for name in other.head.components or ()}
    return tuple(spelling.get(name, name) for name in row.experiment.components) if row.experiment else ()


def row_label(row: JoinedRow, rows: Sequence[JoinedRow]) -> str:
    """System, backbone and data set, the latter two only where they differ within the table."""
    head = row.head
    label = head.method or head.dataset
    if len({other.head.backbone for other in rows} - {""}) > 1 and head.backbone:
        label += f", {head.backbone}"
    if head.method and len({other.head.dataset for other in rows}) > 1:
        label += f", {head.dataset}"
    return label


def metric_label(metric: str) -> str:
    """A metric's name for a heading: `segm/AP50/car` is mask AP50 of class car."""
    kind, _, name = metric.partition("/")
    if kind in _IOU_TYPES:
        name, _, category = name.partition("/")
        return f"{_IOU_TYPES[kind]} {name}" + (f" {category}" if category else "")
    if kind == "oracle":
        return f"oracle {metric_label(name)}"
    if kind == "dataset":
        return name.replace("_", " ").replace("/", " ")
    return _PLAIN_NAMES.get(metric, metric.replace("_", " ").replace("/", " ") + (" px" if name else ""))


def _columns(main: Sequence[str], components: Sequence[str], ablation: bool) -> tuple[str, ...]:
    columns = ["row", "system", *components]
    for metric in main:
        label = metric_label(metric)
        columns += [f"{label} reproduced", "reported", "difference"]
        if ablation:
            columns += ["gain reproduced", "gain reported"]
    return (*columns, "verdict")


def _line(
    row: JoinedRow,
    main: Sequence[str],
    components: Sequence[str],
    listed: bool,
    ablation: bool,
    notes: _Notes,
    audit: Mapping,
    rows: Sequence[JoinedRow],
) -> tuple[Entry, ...]:
    marks = (notes.number(f"Not printed in the publication. {row.head.note}"),) if row.extra else ()
    if row.head.confidence != "certain":
        marks += (notes.number(f"{row.head.confidence.capitalize()}: {row.head.note}."),)
    if assumed := inferred(row.head.method, *([row.experiment.system] if row.experiment else [])):
        marks += (notes.number(f"{assumed}."),)
    for (table, number, metric), text in audit.items():
        if (table, metric) == (row.head.table, None) and number in (row.number, None):
            marks += (notes.number(text),)
    entries = [Entry(str(row.number), marks), Entry(row_label(row, rows))]
    on = printed_components(row, rows)
    guessed = row.head.components is None
    ticks = ("(✓)" if guessed else "✓", "")
    entries += [Entry(ticks[0] if name in on else ticks[1]) for name in components]
    if listed:
        entries.append(Entry(", ".join(on)))
    verdicts = []
    for metric in main:
        cell = row.cell(metric)
        if cell is None:
            entries += [Entry(NOTHING)] * (5 if ablation else 3)
            continue
        entries += _numbers(cell, notes, audit)
        if ablation:
            decimals = max(cell.cell.decimals, 1)
            gained = number_text(cell.delta_reproduced, decimals, signed=True)
            entries.append(Entry(gained + spread_text(cell.delta_interval, decimals)))
            entries.append(Entry(number_text(cell.delta_reported, decimals, signed=True)))
        verdicts.append(cell.verdict)
    return (*entries, Entry(" / ".join(dict.fromkeys(verdicts)) or NOTHING))


def _numbers(cell: JoinedCell, notes: _Notes, audit: Mapping, *, listed: bool = False) -> list[Entry]:
    """Reproduced, reported and difference; listed: with every seed's number where there are several."""
    printed = cell.cell
    marks = ()
    if printed.value_confidence != "certain":
        text = printed.value_confidence.replace("_", " ").capitalize()
        marks = (notes.number(f"{text}: {printed.note}."),)
    for (table, number, metric), text in audit.items():
        if (table, metric) == (printed.table, printed.metric) and number in (printed.row, None):
            marks += (notes.number(text),)
    decimals = decimals_of(printed)
    ours = number_text(cell.reproduced, decimals) + spread_text(cell.interval, decimals)
    if cell.values and cell.reproduced is None:
        ours = NOT_AVAILABLE
    elif len(cell.values) > 1:
        runs = ", ".join(NOT_AVAILABLE if one is None else number_text(one, decimals) for one in cell.values.values())
        ours += f" ({len(cell.values)} seeds{': ' + runs if listed else ''})"
    return [
        Entry(ours),
        Entry(printed.printed or NOTHING, marks),
        Entry(number_text(cell.difference, decimals, signed=True)),
    ]


def decimals_of(printed: Cell) -> int:
    """With how many decimals a reproduced number stands beside a printed one: as many, and one at least where it is
    measured."""
    return max(printed.decimals, 1) if printed.unit in ("%", "M", "G", "ms", "fps") else 0


def _gain(cell: JoinedCell) -> Entry:
    decimals = max(cell.cell.decimals, 1)
    gained = number_text(cell.delta_reproduced, decimals, signed=True)
    if cell.delta_interval:
        gained += f" ({interval_text(cell.delta_interval, decimals, signed=True)}; p {p_text(cell.p_value)})"
    return Entry(gained)


def _summary(rows: Sequence[JoinedRow]) -> str:
    parts = []
    for status in ("run", "not run", "not built yet", "reported only"):
        count = sum(row.status == status for row in rows)
        if count:
            parts.append(f"{count} {status}")
    extra = sum(row.extra for row in rows)
    whole = f"{len(rows)} rows" + (f", {extra} of them not printed" if extra else "")
    text = f"{whole}: {', '.join(parts)}. Metrics: {', '.join(map(metric_label, metrics_of(list(rows))))}."
    bases = [row.number for row in rows if row.is_baseline]
    if bases:
        text += f" Gains are differences to row {', '.join(map(str, bases))}" + (
            " on the same data set." if len(bases) > 1 else "."
        )
    return text


def _reasons(rows: Sequence[JoinedRow]) -> list[str]:
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        for cell in row.cells:
            for reason in cell.reasons:
                numbers = found.setdefault((cell.verdict, reason), [])
                if row.number not in numbers:
                    numbers.append(row.number)
    merged: dict[tuple[str, str], list[str]] = {}
    for (word, reason), numbers in found.items():
        merged.setdefault((word, row_ranges(numbers)), []).append(reason)
    return [
        f"{word}, {'row' if numbers.isdigit() else 'rows'} {numbers}: {'; '.join(reasons)}"
        for (word, numbers), reasons in merged.items()
    ]
