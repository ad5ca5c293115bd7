"""The reported tables as the checks read them: rows of cells by metric, with the line that each cell stands in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reprolib.audit.finding import Ref
from reprolib.papers import catalog
from reprolib.papers.reported import Cell, load_table, table_numbers

LOWER_IS_BETTER = frozenset({"time_ms", "params_M", "flops_G"})
ACCURACIES = ("segm/", "bbox/", "oracle/", "trimap_accuracy/")
# One data set under two names. Cityscapes with five of its eight classes has the same classes, but another average.
DATASETS = {"COCO": "COCO2017", "Cityscapes-5cls": "Cityscapes"}
EPSILON = 1e-9  # of sums of decimal fractions in binary


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One printed row: `head` any of its cells, for what belongs to the row; cells by metric, in printed order."""

    head: Cell
    cells: Mapping[str, Cell]
    lines: Mapping[str, int]

    @property
    def number(self) -> int:
        """From 1, as printed."""
        return self.head.row

    @property
    def table_id(self) -> str:
        """For example iemask_rcnn-7."""
        return f"{self.head.paper}-{self.head.table}"

    @property
    def name(self) -> str:
        """Method with backbone, as far as they are printed, and the row."""
        words = [self.head.method or self.head.dataset, self.head.backbone.removesuffix("-FPN")]
        return f"{' '.join(filter(None, words))} (table {self.head.table} row {self.number})"

    @property
    def accuracies(self) -> tuple[str, ...]:
        """Metrics of accuracy, in percent, higher better."""
        return tuple(metric for metric in self.cells if metric.startswith(ACCURACIES))

    def value(self, metric: str) -> float:
        """The number as printed."""
        return self.cells[metric].value

    def rounding(self, metric: str) -> float:
        """Half a unit of the cell's last printed digit."""
        return self.cells[metric].rounding

    def ref(self, metric: str) -> Ref:
        """Where the cell is."""
        cell = self.cells[metric]
        return Ref(
            paper=cell.paper,
            table=cell.table,
            row=cell.row,
            metric=metric,
            printed=cell.printed,
            line=self.lines[metric],
        )

    def refs(self, metrics: Iterable[str]) -> tuple[Ref, ...]:
        """Where several cells are."""
        return tuple(self.ref(metric) for metric in metrics)


@dataclass(frozen=True, kw_only=True)
class PrintedTable:
    """One reported table."""

    paper: str
    number: int
    rows: tuple[Row, ...]

    @property
    def id(self) -> str:
        """For example iemask_rcnn-7."""
        return f"{self.paper}-{self.number}"

    def row(self, number: int) -> Row:
        """A row by its printed number. Raises KeyError."""
        for row in self.rows:
            if row.number == number:
                return row
        raise KeyError(f"{self.id} has no row {number}; it has rows 1 to {len(self.rows)}")


def load_tables() -> tuple[PrintedTable, ...]:
    """Every reported table of every paper, in the order of papers and numbers. Raises ReportedError."""
    return tuple(
        printed_table(load_table(paper, number)) for paper in catalog.papers() for number in table_numbers(paper)
    )


def printed_table(cells: Sequence[Cell]) -> PrintedTable:
    """A table from all its cells in the order of its CSV file, whose first line is the header."""
    rows: dict[int, tuple[dict[str, Cell], dict[str, int]]] = {}
    for line, cell in enumerate(cells, start=2):
        by_metric, lines = rows.setdefault(cell.row, ({}, {}))
        by_metric[cell.metric] = cell
        lines[cell.metric] = line
    return PrintedTable(
        paper=cells[0].paper,
        number=cells[0].table,
        rows=tuple(
            Row(head=next(iter(by_metric.values())), cells=by_metric, lines=lines)
            for _, (by_metric, lines) in sorted(rows.items())
        ),
    )


def all_rows(tables: Iterable[PrintedTable]) -> Iterator[Row]:
    """All rows of all tables."""
    for table in tables:
        yield from table.rows


def distinct(table: PrintedTable) -> list[Row]:
    """The rows without those that a later row of the same method repeats in every number."""
    last = {
        (row.head.method, row.head.backbone, tuple((m, c.printed) for m, c in row.cells.items())): row
        for row in table.rows
    }
    return [row for row in table.rows if row in last.values()]


def full_rows(table: PrintedTable) -> list[Row]:
    """The rows without ablations: own rows that have fewer components than another of their method."""
    most: dict[str, int] = {}
    for row in table.rows:
        most[row.head.method] = max(most.get(row.head.method, 0), len(row.head.components or ()))
    return [row for row in table.rows if len(row.head.components or ()) == most[row.head.method]]


def dataset_of(row: Row) -> str:
    """The data set, by one name wherever it has several."""
    return DATASETS.get(row.head.dataset, row.head.dataset)


def variants(row: Row, name: str) -> Iterator[tuple[str, str]]:
    """The (kind, class) under which a row holds a metric: `segm/AP50/car` is ("segm", "/car") of AP50."""
    for metric in row.cells:
        kind, _, rest = metric.partition("/")
        base, slash, category = rest.partition("/")
        if base == name and kind in {"segm", "bbox"}:
            yield kind, slash + category


def paired_refs(row: Row, other: Row, metrics: Iterable[str]) -> tuple[Ref, ...]:
    """Where the cells of two rows are, metric by metric."""
    return tuple(ref for metric in metrics for ref in (row.ref(metric), other.ref(metric)))


def better(metric: str, value: float, other: float) -> bool:
    """Whether `value` is the better printed number."""
    return value < other if metric in LOWER_IS_BETTER else value > other


def decimals(*cells: Cell) -> int:
    """As many decimals as the finest of the cells is printed with."""
    return max(cell.decimals for cell in cells)


def signed(value: float, digits: int) -> str:
    """A difference with its sign; zero is +0."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "+") if float(text) == 0 else text


def short(metric: str) -> str:
    """A metric for one line of arithmetic: box APm, mask AP50 car, fps."""
    kind, _, rest = metric.partition("/")
    word = {"segm": "mask", "bbox": "box"}.get(kind)
    return f"{word} {rest.replace('/', ' ')}" if word else metric
