"""The numbers that the publications print, typed: `papers/<paper>/reported/table_<number>.csv`.

The files ship with the package. They are read strictly: a bad line is an error that names file and line,
since a number that is silently dropped or misread would be compared with a reproduction.
"""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass, replace
from functools import lru_cache

from reprolib.papers.folders import paper_folder, shown

COLUMNS = (
    "paper",
    "table",
    "row",
    "method",
    "backbone",
    "dataset",
    "split",
    "components",
    "is_ours",
    "metric",
    "value",
    "unit",
    "row_kind",
    "method_printed",
    "confidence",
    "value_confidence",
    "note",
)
ALLOWED = {
    "is_ours": {"0", "1"},
    "row_kind": {"comparison", "ablation", "efficiency", "dataset"},
    "unit": {"%", "M", "G", "ms", "fps", "count", "year"},
    "confidence": {"certain", "inferred", "unknown"},
    "value_confidence": {"certain", "inferred", "label_wrong"},
}


class ReportedError(ValueError):
    """A file of reported numbers cannot be read; the message names file, line and field."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed number.

    components: the parts that are switched on, as printed; empty for a baseline or a compared method, None
    where the publication does not let one tell. split: "unstated" where the publication does not say.
    value: as a number; printed: as the publication prints it, with so many decimals. None and empty in a row that the
    publication does not print (see `unprinted`). unit: %, M, G, ms, fps, count or year.
    row_kind: comparison, ablation, efficiency or dataset. confidence: of the row's method and components
    (certain, inferred, unknown); value_confidence: of this number and its column (certain, inferred,
    label_wrong). line: of the table's CSV file, 0 in a row that the publication does not print.
    """

    paper: str
    table: int
    row: int
    method: str
    backbone: str
    dataset: str
    split: str
    components: tuple[str, ...] | None
    is_ours: bool
    metric: str
    value: float | None
    printed: str
    decimals: int
    unit: str
    row_kind: str
    method_printed: str
    confidence: str
    value_confidence: str
    note: str
    line: int

    @property
    def table_id(self) -> str:
        """The table's id as in `reprolib list`, for example iemask_rcnn-7."""
        return f"{self.paper}-{self.table}"

    @property
    def source(self) -> str:
        """The line that holds the number, from the root of the repository."""
        return f"{shown(paper_folder(self.paper) / 'reported' / f'table_{self.table}.csv')}#L{self.line}"

    @property
    def rounding(self) -> float:
        """Half a unit of the last printed digit: the value lies within plus or minus this."""
        return 0.5 * 10.0**-self.decimals


def unprinted(cell: Cell, *, row: int, method: str, note: str) -> Cell:
    """A printed cell's counterpart in a row that the publication does not print: the same but for what is given, and
    without a number."""
    certain = {"confidence": "certain", "value_confidence": "certain"}
    number = {"value": None, "printed": "", "line": 0}
    return replace(cell, row=row, method=method, method_printed="", note=note, **number, **certain)


def table_numbers(paper: str) -> list[int]:
    """Numbers of the tables of `paper` that hold numbers, ascending."""
    folder = paper_folder(paper) / "reported"
    if not folder.is_dir():
        raise ReportedError(f"no reported numbers for paper {paper!r}: {shown(folder)} does not exist")
    matches = (re.fullmatch(r"table_(\d+)\.csv", entry.name) for entry in folder.iterdir())
    return sorted(int(match[1]) for match in matches if match)


@lru_cache(maxsize=64)
def load_table(paper: str, number: int) -> tuple[Cell, ...]:
    """All cells of one printed table in printed order. Raises ReportedError."""
    path = paper_folder(paper) / "reported" / f"table_{number}.csv"
    name = shown(path)
    if not path.is_file():
        raise ReportedError(f"{name} does not exist; {paper} has tables {table_numbers(paper)}")
    cells = parse_table(path.read_text(encoding="utf-8"), name=name)
    for cell in cells:
        if (cell.paper, cell.table) != (paper, number):
            raise ReportedError(f"{name}: holds a line of {cell.paper} table {cell.table}")
    return cells


def parse_table(text: str, *, name: str) -> tuple[Cell, ...]:
    """Parse the CSV text of one table; `name` is the file that error messages name. Raises ReportedError."""
    reader = csv.reader(io.StringIO(text, newline=""))
    header = tuple(next(reader, ()))
    if header != COLUMNS:
        raise ReportedError(f"{name}, line 1: the columns must be {','.join(COLUMNS)}")
    cells: list[Cell] = []
    seen: dict[tuple[int, str], int] = {}
    for fields in reader:
        line = reader.line_num
        if len(fields) != len(COLUMNS):
            raise ReportedError(f"{name}, line {line}: {len(fields)} fields instead of {len(COLUMNS)}")
        cell = _cell(dict(zip(COLUMNS, fields, strict=True)), line=line, where=f"{name}, line {line}")
        key = (cell.row, cell.metric)
        if key in seen:
            raise ReportedError(f"{name}, line {line}: row {key[0]} {key[1]} stands in line {seen[key]} already")
        seen[key] = line
        cells.append(cell)
    if not cells:
        raise ReportedError(f"{name}: no numbers")
    return tuple(cells)


def audit(paper: str) -> str:
    """What an audit of the paper's numbers found, Markdown: the numbered list of its `audit.md`; empty without one."""
    path = paper_folder(paper) / "audit.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    start = re.search(r"^1\. ", text, flags=re.MULTILINE)
    return re.split(r"^## ", text[start.start() :], flags=re.MULTILINE)[0].strip() + "\n" if start else ""


def _cell(fields: dict[str, str], *, line: int, where: str) -> Cell:
    for field, allowed in ALLOWED.items():
        if fields[field] not in allowed:
            raise ReportedError(f"{where}: {field} must be one of {sorted(allowed)}, not {fields[field]!r}")
    for field in ("table", "row"):
        if not fields[field].isdigit() or int(fields[field]) < 1:
            raise ReportedError(f"{where}: {field} must be a number from 1, not {fields[field]!r}")
    if not fields["metric"]:
        raise ReportedError(f"{where}: metric is empty")
    try:
        value = float(fields["value"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ReportedError(f"{where}: value must be a number, not {fields['value']!r}")
    components = None if fields["components"] == "?" else tuple(filter(None, fields["components"].split(";")))
    return Cell(
        **{key: fields[key] for key in COLUMNS if key not in {"table", "row", "components", "is_ours", "value"}},
        table=int(fields["table"]),
        row=int(fields["row"]),
        components=components,
        is_ours=fields["is_ours"] == "1",
        value=value,
        printed=fields["value"],
        decimals=len(fields["value"].partition(".")[2]),
        line=line,
    )
