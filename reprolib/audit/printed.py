"""The reported tables as the checks read them: rows of cells by metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reprolib.audit.finding import Finding, Severity
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

    @property
    def number(self) -> int:
        """From 1, as printed."""
        return self.head.row

    @property
    def table_id(self) -> str:
        """For example iemask_rcnn-7."""
        return self.head.table_id

    @property
    def name(self) -> str:
        """Method with backbone, as far as they are printed, and the row."""
        words = [self.head.method or self.head.dataset, self.head.backbone.removesuffix("-FPN")]
        return f"{' '.join(filter(None, words))} (table {self.head.table} row {self.number})"

    @property
    def accuracies(self) -> tuple[str, ...]:
        """Metrics of accuracy, in percent, higher better."""
        return tuple(metric for metric in self.cells if metric.startswith(ACCURACIES))

    @property
    def parts(self) -> frozenset[str]:
        """The components; none where they are not known."""
        return frozenset(self.head.components or ())

    def value(self, metric: str) -> float:
        """The printed number."""
        return self.cells[metric].value

    def printed(self, metric: str) -> str:
        """The number as it is printed."""
        return self.cells[metric].printed

    def rounding(self, metric: str) -> float:
        """Half a unit of the cell's last printed digit."""
        return self.cells[metric].rounding

    def cells_of(self, metrics: Iterable[str]) -> tuple[Cell, ...]:
        """Several cells."""
        return tuple(self.cells[metric] for metric in metrics)

    def finding(
        self, severity: Severity, metrics: Iterable[str], arithmetic: str, meaning: str, *, baseline: Row | None = None
    ) -> Finding:
        """What a check says of some metrics of the row; baseline: the row that it is compared with."""
        cells = self.cells_of(metrics) + (baseline.cells_of(metrics) if baseline else ())
        message = f"{self.name}: {meaning}"
        return Finding(severity=severity, cells=cells, arithmetic=arithmetic, message=message)


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
    """A table from all its cells."""
    rows: dict[int, dict[str, Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.row, {})[cell.metric] = cell
    return PrintedTable(
        paper=cells[0].paper,
        number=cells[0].table,
        rows=tuple(Row(head=next(iter(row.values())), cells=row) for _, row in sorted(rows.items())),
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


def pair_finding(
    severity: Severity,
    first: Row,
    second: Row,
    metrics: Iterable[str],
    arithmetic: str,
    message: str,
    *,
    key: str = "",
) -> Finding:
    """What a check says of some metrics of two rows; key: by default made of the rows."""
    return Finding(
        severity=severity,
        cells=tuple(row.cells[metric] for metric in metrics for row in (first, second)),
        key=key or pair_key(first, second),
        arithmetic=arithmetic,
        message=message,
    )


def pair_key(*rows: Row) -> str:
    """A finding's key by the rows that it is about."""
    return "/".join(f"{row.table_id}/{row.number}" for row in rows)


def difference(row: Row, other: Row, metric: str) -> str:
    """How far the number of `row` is above that of `other`, with sign and the digits of the finer one."""
    return signed(row.value(metric) - other.value(metric), decimals(row.cells[metric], other.cells[metric]))


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
