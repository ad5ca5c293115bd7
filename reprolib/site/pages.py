"""What stands on each page of the report: plain values for its template."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from reprolib.audit.finding import Finding
from reprolib.figures.pictures import NothingToDraw
from reprolib.papers import catalog
from reprolib.site.content import Content, TableContent, slug
from reprolib.site.drawings import Point, gains, reported_and_reproduced
from reprolib.site.svg import Drawing
from reprolib.tables.claim_verdicts import ClaimVerdict
from reprolib.tables.layout import decimals_of, metric_label
from reprolib.tables.number_text import NOTHING, interval_text, spread_text
from reprolib.tables.verdicts import VERDICTS


def claim_matrix(content: Content) -> list[dict[str, object]]:
    """A line per paper: its claims, how many of each verdict, and how many its own tables do not bear out."""
    lines = []
    for paper in content.papers:
        results = [result for result in content.claims if result.claim.paper == paper]
        lines.append(
            {
                "paper": paper,
                "claims": results,
                "counts": Counter(result.verdict for result in results),
                "odd": sum(result.claim.consistent == "no" for result in results),
            }
        )
    return lines


def verdicts_of(claims: Sequence[ClaimVerdict]) -> list[str]:
    """The verdicts that occur, in the order of the list."""
    return [word for word in VERDICTS if any(claim.verdict == word for claim in claims)]


def coverage(contents: Sequence[TableContent]) -> list[dict[str, object]]:
    """A line per table: printed rows, those that have a run, and printed numbers by verdict."""
    lines = []
    for content in contents:
        printed = [row for row in content.rows if not row.extra]
        lines.append(
            {
                "content": content,
                "rows": len(printed),
                "run": sum(row.status == "run" for row in printed),
                "counts": Counter(cell.verdict for row in printed for cell in row.cells),
            }
        )
    return lines


def gains_drawing(content: Content, *, name: str) -> Drawing | None:
    """Reproduced over reported gains in mask AP of every ablation row that has both; None without any."""
    points = []
    for table in content.tables.values():
        for row in table.rows:
            cell = row.cell("segm/AP")
            if cell and cell.gain_reproduced is not None and cell.gain_reported is not None:
                link = f"tables/{table.table.id}.html#row-{row.number}"
                group = catalog.title(table.table.paper)
                points.append(Point(x=cell.gain_reported, y=cell.gain_reproduced, group=group, link=link))
    return drawn_or_none(gains, points, name=name, note=content.profile.note)


def table_page(content: Content, table: TableContent) -> dict[str, object]:
    """A table's page: its rows with the main metrics, every number, and figures of the main metrics that have run."""
    sheet = table.sheet
    numbers = {}
    entries = iter(sheet.cell_body)
    for row in table.rows:
        for cell in row.cells:
            texts = dict(zip(sheet.cell_columns, next(entries), strict=True))
            decimals = decimals_of(cell.reported)
            numbers[row.number, cell.reported.metric] = {
                "row": row,
                "cell": cell,
                "label": texts["system"].text,
                "reported": texts["reported"],
                # The interval has a column of its own here.
                "reproduced": texts["reproduced"].text.replace(spread_text(cell.interval, decimals) or "±", ""),
                "difference": texts["difference"].text,
                "interval": interval_text(cell.interval, decimals),
                "gain": texts["gain reproduced"].text if sheet.ablation else NOTHING,
            }
    lines = []
    for row, marks, body in zip(table.rows, sheet.component_marks, sheet.body, strict=True):
        recipe = table.recipe_of(row)
        lines.append(
            {
                "row": row,
                "notes": body[0].notes,
                "label": body[1].text,
                "system": content.system(row.head.method),
                "components": marks,
                "cells": [numbers.get((row.number, metric)) for metric in sheet.metrics],
                "recipe": recipe,
                "recipe_number": sheet.recipes.index(recipe) + 1 if recipe else None,
                "differing": sum(line.differs for line in recipe.lines) if recipe else None,
            }
        )
    drawings = [
        drawn_or_none(reported_and_reproduced, table.rows, metric, name=f"{table.table.id}-{metric}")
        for metric in sheet.metrics
        if table.rows[0].head.row_kind != "dataset"
    ]
    return {
        "content": table,
        "width": 7 if sheet.ablation else 5,
        "lines": lines,
        "numbers": list(numbers.values()),
        "drawings": [drawing for drawing in drawings if drawing],
        "findings": [finding for finding in content.findings if table.table.id in finding.tables],
    }


def audit_page(content: Content) -> dict[str, object]:
    """What was checked, and the findings by the paper whose cell is in question, heaviest first."""
    findings = {paper: [f for f in content.findings if f.paper == paper] for paper in content.papers}
    counts = {paper: Counter(str(finding.severity) for finding in own) for paper, own in findings.items()}
    return {"checks": content.checks, "counts": counts, "findings": findings}


def finding_anchor(finding: Finding) -> str:
    """Where a finding stands on the audit page."""
    return slug(finding.id.replace("+", "-"))


def finding_rows(finding: Finding) -> list[tuple[str, int, str]]:
    """The rows that a finding is about: table, row, and what is printed there."""
    printed: dict[tuple[str, int], list[str]] = {}
    for cell in finding.cells:
        printed.setdefault((cell.table_id, cell.row), []).append(f"{metric_label(cell.metric)} {cell.printed}")
    return [(table, row, ", ".join(texts)) for (table, row), texts in printed.items()]


def files_of(record: Mapping, content: Content, root: str) -> list[tuple[str, str]]:
    """Links to what a run left, of those files that exist."""
    run = record["run"]
    files = {
        "record": content.results / "records" / f"{run}.json",
        "evaluation": content.results / "notebooks" / f"evaluate-{run}.ipynb",
        "training": content.results / "notebooks" / f"train-{run}.ipynb",
    }
    return [(name, relative(path, content, root)) for name, path in files.items() if path.is_file()]


def relative(path: Path, content: Content, root: str) -> str:
    """The address of a file below the profile's results from a page; `root` leads from the page to the report."""
    return root + quote(os.path.relpath(path, content.results / "report").replace(os.sep, "/"))


def drawn_or_none(draw, *arguments, **named) -> Drawing | None:
    """A drawing, None where there is nothing to draw."""
    try:
        return draw(*arguments, **named)
    except NothingToDraw:
        return None
