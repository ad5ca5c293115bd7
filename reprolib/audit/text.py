"""Findings as text: lines for a terminal, Markdown for notebooks and for `results/audit.md`."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from reprolib.audit.finding import Finding, Ref, Severity
from reprolib.audit.reading import items
from reprolib.audit.run import Checked, all_findings, audit, in_order
from reprolib.files import write_atomic
from reprolib.papers import catalog
from reprolib.papers.claims import load_claims

PAGE = Path("results") / "audit.md"
MOST_CELLS = 3


def terminal(findings: Sequence[Finding], *, hidden: int = 0) -> str:
    """Findings as lines, then how many there are by paper and by check; hidden: how many lighter ones are left out."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.severity.upper():8}{finding.check:18}{_places(finding)}")
        lines.append(textwrap.indent(textwrap.fill(finding.arithmetic, 112), " " * 8))
        lines.append(textwrap.indent(textwrap.fill(finding.message, 112), " " * 8))
        lines.append("")
    lines += [_counts("paper", findings), "", _counts("check", findings)]
    if hidden:
        lines += ["", f"{hidden} lighter findings are not shown: --severity note shows all."]
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """A JSON list of the findings, with ids, cells and lines of the CSV files."""
    return json.dumps([finding.as_json() for finding in findings], indent=1, ensure_ascii=False) + "\n"


def table(findings: Sequence[Finding], *, root: str = "") -> str:
    """Findings as a Markdown table; `root` leads from the page to the root of the repository: with it, cells link."""
    lines = ["| severity | check | cells | arithmetic | what it means |", "| --- | --- | --- | --- | --- |"]
    for f in findings:
        cells = ", ".join(_cell(ref, root) for ref in _first_of_rows(f))
        row = (str(f.severity), f.check.replace("_", " "), cells, f.arithmetic, f.message)
        lines.append("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |")
    return "\n".join(lines)


def paper_section(paper: str) -> str:
    """A paper's section of its notebook, Markdown: what the checks found, then what reading found.

    Errors and warnings as a table; notes are counted. Items of audit.md that are found by computing alone are not
    repeated, all others stand as they are. Findings that involve another paper too are among those of both.
    """
    findings = all_findings(paper=paper)
    heavy = [finding for finding in findings if finding.severity is not Severity.NOTE]
    counts = Counter(finding.severity for finding in findings)
    said = ", ".join(f"{counts[severity]} {severity}s" for severity in Severity)
    sections = [f"By computation: {said}. Notes and every check: `reprolib audit --paper {paper} --severity note`."]
    if heavy:
        sections.append(table(heavy))
    if read := [item for item in items(paper) if item.by_reading]:
        sections.append("By reading ([outside]: with a source beyond the publication):")
        sections.append("\n".join(f"- {item.text}" for item in read))
    return "\n\n".join(sections)


def page(checked: Sequence[Checked]) -> str:
    """The page of all findings, Markdown, with links to the lines of the CSV files as seen from `results/`."""
    findings = in_order([finding for check in checked for finding in check.findings])
    unchecked = [claim for claim in load_claims() if claim.consistent == "not checkable"]
    sections = [
        "# Audit of the reported numbers",
        "Written by `notebooks/audit.ipynb`; `reprolib audit` shows the same. No run is needed for it: every reported"
        " table is checked against itself, against the other tables and against the sentences of its publication.",
        "\n".join(f"- **{severity}**: {meaning}" for severity, meaning in severities().items()),
        _markdown_counts("paper", findings),
        "## Checks",
        check_table(checked),
        f"{len(unchecked)} of {len(load_claims())} claims cannot be checked by any table, as figures and words such as"
        ' "small" cannot; where a table holds the numbers, a note gives them.',
    ]
    for paper in catalog.papers():
        own = [finding for finding in findings if finding.paper == paper]
        sections += [f"## {catalog.title(paper)}", _by_severity(own), *_tables(own)]
        if read := [item for item in items(paper) if item.by_reading]:
            sections.append("By reading ([outside]: with a source beyond the publication):")
            sections.append("\n".join(f"- {item.text}" for item in read))
    return "\n\n".join(filter(None, sections)) + "\n"


def write_page(root: str | Path = ".", checked: Sequence[Checked] | None = None) -> Path:
    """Write `results/audit.md` below `root`; the same tables give the same text."""
    path = Path(root) / PAGE
    write_atomic(path, page(audit() if checked is None else checked))
    return path


def check_table(checked: Sequence[Checked]) -> str:
    """Markdown: every check, what it asks, how many comparisons it made and what it found."""
    lines = ["| check | asks | comparisons | errors | warnings | notes |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for check in checked:
        counts = Counter(finding.severity for finding in check.findings)
        numbers = " | ".join(str(counts[severity] or "") for severity in Severity)
        lines.append(f"| {check.name.replace('_', ' ')} | {check.title} | {check.compared} | {numbers} |")
    return "\n".join(lines)


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


def _by_severity(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.severity for finding in findings)
    return ", ".join(f"{counts[severity]} {severity}{'s' * (counts[severity] != 1)}" for severity in Severity) + "."


def _markdown_counts(field: str, findings: Sequence[Finding]) -> str:
    lines = [f"| {field} | errors | warnings | notes |", "| --- | ---: | ---: | ---: |"]
    for name, counts in _grouped(field, findings).items():
        title = catalog.title(name) if field == "paper" else name
        lines.append(f"| {title} | " + " | ".join(str(counts[severity]) for severity in Severity) + " |")
    total = Counter(finding.severity for finding in findings)
    lines.append("| all | " + " | ".join(str(total[severity]) for severity in Severity) + " |")
    return "\n".join(lines)


def _counts(field: str, findings: Sequence[Finding]) -> str:
    groups = _grouped(field, findings)
    width = max(map(len, [*groups, field]))
    lines = [f"{field:{width}}" + "".join(f"{severity + 's':>10}" for severity in Severity)]
    for name, counts in groups.items():
        lines.append(f"{name:{width}}" + "".join(f"{counts[severity]:10}" for severity in Severity))
    total = Counter(finding.severity for finding in findings)
    lines.append(f"{'all':{width}}" + "".join(f"{total[severity]:10}" for severity in Severity))
    return "\n".join(lines)


def _grouped(field: str, findings: Sequence[Finding]) -> dict[str, Counter]:
    names = sorted({getattr(finding, field) for finding in findings})
    return {name: Counter(f.severity for f in findings if getattr(f, field) == name) for name in names}


def _places(finding: Finding) -> str:
    rows: dict[str, list[str]] = {}
    for name, row in finding.rows:
        rows.setdefault(name, []).append(str(row))
    return "; ".join(f"{name} row{'s' * (len(r) > 1)} {', '.join(r)}" for name, r in rows.items())


def _first_of_rows(finding: Finding) -> list[Ref | None]:
    """The first cell of each row, the first rows of many and then None."""
    refs = list({(ref.table_id, ref.row): ref for ref in reversed(finding.cells)}.values())
    refs.sort(key=finding.cells.index)
    return refs if len(refs) <= MOST_CELLS else [*refs[:MOST_CELLS], None]


def _cell(ref: Ref | None, root: str) -> str:
    if ref is None:
        return "…"
    text = f"{ref.table_id} row {ref.row}"
    return f"[{text}]({root}{ref.source})" if root else text
