"""The text of a table, whatever its format: which columns it has, what each cell says, which footnotes it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reprolib.experiment import Table
from reprolib.papers import catalog
from reprolib.papers.reported import Cell
from reprolib.params import Profile
from reprolib.tables.confidence_intervals import IMAGES_ONLY
from reprolib.tables.number_text import NOTHING, interval_text, number_text, p_text, row_ranges, spread_text
from reprolib.tables.recipe import Recipe
from reprolib.tables.table_rows import TableCell, TableRow

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

    metrics: those of the main table. component_columns: headings of its columns of components; component_marks: what
    stands in them, by row. ablation: whether there are gains. columns and body: the main table, a line per row.
    cell_columns and cell_body: a line per number. intervals: what the intervals hold, empty where there are none.
    reasons: why verdicts are no judgements, with the rows. notes: footnotes, numbered from 1.
    """

    title: str
    banner: str
    summary: str
    intervals: str
    metrics: tuple[str, ...]
    component_columns: tuple[str, ...]
    component_marks: tuple[tuple[str, ...], ...]
    ablation: bool
    columns: tuple[str, ...]
    body: tuple[tuple[Entry, ...], ...]
    cell_columns: tuple[str, ...]
    cell_body: tuple[tuple[Entry, ...], ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    recipes: tuple[Recipe, ...]


@dataclass
class _Footnotes:
    """Footnotes, numbered from 1 in the order in which they are first needed."""

    texts: list[str] = field(default_factory=list)

    def entry(self, text: str, notes: Sequence[str]) -> Entry:
        """A cell of text with the numbers of its footnotes."""
        self.texts += [note for note in dict.fromkeys(notes) if note not in self.texts]
        return Entry(text, tuple(self.texts.index(note) + 1 for note in notes))


def lay_out(table: Table, rows: Sequence[TableRow], profile: Profile, recipes: Sequence[Recipe] = ()) -> Sheet:
    """Lay a table out for reading."""
    footnotes = _Footnotes()
    metrics = main_metrics(rows)
    component_columns, component_marks = _components(rows)
    ablation = any(cell.gain_reported is not None for row in rows for cell in row.cells)
    body = [
        (
            footnotes.entry(str(row.number), row.notes),
            Entry(row_label(row, rows)),
            *map(Entry, marks),
            *_row_entries(row, metrics, ablation, footnotes),
        )
        for row, marks in zip(rows, component_marks, strict=True)
    ]
    cell_body = [
        (
            Entry(str(row.number)),
            Entry(row_label(row, rows)),
            Entry(metric_label(cell.reported.metric)),
            *_numbers(cell, footnotes, each_seed=True),
            *([_gain(cell)] if ablation else []),
            Entry(cell.verdict),
        )
        for row in rows
        for cell in row.cells
    ]
    gain_columns = ["gain reproduced", "gain reported"] if ablation else []
    columns = ["row", "system", *component_columns]
    for metric in metrics:
        columns += [f"{metric_label(metric)} reproduced", "reported", "difference", *gain_columns]
    return Sheet(
        title=f"{catalog.title(table.paper)}, table {table.number}: {table.title}",
        banner=profile.note,
        summary=_summary(rows),
        intervals=_intervals_note(rows),
        metrics=tuple(metrics),
        component_columns=component_columns,
        component_marks=component_marks,
        ablation=ablation,
        columns=(*columns, "verdict"),
        body=tuple(body),
        cell_columns=(
            *("row", "system", "metric", "reproduced", "reported", "difference"),
            *gain_columns[:1],
            "verdict",
        ),
        cell_body=tuple(cell_body),
        reasons=tuple(_reasons(rows)),
        notes=tuple(footnotes.texts),
        recipes=tuple(recipes),
    )


def all_metrics(rows: Sequence[TableRow]) -> list[str]:
    """All metrics of a table in the order of first print."""
    return list(dict.fromkeys(cell.reported.metric for row in rows for cell in row.cells))


def main_metrics(rows: Sequence[TableRow]) -> list[str]:
    """The metrics that a table is read by: AP of masks (an oracle's too) and boxes; of cost and data, up to five."""
    metrics = all_metrics(rows)
    if any(row.head.row_kind == "efficiency" for row in rows):
        return metrics[:5]
    return [name for name in ("segm/AP", "oracle/segm/AP", "bbox/AP") if name in metrics] or metrics[:5]


def row_label(row: TableRow, rows: Sequence[TableRow]) -> str:
    """System, backbone and data set, the latter two only where they differ within the table."""
    head = row.head
    label = head.method or head.dataset
    if len({other.head.backbone for other in rows} - {""}) > 1 and head.backbone:
        label += f", {head.backbone}"
    if head.method and len({other.head.dataset for other in rows}) > 1:
        label += f", {head.dataset}"
    return label


def ablation_label(row: TableRow, base: TableRow) -> str:
    """An ablation row's components; where the baseline has them all and more, those that the row lacks."""
    if set(row.components) < set(base.components):
        return "without " + ", ".join(name for name in base.components if name not in row.components)
    return " + ".join(row.components) or row.head.method


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


def decimals_of(reported: Cell) -> int:
    """With how many decimals a reproduced number stands beside a reported one: as many, and one at least where it is
    measured."""
    return max(reported.decimals, 1) if reported.unit in ("%", "M", "G", "ms", "fps") else 0


def _components(rows: Sequence[TableRow]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Headings of the columns of components, and what stands in them by row.

    Ablations have a column with check marks per printed component, others one column that lists them, where they
    differ. A mark is in brackets where the publication leaves the row's components open.
    """
    if all(row.head.row_kind == "ablation" for row in rows):
        longest_first = sorted(rows, key=lambda row: -len(row.head.components or ()))
        names = tuple(dict.fromkeys(name for row in longest_first for name in row.head.components or ()))
        if names:
            marks = {row.number: "(✓)" if row.head.components is None else "✓" for row in rows}
            return names, tuple(
                tuple(marks[row.number] if name in row.components else "" for name in names) for row in rows
            )
    if len({row.components for row in rows} - {()}) > 1:
        return ("components",), tuple((", ".join(row.components),) for row in rows)
    return (), tuple(() for _ in rows)


def _row_entries(row: TableRow, metrics: Sequence[str], ablation: bool, footnotes: _Footnotes) -> list[Entry]:
    """A row's numbers of the main metrics, and its verdicts."""
    entries, verdicts = [], []
    for metric in metrics:
        cell = row.cell(metric)
        if cell is None:
            entries += [Entry(NOTHING)] * (5 if ablation else 3)
            continue
        entries += _numbers(cell, footnotes)
        if ablation:
            decimals = max(cell.reported.decimals, 1)
            gained = number_text(cell.gain_reproduced, decimals, signed=True)
            entries.append(Entry(gained + spread_text(cell.gain_interval, decimals)))
            entries.append(Entry(number_text(cell.gain_reported, decimals, signed=True)))
        verdicts.append(cell.verdict)
    return [*entries, Entry(" / ".join(dict.fromkeys(verdicts)) or NOTHING)]


def _numbers(cell: TableCell, footnotes: _Footnotes, *, each_seed: bool = False) -> list[Entry]:
    """Reproduced, reported and difference; each_seed: with every seed's number where there are several."""
    decimals = decimals_of(cell.reported)
    ours = number_text(cell.reproduced, decimals) + spread_text(cell.interval, decimals)
    if cell.values and cell.reproduced is None:
        ours = NOT_AVAILABLE
    elif len(cell.values) > 1:
        numbers = (NOT_AVAILABLE if value is None else number_text(value, decimals) for value in cell.values.values())
        ours += f" ({len(cell.values)} seeds{': ' + ', '.join(numbers) if each_seed else ''})"
    return [
        Entry(ours),
        footnotes.entry(cell.reported.printed or NOTHING, cell.notes),
        Entry(number_text(cell.difference, decimals, signed=True)),
    ]


def _gain(cell: TableCell) -> Entry:
    decimals = max(cell.reported.decimals, 1)
    gained = number_text(cell.gain_reproduced, decimals, signed=True)
    if cell.gain_interval:
        gained += f" ({interval_text(cell.gain_interval, decimals, signed=True)}; p {p_text(cell.p_value)})"
    return Entry(gained)


def _summary(rows: Sequence[TableRow]) -> str:
    counts = [
        f"{count} {status}"
        for status in ("run", "not run", "not built yet", "reported only")
        if (count := sum(row.status == status for row in rows))
    ]
    extra = sum(row.extra for row in rows)
    whole = f"{len(rows)} rows" + (f", {extra} of them not printed" if extra else "")
    text = f"{whole}: {', '.join(counts)}. Metrics: {', '.join(map(metric_label, all_metrics(rows)))}."
    bases = [row.number for row in rows if row.is_baseline]
    if bases:
        text += f" Gains are differences to row {', '.join(map(str, bases))}" + (
            " on the same data set." if len(bases) > 1 else "."
        )
    return text


def _intervals_note(rows: Sequence[TableRow]) -> str:
    """What is behind the ±, and what was done about many comparisons."""
    levels: dict[str, list[int]] = {}
    gains: dict[str, list[int]] = {}
    for row in rows:
        for cell in row.cells:
            for sources, source in ((levels, cell.interval_source), (gains, cell.gain_interval_source)):
                if source and row.number not in sources.setdefault(source, []):
                    sources[source].append(row.number)
    sentences = [f"± is half a 95% interval: {_sources(levels)}."] if levels else []
    if gains:
        compared = [cell.reported.metric for row in rows for cell in row.cells if cell.gain_interval]
        sentences.append(
            f"That of a gain is paired ({_sources(gains)}) and widened by Holm's procedure over the"
            f" {max(map(compared.count, compared))} rows that are compared, for each metric: together, not one by one,"
            " they keep 95%; p is adjusted so."
        )
    if IMAGES_ONLY in (*levels, *gains):
        sentences.append(
            f"Where it is of {IMAGES_ONLY}, the noise between seeds is not in it, and no verdict is better than"
            " inconclusive."
        )
    return " ".join(sentences)


def _sources(sources: Mapping[str, Sequence[int]]) -> str:
    if len(sources) == 1:
        return next(iter(sources))
    return "; ".join(f"{source} ({_rows(numbers)})" for source, numbers in sources.items())


def _reasons(rows: Sequence[TableRow]) -> list[str]:
    by_reason: dict[tuple[str, str], dict[int, None]] = {}
    for row in rows:
        for cell in row.cells:
            for reason in cell.reasons:
                by_reason.setdefault((cell.verdict, reason), {})[row.number] = None
    by_rows: dict[tuple[str, str], list[str]] = {}
    for (verdict, reason), numbers in by_reason.items():
        by_rows.setdefault((verdict, _rows(list(numbers))), []).append(reason)
    return [f"{verdict}, {numbers}: {'; '.join(reasons)}" for (verdict, numbers), reasons in by_rows.items()]


def _rows(numbers: Sequence[int]) -> str:
    return f"{'row' if len(numbers) == 1 else 'rows'} {row_ranges(numbers)}"
