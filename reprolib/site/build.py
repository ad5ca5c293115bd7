"""Write a profile's report: `results/<profile>/report/index.html` and the pages that it leads to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reprolib.files import write_atomic
from reprolib.papers import catalog
from reprolib.site import pages, systems
from reprolib.site.content import Content
from reprolib.site.index import INTERVALS, MEANINGS
from reprolib.site.notebooks import highlighting, notebook_html
from reprolib.tables.layout import metric_label
from reprolib.tables.number_text import count_word, interval_text, number_text, row_ranges

HERE = Path(__file__).parent

# Beside the word and the colour, so that neither is needed to tell verdicts apart.
MARKS = {
    "reproduced": "✓",
    "same direction": "↗",
    "contradicted": "✗",
    "inconclusive": "?",
    "not comparable": "≠",
    "not run": "○",
    "reported only": "□",
    "not reported": "◇",
}
SEVERITY_MARKS = {"error": "✗", "warning": "!", "note": "i"}


def build(content: Content) -> Path:
    """Write all pages; returns the front page.

    The folder is replaced as a whole, once every page is written. What does not exist yet (a run, an executed notebook)
    is said on its page. Raises ValueError for a notebook that cannot be read.
    """
    folder = content.results / "report"
    temporary = folder.with_name(f"report.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for name, text in _files(content):
            write_atomic(temporary / name, text)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder / "index.html"


def _files(content: Content) -> Iterator[tuple[str, str]]:
    yield "static/report.js", (HERE / "static" / "report.js").read_text(encoding="utf-8")
    yield "static/report.css", (HERE / "static" / "report.css").read_text(encoding="utf-8") + highlighting()
    matrix = pages.claim_matrix(content)
    claims = {"matrix": matrix, "verdicts": pages.verdicts_of(content.claims)}
    overview = pages.coverage(list(content.tables.values()))
    counted = {word for line in overview for word in line["counts"]}
    yield _page(
        content,
        "index.html",
        f"Claims and runs of {count_word(len(content.papers))} papers",
        **claims,
        rows_run=sum(line["run"] for line in overview),
        rows_all=sum(line["rows"] for line in overview),
        records=content.records,
        gains=pages.gains_drawing(content, name="gains"),
        meanings=MEANINGS,
        intervals=INTERVALS,
    )
    yield _page(content, "claims.html", "Claims", **claims)
    yield _page(content, "tables.html", "Tables", overview=overview, verdicts=[w for w in MARKS if w in counted])
    speed = systems.speed_drawing(content)
    yield _page(content, "systems.html", "Systems", **systems.systems_page(content), scatter=speed)
    yield _page(
        content,
        "audit.html",
        "Audit of the reported numbers",
        **pages.audit_page(content),
        finding_rows=pages.finding_rows,
        severity_order={word: place for place, word in enumerate(SEVERITY_MARKS)},
    )
    for table in content.tables.values():
        name = f"tables/{table.table.id}.html"
        rendered = [content.results / "tables" / f"{table.table.id}.{suffix}" for suffix in ("md", "csv", "tex")]
        files = [(path.name, pages.relative(path, content, "../")) for path in rendered if path.is_file()]
        heading = f"{catalog.title(table.table.paper)}, {table.title[0].lower()}{table.title[1:]}"
        yield _page(content, name, heading, **pages.table_page(content, table), files=files)
    for system in content.systems:
        drawing = systems.speed_drawing_of(system, speed) if speed else None
        values = systems.system_page(content, system) | {"scatter": drawing}
        yield _page(content, f"systems/{system.slug}.html", system.name, **values)
    for line in matrix:
        paper = line["paper"]
        executed = content.results / "notebooks" / f"{paper}.ipynb"
        yield _page(
            content,
            f"papers/{paper}.html",
            catalog.title(paper),
            paper=paper,
            line=line,
            verdicts=claims["verdicts"],
            contents=content.of_paper(paper),
            notebook=notebook_html(executed) if executed.is_file() else None,
            notebook_file=pages.relative(executed, content, "../"),
        )


def _page(content: Content, name: str, heading: str, /, **values) -> tuple[str, str]:
    root = "../" * name.count("/")
    environment = _environment()
    template = environment.get_template(_TEMPLATES.get(name.split("/")[0], name))
    text = template.render(
        root=root,
        page=name,
        heading=heading,
        profile=content.profile,
        papers=content.papers,
        files_of=lambda record, root: pages.files_of(record, content, root),
        **values,
    )
    return name, text


_TEMPLATES = {"tables": "table.html", "systems": "system.html", "papers": "paper.html"}


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "marks": MARKS,
        "severity_marks": SEVERITY_MARKS,
        "metric_label": metric_label,
        "number_text": number_text,
        "interval_text": interval_text,
        "row_ranges": row_ranges,
        "short_title": catalog.title,
        "count_word": count_word,
        "finding_anchor": pages.finding_anchor,
        "as_number": _as_number,
    }
    return environment


def _as_number(text: str | None) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
