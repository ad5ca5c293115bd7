"""The formats of a rendered table: Markdown to read, LaTeX to print, CSV to compute with."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from reprolib.tables.layout import Entry, Sheet
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
        rows = [
            tuple(
                Entry(text)
                for text in (
                    f"**{line.item}**" if line.differs else line.item,
                    line.published,
                    f"**{line.ours}**" if line.differs else line.ours,
                )
            )
            for line in recipe.lines
        ]
        sections.append(
            f"## {heading}\n\nDifferences are bold.\n\n" + _grid(("", "publication", ours), rows, escape=False)
        )
    return "\n\n".join(sections) + "\n"


def latex(sheet: Sheet) -> str:
    """Two booktabs tables, to be read in by a document: the sheet's main table and every number."""
    lines = [
        f"% {sheet.title}",
        f"% {sheet.banner}",
        "% needs \\usepackage{booktabs,longtable,amssymb}",
        f"\\begin{{tabular}}{{{_alignment(sheet.columns)}}}",
        "\\toprule",
        _tex_row([Entry(column) for column in sheet.columns]),
        "\\midrule",
        *(_tex_row(row) for row in sheet.body),
        "\\bottomrule",
        "\\end{tabular}",
        "",
        f"\\par\\smallskip\\noindent\\textbf{{{_tex(sheet.banner)}}}",
        *([f"\\par\\noindent {_tex(sheet.intervals)}"] if sheet.intervals else []),
        *(f"\\par\\noindent\\textsuperscript{{{i}}} {_tex(note)}" for i, note in enumerate(sheet.notes, 1)),
        "",
        f"\\begin{{longtable}}{{{_alignment(sheet.cell_columns)}}}",
        "\\toprule",
        _tex_row([Entry(column) for column in sheet.cell_columns]),
        "\\midrule",
        "\\endhead",
        *(_tex_row(row) for row in sheet.cell_body),
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


def _grid(columns: Sequence[str], rows: Sequence[Sequence[Entry]], *, escape: bool = True) -> str:
    head = [_md(column) for column in columns]
    body = [[_md_entry(entry) if escape else entry.text.replace("|", "\\|") for entry in row] for row in rows]
    rule = ["---:" if letter == "r" else ":-:" if letter == "c" else "---" for letter in _alignment(columns)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *body])


def _alignment(columns: Sequence[str]) -> str:
    """l for words, r for numbers, c for check marks."""
    words = {
        "row",
        "system",
        "components",
        "metric",
        "verdict",
        "",
        "publication",
        "this run",
        "this profile (not run)",
    }
    numbers = ("reproduced", "reported", "difference")
    return "".join("l" if column in words else "r" if column.endswith(numbers) else "c" for column in columns)


def _md_entry(entry: Entry) -> str:
    marks = f"<sup>{','.join(map(str, entry.notes))}</sup>" if entry.notes else ""
    return _md(entry.text) + marks


def _md(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_").replace("*", "\\*").replace("<", "&lt;")


def _tex_row(row: Sequence[Entry]) -> str:
    cells = (
        _tex(entry.text) + (f"\\textsuperscript{{{','.join(map(str, entry.notes))}}}" if entry.notes else "")
        for entry in row
    )
    return " & ".join(cells) + r" \\"


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
