"""The pages of systems: what each costs, how fast and how good it is, and where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reprolib.audit.printed import better
from reprolib.papers import catalog
from reprolib.papers.systems import COSTS
from reprolib.site.content import Content, ShownRow, ShownSystem, images_per_second
from reprolib.site.drawings import Point, speed_accuracy
from reprolib.site.pages import drawn_or_none, relative
from reprolib.site.svg import Drawing
from reprolib.tables import systems_page as texts
from reprolib.tables.number_text import NOTHING, number_text


def speed_drawing(content: Content) -> Drawing | None:
    """Mask AP over images per second of every row that has both, as reported and as reproduced.

    A run that several tables show counts once. A mark leads to its system's page and has that page's name as its class.
    """
    reported, reproduced = [], {}
    for system in content.systems:
        if system.facts and not system.facts.named:
            continue  # its rows are another's, under whose name they are printed
        for place in system.places:
            mask, rate = place.row.cell("segm/AP"), place.rate()
            if not mask or not rate:
                continue
            theirs, ours = images_per_second(rate)
            paper = catalog.title(place.content.table.paper)
            named = {"group": paper, "name": system.slug, "link": f"systems/{system.slug}.html"}
            if theirs and mask.reported.value is not None:
                reported.append(Point(x=theirs, y=mask.reported.value, **named))
            if ours and mask.reproduced is not None:
                reproduced[place.row.experiment.id] = Point(x=ours, y=mask.reproduced, **named)
    panels = {"reported": reported, "reproduced": list(reproduced.values())}
    return drawn_or_none(speed_accuracy, panels, name="speed")


def speed_drawing_of(system: ShownSystem, drawing: Drawing) -> Drawing | None:
    """The same figure for a system's own page, its marks in front of faded ones; None where it has no mark."""
    if f'class="mark {system.slug}"' not in drawing.text:
        return None
    style = f".mark{{opacity:.18}}.mark.{system.slug}{{opacity:1}}</style>"
    text = drawing.text.replace("</style>", style, 1).replace('href="systems/', 'href="../systems/')
    return Drawing(text=text, alt=f"{drawing.alt}; {system.name} stands out")


def systems_page(content: Content) -> dict[str, object]:
    """The list of systems; `facts` are those of the systems that are more than a row of the suite's own."""
    lines = []
    for system in content.systems:
        costs = []
        for metric in COSTS:
            printed = [place.row.cell(metric).reported.value for place in system.reported(metric)]
            counted = system.facts.count.of[metric] if system.facts and system.facts.count else None
            costs += [_span(printed), (number_text(counted, 1), counted)]
        run = sum(bool(place.row.records) for place in system.places)
        lines.append({"system": system, "run": run, "costs": costs})
    return {"lines": lines, "facts": [system.facts for system in content.systems if system.facts], "texts": texts}


def system_page(content: Content, system: ShownSystem) -> dict[str, object]:
    """One system: what it costs, printed and counted; every row that shows it."""
    costs = [*_printed_costs(system), *_published_scale(system), *_counted_costs(content, system)]
    return {
        "system": system,
        "costs": costs,
        "places": [_place(place) for place in system.places],
        "texts": texts,
    }


def _published_scale(system: ShownSystem) -> Iterator[dict[str, object]]:
    """The count that does not depend on a run."""
    if system.facts and (count := system.facts.count):
        height, width = count.input_size
        yield {
            "where": count.experiment,
            "link": "",
            "backbone": count.backbone,
            "numbers": _numbers(*count.of.values()),
            "conditions": f"published scale, {height} × {width} px",
        }


def _printed_costs(system: ShownSystem) -> Iterator[dict[str, object]]:
    for place in system.places:
        cells = [place.row.cell("params_M"), place.row.cell("flops_G"), place.rate()]
        if not any(cell and cell.reported.value is not None for cell in cells):
            continue
        table = place.content.table
        values = [cell.reported.value if cell else None for cell in cells[:2]]
        rate = images_per_second(cells[2])[0] if cells[2] else None
        yield {
            "where": f"{catalog.title(table.paper)}, table {table.number}, row {place.row.number}",
            "link": f"../tables/{table.id}.html#row-{place.row.number}",
            "backbone": place.row.head.backbone or NOTHING,
            "numbers": _numbers(*values, rate, decimals=1),
            "conditions": "as reported",
        }


def _counted_costs(content: Content, system: ShownSystem) -> Iterator[dict[str, object]]:
    for record in system.records:
        cost, rate = record["cost"], record["speed"]["images_per_second"]
        values = (cost["params"] / 1e6, cost["flops"] / 1e9 if cost["flops"] is not None else None)
        size = " × ".join(map(str, cost.get("flops_input") or ()))
        yield {
            "where": f"run {record['run']}",
            "link": relative(content.results / "records" / f"{record['run']}.json", content, "../"),
            "backbone": record["recipe"].get("backbones", {}).get(record["backbone"], record["backbone"]),
            "numbers": _numbers(*values, rate),
            "conditions": ", ".join(filter(None, (size and f"{size} px", record["speed"]["hardware"]))),
        }


def _numbers(
    params: float | None, flops: float | None, rate: float | None = None, *, decimals: int = 2
) -> list[tuple[str, float | None]]:
    """Text and number of each; decimals: of the first two."""
    costs = [(number_text(value, decimals), value) for value in (params, flops)]
    return [*costs, (number_text(rate, 2), rate)]


def _place(place: ShownRow) -> dict[str, object]:
    """A row that shows a system by its table's first main metric, with its rank among the printed numbers."""
    rows = list(place.content.rows)
    cell = next(filter(None, map(place.row.cell, place.content.sheet.metrics)), place.row.cells[0])
    metric = cell.reported.metric
    peers = [other.cell(metric).reported.value for other in rows if other.cell(metric)]
    peers = [value for value in peers if value is not None]
    rank = None
    if cell.reported.value is not None:
        rank = 1 + sum(better(metric, value, cell.reported.value) for value in peers)
    return {
        "content": place.content,
        "row": place.row,
        "cell": cell,
        "components": ", ".join(place.row.components),
        "rank": rank,
        "rank_text": f"{rank} of {len(peers)}" if rank else NOTHING,
    }


def _span(values: Sequence[float]) -> tuple[str, float | None]:
    """Smallest to largest of several numbers as text, and the smallest to sort by."""
    if not values:
        return NOTHING, None
    low, high = min(values), max(values)
    texts = dict.fromkeys(number_text(value, 1) for value in (low, high))
    return " to ".join(texts), low
