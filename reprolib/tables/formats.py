"""The formats of a rendered table: Markdown to read, LaTeX to print, CSV to compute with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from reprolib.tables.layout import Entry, Sheet
from reprolib.tables.markdown import markdown_table
from reprolib.tables.number_text import row_ranges
from reprolib.tables.table_rows import TableCell, TableRow


def markdown(sheet: Sheet) -> str:
    """The whole sheet; every number in a section that unfolds, the recipe below."""
    sections = [f"# {sheet.title}", f"> **{sheet.banner}**", sheet.summary, _grid(sheet.columns, sheet.body)]
    if sheet.intervals:
        sections.append(_md(sheet.intervals))
    if sheet.reasons:
        sections.append("\n".join(f"- {_md(reason)}" for reason in sheet.reasons))
    if sheet.notes:
        sections.append("\n".join(f"<sup>{i}</sup> {_md(note)}  " for i, note in enumerate(sheet.notes, 1)))
    sections.append(
        "<details><summary>Every number: reproduced, reported, difference, verdict</summary>\n\n"
        + _grid(sheet.cell_columns, sheet.cell_body)
        + "\n\n</details>"
    )
    datasets = [recipe.dataset for recipe in sheet.recipes]
    for recipe in sheet.recipes:
        several = datasets.count(recipe.dataset) > 1
        heading = f"Recipe for {recipe.dataset}" + (f", rows {row_ranges(recipe.rows)}" if several else "")
        ours = "this run" if recipe.ran else "this profile (not run)"
        rows = []
        for line in recipe.lines:
            bold = "**" if line.differs else ""
            texts = (f"{bold}{line.item}{bold}", line.published, f"{bold}{line.ours}{bold}")
            rows.append([text.replace("|", "\\|") for text in texts])
        grid = markdown_table(("", "publication", ours), rows, align="lll")
        sections.append(f"## {heading}\n\nDifferences are bold.\n\n{grid}")
    return "\n\n".join(sections) + "\n"


def latex(sheet: Sheet) -> str:
    """Two booktabs tables, to be read in by a document: the sheet's main table and every number."""
    lines = [
        f"% {sheet.title}",
        f"% {sheet.banner}",
        "% needs \\usepackage{booktabs,longtable,amssymb}",
        f"\\begin{{tabular}}{{{_alignment(sheet.columns)}}}",
        "\\toprule",
        _tex_row(map(Entry, sheet.columns)),
        "\\midrule",
        *map(_tex_row, sheet.body),
        "\\bottomrule",
        "\\end{tabular}",
        "",
        f"\\par\\smallskip\\noindent\\textbf{{{_tex(sheet.banner)}}}",
        *([f"\\par\\noindent {_tex(sheet.intervals)}"] if sheet.intervals else []),
        *(f"\\par\\noindent\\textsuperscript{{{i}}} {_tex(note)}" for i, note in enumerate(sheet.notes, 1)),
        "",
        f"\\begin{{longtable}}{{{_alignment(sheet.cell_columns)}}}",
        "\\toprule",
        _tex_row(map(Entry, sheet.cell_columns)),
        "\\midrule",
        "\\endhead",
        *map(_tex_row, sheet.cell_body),
        "\\bottomrule",
        "\\end{longtable}",
    ]
    return "\n".join(lines) + "\n"


def comma_separated(rows: Sequence[TableRow], *, profile: str) -> str:
    """One line per number, unrounded; empty where there is none. `values` holds one number per seed. low and high are
    of a 95% interval (of gains: for all rows together, see `TableCell`), and its source says what it holds."""
    lines = [_csv_line(row, cell, profile) for row in rows for cell in row.cells]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, lines[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def _csv_line(row: TableRow, cell: TableCell, profile: str) -> dict[str, object]:
    reported = cell.reported
    return {
        "profile": profile,
        "paper": reported.paper,
        "table": reported.table,
        "row": reported.row,
        "system": reported.method,
        "components": ";".join(row.components),
        "backbone": reported.backbone,
        "dataset": reported.dataset,
        "split": reported.split,
        "metric": reported.metric,
        "unit": reported.unit,
        "reproduced": _plain(cell.reproduced),
        "reported": reported.printed,
        "difference": _plain(cell.difference),
        "low": _plain(cell.interval and cell.interval.low),
        "high": _plain(cell.interval and cell.interval.high),
        "interval_source": cell.interval_source,
        "verdict": cell.verdict,
        "gain_reproduced": _plain(cell.gain_reproduced),
        "gain_reported": _plain(cell.gain_reported),
        "gain_low": _plain(cell.gain_interval and cell.gain_interval.low),
        "gain_high": _plain(cell.gain_interval and cell.gain_interval.high),
        "gain_interval_source": cell.gain_interval_source,
        "gain_p": _plain(cell.p_value),
        "seeds": ";".join(str(seed) for seed in cell.values),
        "values": ";".join("n/a" if value is None else _plain(value) for value in cell.values.values()),
        "experiment": row.experiment.id if row.experiment else "",
        "status": row.status,
        "reason": "; ".join(cell.reasons),
        "row_confidence": reported.confidence,
        "value_confidence": reported.value_confidence,
        "note": reported.note,
    }


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _grid(columns: Sequence[str], rows: Sequence[Sequence[Entry]]) -> str:
    body = [[_md(entry.text) + _md_marks(entry) for entry in row] for row in rows]
    return markdown_table([_md(column) for column in columns], body, align=_alignment(columns))


def _alignment(columns: Sequence[str]) -> str:
    """l for words, r for numbers, c for check marks."""
    words = {"row", "system", "components", "metric", "verdict"}
    numbers = ("reproduced", "reported", "difference")
    return "".join("l" if column in words else "r" if column.endswith(numbers) else "c" for column in columns)


def _md_marks(entry: Entry) -> str:
    return f"<sup>{','.join(map(str, entry.notes))}</sup>" if entry.notes else ""


def _md(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_").replace("*", "\\*").replace("<", "&lt;")


def _tex_row(row: Iterable[Entry]) -> str:
    return " & ".join(_tex(entry.text) + _tex_marks(entry) for entry in row) + r" \\"


def _tex_marks(entry: Entry) -> str:
    return f"\\textsuperscript{{{','.join(map(str, entry.notes))}}}" if entry.notes else ""


_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "✓": r"$\checkmark$",
    "−": r"$-$",
    "–": "--",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "±": r"$\pm$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
