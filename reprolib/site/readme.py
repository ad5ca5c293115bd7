"""The README's section of results: the matrix of claims and one figure, written by code from a profile's results."""

from __future__ import annotations

import re
from pathlib import Path

from reprolib.files import write_atomic
from reprolib.papers import catalog
from reprolib.papers.folders import paper_folder, shown
from reprolib.site import pages
from reprolib.site.content import Content
from reprolib.site.index import MEANINGS
from reprolib.site.svg import Drawing
from reprolib.tables.markdown import markdown_table

BEGIN, END = "<!-- results: written by reprolib report --readme -->", "<!-- end of results -->"
NAME, FIGURE = "gains", "gains.svg"


def write_readme(content: Content, *, readme: str | Path = "README.md") -> list[Path]:
    """Replace what stands between the markers and write the figure, `results/<profile>/gains.svg`; returns both paths.

    Everything else in the README stays. Raises ValueError where the markers are not.
    """
    path = Path(readme)
    drawing = pages.gains_drawing(content, name=NAME)
    text = section(content, drawing, root=path.parent.absolute())
    text = replaced(path.read_text(encoding="utf-8"), text, name=str(path))
    written = [path]
    if drawing:
        written.append(content.results / FIGURE)
        drawing.save(written[-1])
    write_atomic(path, text)
    return written


def replaced(text: str, section: str, *, name: str = "README.md") -> str:
    """`text` with `section` between its markers."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{name}: needs the line {BEGIN} and after it {END}, each once: the section goes between them")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{section}\n{END}{rest.split(END)[1]}"


def section(content: Content, drawing: Drawing | None, *, root: Path) -> str:
    """Markdown: the profile's note, claims by paper and verdict, what the verdicts mean, and the figure of gains.

    drawing: the figure, None where there is nothing to draw. root: the repository's, from which links lead.
    """
    words = pages.verdicts_of(content.claims)
    rows = []
    for line in pages.claim_matrix(content):
        counts = (line["counts"][word] or "–" for word in words)
        paper = f"[{catalog.title(line['paper'])}]({shown(paper_folder(line['paper']) / 'card.md')})"
        rows.append((paper, len(line["claims"]), line["odd"] or "–", *counts))
    columns = ("paper", "claims", "at odds with its own tables", *words)
    sections = [f"> {content.profile.note}", markdown_table(columns, rows, align="l" + "r" * (2 + len(words)))]
    if drawing:
        figure = (content.results / FIGURE).relative_to(root).as_posix()
        alt = re.sub(r"[\[\]]", "", drawing.alt.removesuffix(content.profile.note).strip())
        sections.append(f"![{alt}]({figure})")
    meanings = ((f"`{word}`", meaning) for word, meaning in MEANINGS.items())
    sections.append(markdown_table(("verdict", "meaning"), meanings, align="ll"))
    return "\n\n".join(sections)
