"""Findings as text: lines for a terminal, Markdown for notebooks and for `results/audit.md`."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from reprolib.audit.finding import Finding, Severity
from reprolib.audit.reading import items
from reprolib.audit.run import Checked, all_findings, audit, in_order
from reprolib.files import write_atomic
from reprolib.papers import catalog
from reprolib.papers.claims import load_claims
from reprolib.papers.reported import Cell
from reprolib.tables.markdown import markdown_table

PAGE = Path("results") / "audit.md"
MOST_CELLS = 3


def terminal(findings: Sequence[Finding], *, hidden: int = 0) -> str:
    """Findings as lines, then how many there are by paper and by check; hidden: how many lighter ones are left out."""
    lines = []
    for finding in findings:
        places = (f"{name} row{'s' * (len(r) > 1)} {', '.join(r)}" for name, r in finding.rows_by_table.items())
        lines.append(f"{finding.severity.upper():8}{finding.check:18}{'; '.join(places)}")
        lines.append(textwrap.indent(textwrap.fill(finding.arithmetic, 112), " " * 8))
        lines.append(textwrap.indent(textwrap.fill(finding.message, 112), " " * 8))
        lines.append("")
    for field in ("paper", "check"):
        rows = [(field, *(f"{severity}s" for severity in Severity)), *_count_rows(field, findings)]
        width = max(len(name) for name, *_ in rows)
        lines += [*(f"{name:{width}}" + "".join(f"{count:>10}" for count in counts) for name, *counts in rows), ""]
    if hidden:
        lines += [f"{hidden} lighter findings are not shown: --severity note shows all."]
    return "\n".join(lines).rstrip()


def as_json(findings: Sequence[Finding]) -> str:
    """A JSON list of the findings, with ids, cells and lines of the CSV files."""
    return json.dumps([finding.as_json() for finding in findings], indent=1, ensure_ascii=False) + "\n"


def table(findings: Sequence[Finding], *, root: str = "") -> str:
    """Findings as a Markdown table; `root` leads from the page to the root of the repository: with it, cells link."""
    rows = []
    for f in findings:
        cells = ", ".join(_cell(cell, root) for cell in _first_of_rows(f))
        row = (str(f.severity), f.check.replace("_", " "), cells, f.arithmetic, f.message)
        rows.append([text.replace("|", "\\|") for text in row])
    return markdown_table(("severity", "check", "cells", "arithmetic", "what it means"), rows, align="lllll")


def paper_section(paper: str) -> str:
    """A paper's section of its notebook, Markdown: what the checks found, then what reading found.

    Errors and warnings as a table; notes are counted. Items of audit.md that are found by computing alone are not
    repeated, all others stand as they are. Findings that involve another paper too are among those of both.
    """
    findings = all_findings(paper=paper)
    heavy = [finding for finding in findings if finding.severity is not Severity.NOTE]
    said = ", ".join(f"{count} {severity}s" for severity, count in _counts(findings).items())
    sections = [f"By computation: {said}. Notes and every check: `reprolib audit --paper {paper} --severity note`."]
    if heavy:
        sections.append(table(heavy))
    return "\n\n".join([*sections, *_found_by_reading(paper)])


def page(checked: Sequence[Checked]) -> str:
    """The page of all findings, Markdown, with links to the lines of the CSV files as seen from `results/`."""
    findings = in_order([finding for check in checked for finding in check.findings])
    unchecked = [claim for claim in load_claims() if claim.consistent == "not checkable"]
    sections = [
        "# Audit of the reported numbers",
        "Written by `notebooks/audit.ipynb`; `reprolib audit` shows the same. No run is needed for it: every reported"
        " table is checked against itself, against the other tables and against the sentences of its publication.",
        "\n".join(f"- **{severity}**: {meaning}" for severity, meaning in severities().items()),
        _count_table(findings),
        "## Checks",
        check_table(checked),
        f"{len(unchecked)} of {len(load_claims())} claims cannot be checked by any table, as figures and words such as"
        ' "small" cannot; where a table holds the numbers, a note gives them.',
    ]
    for paper in catalog.papers():
        own = [finding for finding in findings if finding.paper == paper]
        sections += [f"## {catalog.title(paper)}", _by_severity(own), *_tables(own), *_found_by_reading(paper)]
    return "\n\n".join(filter(None, sections)) + "\n"


def write_page(root: str | Path = ".", checked: Sequence[Checked] | None = None) -> Path:
    """Write `results/audit.md` below `root`; the same tables give the same text."""
    path = Path(root) / PAGE
    write_atomic(path, page(audit() if checked is None else checked))
    return path


def _count_table(findings: Sequence[Finding]) -> str:
    *papers, total = _count_rows("paper", findings)
    rows = [*((catalog.title(paper), *counts) for paper, *counts in papers), total]
    return markdown_table(("paper", *(f"{severity}s" for severity in Severity)), rows, align="lrrr")


def check_table(checked: Sequence[Checked]) -> str:
    """Markdown: every check, what it asks, how many comparisons it made and what it found."""
    columns = ("check", "asks", "comparisons", *(f"{severity}s" for severity in Severity))
    rows = []
    for check in checked:
        counts = (count or "" for count in _counts(check.findings).values())
        rows.append((check.name.replace("_", " "), check.title, check.compared, *counts))
    return markdown_table(columns, rows, align="llrrrr")


def severities() -> dict[str, str]:
    """What each severity means, as its docstring says it."""
    text = " ".join((Severity.__doc__ or "").split()).partition("weighs. ")[2]
    starts = {severity: text.index(f"{severity}: ") for severity in Severity}
    ends = [*list(starts.values())[1:], len(text)]
    return {s: text[start + len(s) + 2 : end].strip() for (s, start), end in zip(starts.items(), ends, strict=True)}


def _tables(findings: Sequence[Finding]) -> list[str]:
    """Errors and warnings in one table, notes in one that unfolds."""
    heavy = [finding for finding in findings if finding.severity is not Severity.NOTE]
    notes = [finding for finding in findings if finding.severity is Severity.NOTE]
    sections = [table(heavy, root="../")] if heavy else []
    if notes:
        sections.append(f"<details><summary>{len(notes)} notes</summary>\n\n{table(notes, root='../')}\n\n</details>")
    return sections


def _found_by_reading(paper: str) -> list[str]:
    """Sections on the items of audit.md that are not found by computing alone; none without such items."""
    read = "\n".join(f"- {item.text}" for item in items(paper) if item.by_reading)
    return ["By reading ([outside]: with a source beyond the publication):", read] if read else []


def _counts(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many there are of each severity."""
    counts = Counter(finding.severity for finding in findings)
    return {severity: counts[severity] for severity in Severity}


def _by_severity(findings: Sequence[Finding]) -> str:
    counts = _counts(findings)
    return ", ".join(f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts.items()) + "."


def _count_rows(field: str, findings: Sequence[Finding]) -> list[tuple[object, ...]]:
    """A line per paper or check, its name and how many there are of each severity; the last line is of all."""
    rows = []
    for name in sorted({getattr(finding, field) for finding in findings}):
        counts = _counts(finding for finding in findings if getattr(finding, field) == name)
        rows.append((name, *counts.values()))
    return [*rows, ("all", *_counts(findings).values())]


def _first_of_rows(finding: Finding) -> list[Cell | None]:
    """The first cell of each row, the first rows of many and then None."""
    cells = list({(cell.table_id, cell.row): cell for cell in reversed(finding.cells)}.values())
    cells.sort(key=finding.cells.index)
    return cells if len(cells) <= MOST_CELLS else [*cells[:MOST_CELLS], None]


def _cell(cell: Cell | None, root: str) -> str:
    if cell is None:
        return "…"
    text = f"{cell.table_id} row {cell.row}"
    return f"[{text}]({root}{cell.source})" if root else text
