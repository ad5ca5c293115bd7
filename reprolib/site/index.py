"""`results/README.md`: every rendered table, figure and notebook of every profile. Imports no torch."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from reprolib.files import write_atomic
from reprolib.papers import catalog
from reprolib.tables.markdown import markdown_table
from reprolib.tables.verdicts import VERDICTS

MEANINGS = {
    "reproduced": "the 95% interval contains the reported number (in ablations: the reported gain, not zero)",
    "same direction": "an effect of the reported sign, of another size",
    "contradicted": "the interval excludes the reported number and does not bear out its sign",
    "inconclusive": "the interval contains both the reported effect and none, is too wide, or holds images alone",
    "not comparable": "other data, network size, training length, split or hardware than the publication's",
    "not run": "no record yet, or nothing that could run it is built yet",
    "reported only": "nothing to implement, or a number that is only quoted",
}
INTERVALS = """\
An interval holds what chance there is: which images the split has (1,000 resamples of them, paired where two runs are
compared) and the seed (several runs, or the noise between seeds measured on others). With one run and no such
measurement it holds images alone. The gains of one ablation are kept to 95% together (Holm's procedure)."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What one rendered table holds of what is printed: rows and numbers by status and verdict."""

    table_id: str
    paper: str
    number: int
    path: Path
    rows: int
    rows_run: int
    verdicts: Counter


def write_index(root: str | Path = ".") -> Path:
    """Write `results/README.md` below `root` from what is rendered there; the same files give the same text."""
    results = Path(root) / "results"
    pages = {
        "audit.md": "[Audit](audit.md): the reported numbers checked against themselves and each other.",
        "systems.md": "[Systems](systems.md): what each costs and was checked against, and which nothing here runs.",
    }
    profiles = [path.name for path in sorted(results.glob("*/")) if (path / "tables").is_dir()]
    sections = [
        "# Results",
        "Written by `reprolib report`. Each table shows the reproduced beside the reported numbers, with the"
        " recipe of the publication beside the one of the runs.",
        *(text for name, text in pages.items() if (results / name).is_file()),
        "Verdicts compare a reproduced with a reported number. They are given per number, in the tables' CSV files.",
        markdown_table(("verdict", "meaning"), MEANINGS.items(), align="ll"),
        INTERVALS,
        "A row that the publication does not print, marked by a footnote, has `not reported` instead.",
        *(_profile(results, name) for name in profiles),
    ]
    path = results / "README.md"
    write_atomic(path, "\n\n".join(sections) + "\n")
    return path


def coverage(tables: Path) -> list[Coverage]:
    """Read the CSV files of a profile's rendered tables, in the order of papers and numbers."""
    rendered = []
    for path in tables.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            lines = [line for line in csv.DictReader(file) if line["reported"]]
        status = {line["row"]: line["status"] for line in lines}
        rendered.append(
            Coverage(
                table_id=path.stem,
                paper=lines[0]["paper"],
                number=int(lines[0]["table"]),
                path=path,
                rows=len(status),
                rows_run=sum(value == "run" for value in status.values()),
                verdicts=Counter(line["verdict"] for line in lines),
            )
        )
    return sorted(rendered, key=lambda item: (item.paper, item.number))


def coverage_table(tables: Path, *, links: Path | None = None) -> str:
    """Markdown: rows run and numbers per verdict of each rendered table; with links relative to `links`."""
    rendered = coverage(tables)
    verdicts = [word for word in VERDICTS if any(item.verdicts[word] for item in rendered)]
    titles = catalog.all_tables()
    rows = []
    for item in rendered:
        known = titles.get(item.table_id)
        name = f"{catalog.title(item.paper)} {item.number}: {known.title}" if known else item.table_id
        if links:
            name = f"[{name}]({item.path.with_suffix('.md').relative_to(links).as_posix()})"
        counts = (item.verdicts[word] or "" for word in verdicts)
        rows.append((name, f"{item.rows_run} of {item.rows}", *counts))
    return markdown_table(("table", "rows run", *verdicts), rows, align="lr" + "r" * len(verdicts))


def _profile(results: Path, name: str) -> str:
    folder = results / name
    rendered = coverage(folder / "tables")
    run, rows = sum(item.rows_run for item in rendered), sum(item.rows for item in rendered)
    sections = [
        f"## Profile `{name}`",
        _banner(rendered),
        f"{run} of {rows} rows have a run. Numbers per verdict:",
        coverage_table(folder / "tables", links=results),
    ]
    if (folder / "report" / "index.html").is_file():
        sections.append(
            f"All of it as pages to open in a browser: {_link(folder / 'report' / 'index.html', results)} (in DVC)."
        )
    figures = sorted((folder / "figures").rglob("*.png"))
    if figures:
        sections.append("Figures:")
        sections.append("\n".join(f"- {_link(path, results)}" for path in figures))
    notebooks = [
        path
        for path in sorted((folder / "notebooks").glob("*.ipynb"))
        if path.stem in {"audit", "systems", *catalog.papers()}
    ]
    if notebooks:
        sections.append("Executed notebooks (in DVC, `dvc pull` or `dvc repro` brings them):")
        sections.append("\n".join(f"- {_link(path, results)}" for path in notebooks))
    return "\n\n".join(filter(None, sections))


def _banner(rendered: list[Coverage]) -> str:
    """The profile's note as the rendered tables show it."""
    for item in rendered:
        for line in item.path.with_suffix(".md").read_text(encoding="utf-8").splitlines():
            if line.startswith("> "):
                return line
    return ""


def _link(path: Path, results: Path) -> str:
    relative = path.relative_to(results)
    return f"[{Path(*relative.parts[2:]).as_posix()}]({relative.as_posix()})"
