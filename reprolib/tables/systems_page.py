"""The systems as Markdown, for `results/systems.md` and for the notebook `systems.ipynb`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reprolib.files import write_atomic
from reprolib.papers import catalog
from reprolib.papers.systems import Place, Reference, System
from reprolib.tables.markdown import markdown_table
from reprolib.tables.number_text import NOTHING, count_word, number_text, row_ranges

PAGE = Path("results") / "systems.md"
COUNTED = (
    "Parameters and FLOPs (multiply-adds of one image, forward) are counted at published scale on one of a system's"
    " rows: its own design complete, and where it has such a row one whose cost is printed, on COCO, with ResNet-50."
    " Backbone, number of classes and input are that row's, so systems counted on different ones do not compare."
    " In brackets what that row's publication prints: it may count frozen or unused layers otherwise, or other inputs."
    " `reprolib describe EXPERIMENT --profile paper` counts any other row."
)
CHECKED = (
    "Beside a system stands the public code that it was checked against, with its licence: facts, constants and counts"
    " were taken from it, no code was copied."
)


def page(systems: Sequence[System]) -> str:
    """The whole page; the same systems give the same text."""
    built = [system for system in systems if not system.reported_only]
    sections = [
        "# Systems",
        "Written by `notebooks/systems.ipynb`.",
        overview(systems),
        COUNTED,
        CHECKED,
    ]
    for family in families(built):
        sections += [f"## {family.capitalize()}", family_table([s for s in built if s.family == family])]
    sections += ["## What is inferred", INFERRED_MEANS, inferred_list(systems)]
    sections += ["## Reported only", REPORTED_ONLY_MEANS, reported_only_list(systems)]
    sections += [
        "## Where each stands",
        places_list(systems),
        "## Reference implementations",
        references_table(systems),
    ]
    return "\n\n".join(sections) + "\n"


def overview(systems: Sequence[System]) -> str:
    """How many systems the tables name, and how many of them are built."""
    named = [system for system in systems if system.named]
    quoted = sum(bool(system.reported_only) for system in named)
    papers = count_word(len(catalog.papers()))
    text = f"The {papers} papers' tables name {len(named)} systems: {len(named) - quoted} are built, {quoted} are not."
    more = [system.name for system in systems if not system.named]
    return f"{text} Built besides, since a row cites and shows it: {', '.join(more)}." if more else text


def write_page(systems: Sequence[System], root: str | Path = ".") -> Path:
    """Write `results/systems.md` below `root`."""
    path = Path(root) / PAGE
    write_atomic(path, page(systems))
    return path


INFERRED_MEANS = (
    "Publications that leave their design open are built by what is public of them; the rest is assumed, and a"
    " comparison with their numbers says `same direction` at best."
)
REPORTED_ONLY_MEANS = "Nothing here runs these. Their printed numbers stand in the tables, without a reproduction."


def families(systems: Sequence[System]) -> list[str]:
    """The families of systems, the largest first."""
    members = [system.family for system in systems]
    return sorted(set(members), key=lambda family: (-members.count(family), family))


def family_table(systems: Sequence[System]) -> str:
    """Markdown: a line per system with publication, cost and reference implementation."""
    columns = ("system", "publication", "tables", "parameters (M)", "FLOPs (G)", "counted on", "checked against")
    rows = []
    for system in systems:
        papers = "; ".join(_tables_of(system, paper) for paper in system.papers)
        costs = [_cost(system, metric, decimals) for metric, decimals in (("params_M", 2), ("flops_G", 1))]
        name = f"**{system.name}**{' (inferred)' if system.inferred else ''}"
        checked = f"{reference_text(system)}. {system.note}." if system.note else reference_text(system)
        rows.append((name, system.publication, papers, *costs, counted_on(system), checked))
    return markdown_table(columns, rows, align="lllrrll")


def inferred_list(systems: Sequence[System]) -> str:
    """Markdown: what is assumed of each system whose publication leaves its design open."""
    return "\n".join(f"- **{system.name}**: {system.inferred}." for system in systems if system.inferred)


def reported_only_list(systems: Sequence[System]) -> str:
    """Markdown: the systems that nothing runs, with publication, reason and rows."""
    return "\n".join(
        f"- **{system.name}** ({system.publication}): {system.reported_only} In {_where(system)}."
        for system in systems
        if system.reported_only
    )


def places_list(systems: Sequence[System]) -> str:
    """Markdown: every row of every table that shows a system."""
    return "\n".join(f"- **{system.name}**: {_where(system)}" for system in systems)


def references_table(systems: Sequence[System]) -> str:
    """Markdown: the public code that systems were checked against, with its licence, by repository."""
    used: dict[str, tuple[Reference, list[str]]] = {}
    for system in systems:
        for reference in system.references:
            used.setdefault(reference.repository, (reference, []))[1].append(system.name)
    rows = []
    for name, (reference, names) in sorted(used.items(), key=lambda item: item[0].lower()):
        licence = f"{reference.licence} ({reference.note})" if reference.note else reference.licence
        rows.append((f"[{name}](https://github.com/{name})", licence, ", ".join(names)))
    return markdown_table(("repository", "licence", "systems"), rows, align="lll")


def counted_on(system: System) -> str:
    """Backbone, classes and input of a count."""
    if system.count is None:
        return NOTHING
    height, width = system.count.input_size
    classes = f"{system.count.classes} {'class' if system.count.classes == 1 else 'classes'}"
    return f"{system.count.backbone}, {classes}, {height} × {width}"


def reference_text(system: System) -> str:
    """Reference implementations with their licences; of a system without, that none was found."""
    return ", ".join(f"{each.repository} ({each.licence})" for each in system.references) or "no public code found"


def _cost(system: System, metric: str, decimals: int) -> str:
    counted = number_text(system.count.of[metric] if system.count else None, decimals)
    return f"{counted} ({system.reported[metric]})" if metric in system.reported else counted


def _tables_of(system: System, paper: str) -> str:
    numbers = [place.table.number for place in system.places if place.table.paper == paper]
    return f"{catalog.title(paper)} {row_ranges(numbers)}"


def _where(system: System) -> str:
    """The rows that show it, by paper and table."""
    tables: dict[str, list[str]] = {}
    for place in system.places:
        tables.setdefault(place.table.paper, []).append(_rows(place))
    return "; ".join(f"{catalog.title(paper)} {', '.join(texts)}" for paper, texts in tables.items())


def _rows(place: Place) -> str:
    own = f"; {row_ranges(place.own)} is the suite's own" if place.own else ""
    return f"table {place.table.number} ({'row' if len(place.rows) == 1 else 'rows'} {row_ranges(place.rows)}{own})"
