"""A network drawn as boxes and arrows. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reprolib.figures.pictures import COLOURS, DPI, GREY, Picture, finish, house_style, new_figure
from reprolib.models.drawing.diagram import Block, Diagram, Flow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

COLUMN, ROW = 1.45, 0.5  # inches
BOX_WIDTH, BOX_HEIGHT = 0.84, 0.66  # shares of a column, a row
MARGIN = 0.06, 0.14  # of a frame around its blocks, in columns and rows
TITLE = 0.3  # rows above a frame's blocks
SMALLEST = 5.0  # points


@house_style
def draw_network(diagram: Diagram, *, title: str = "", note: str = "") -> Picture:
    """The diagram's blocks, a frame around those of one kind, and its arrows; dashed ones are boxes, not features."""
    edges = [_sides(block) for block in diagram.blocks]
    corners = [corner for flow in diagram.flows for corner in flow.via]
    left = min(edge[0] for edge in edges) - 0.16
    right = max([*(edge[1] for edge in edges), *(corner[0] for corner in corners)]) + 0.16
    top, bottom = min(edge[2] for edge in edges) - 0.6, max(edge[3] for edge in edges) + 0.3
    figure = new_figure((right - left) * COLUMN, (bottom - top) * ROW + (0.3 if title else 0) + (0.3 if note else 0))
    axes = figure.subplots()
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.set_axis_off()
    kinds = [kind for kind in diagram.kinds if kind]
    families = list(dict.fromkeys(map(_family, kinds)))
    colours = {kind: COLOURS[families.index(_family(kind)) % (len(COLOURS) - 1)] for kind in kinds}
    frames = {kind: _frame(axes, kind, diagram.of(kind), colours[kind]) for kind in kinds}
    blocks = {block.name: block for block in diagram.blocks}
    for flow in diagram.flows:
        source = frames.get(flow.source) or _sides(blocks[flow.source])
        _arrow(axes, flow, source, _sides(blocks[flow.target]))
    texts = [text for block in diagram.blocks for text in _box(axes, block, colours.get(block.kind, GREY))]
    figure.set_dpi(DPI)  # letters are placed by whole pixels, so that a text's width depends on it
    figure.draw_without_rendering()
    for text, room in texts:
        _shrink(text, room, axes)
    return finish(figure, title=title, note=note)


Sides = tuple[float, float, float, float]  # left, right, top, bottom


def _sides(block: Block) -> Sides:
    width = block.span - 1 + BOX_WIDTH
    return block.x - width / 2, block.x + width / 2, block.y - BOX_HEIGHT / 2, block.y + BOX_HEIGHT / 2


def _frame(axes: Axes, kind: str, blocks: list[Block], colour: str) -> Sides:
    sides = [_sides(block) for block in blocks]
    left, right = min(s[0] for s in sides) - MARGIN[0], max(s[1] for s in sides) + MARGIN[0]
    top, bottom = min(s[2] for s in sides) - MARGIN[1] - TITLE, max(s[3] for s in sides) + MARGIN[1]
    _rectangle(axes, (left, right, top, bottom), face=_tint(colour, 0.1), edge=_tint(colour, 0.4))
    ground = {"facecolor": _tint(colour, 0.1), "edgecolor": "none", "pad": 0.5}  # arrows pass behind
    text = {"fontsize": 8, "color": GREY, "style": "italic", "ha": "left", "va": "top", "zorder": 4}
    axes.text(left + 0.05, top + 0.06, kind, bbox=ground, **text)
    return left, right, top, bottom


def _box(axes: Axes, block: Block, colour: str) -> list[tuple[Text, float]]:
    """Draw it; returns its texts, each with the width that it has, in columns."""
    left, right, top, bottom = _sides(block)
    _rectangle(axes, (left, right, top, bottom), face=_tint(colour, 0.28), edge=colour, zorder=4)
    placed = {"ha": "center", "zorder": 5}
    middle = (top + bottom) / 2
    texts = [axes.text(block.x, middle - 0.02, block.name, fontsize=8, fontweight="bold", va="bottom", **placed)]
    texts.append(axes.text(block.x, middle + 0.02, block.text, fontsize=7.5, va="top", **placed))
    return [(text, 0.97 * (right - left)) for text in texts]


def _rectangle(axes: Axes, sides: Sides, *, face: str, edge: str, zorder: int = 1) -> None:
    from matplotlib.patches import Rectangle

    left, right, top, bottom = sides
    axes.add_patch(
        Rectangle((left, top), right - left, bottom - top, facecolor=face, edgecolor=edge, linewidth=0.8, zorder=zorder)
    )


def _arrow(axes: Axes, flow: Flow, source: Sides, target: Sides) -> None:
    """From side to side, or along the corners; the last piece has the head."""
    stops = [(x, x, y, y) for x, y in flow.via]
    start, _ = _joined(source, [*stops, target][0])
    _, end = _joined([source, *stops][-1], target)
    points = [start, *flow.via, end]
    style = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (3, 2)) if flow.dashed else "-"}
    axes.plot(*zip(*points[:-1], strict=True), **style, zorder=2)
    head = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}
    axes.annotate("", xy=points[-1], xytext=points[-2], zorder=3, arrowprops=head | style)
    if flow.label:
        middle = [sum(pair) / 2 for pair in zip(*points[-2:], strict=True)]
        upright = points[-1][0] == points[-2][0]
        place = {"ha": "left", "va": "center"} if upright else {"ha": "center", "va": "bottom"}
        offset = (3, 0) if upright else (0, 1)
        axes.annotate(
            flow.label, middle, xytext=offset, textcoords="offset points", fontsize=7, color=GREY, zorder=5, **place
        )


def _joined(first: Sides, second: Sides) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where a straight line leaves the first rectangle and reaches the second."""
    x = _common(first[:2], second[:2])
    if x is not None:  # above each other
        down = first[3] <= second[2]
        return (x, first[3] if down else first[2]), (x, second[2] if down else second[3])
    y = _common(first[2:], second[2:])
    forward = first[1] <= second[0]
    ends = [
        (x1 if forward == leaves else x0, (y0 + y1) / 2 if y is None else y)
        for (x0, x1, y0, y1), leaves in ((first, True), (second, False))
    ]
    return ends[0], ends[1]


def _common(first: Sequence[float], second: Sequence[float]) -> float | None:
    """The middle of what two stretches share; None where that is less than half of the shorter one."""
    low, high = max(first[0], second[0]), min(first[1], second[1])
    return (low + high) / 2 if high - low >= min(first[1] - first[0], second[1] - second[0]) / 2 else None


def _tint(colour: str, share: float) -> tuple[float, ...]:
    """The colour on white, of which `share` is colour."""
    from matplotlib.colors import to_rgb

    return tuple(1 - share * (1 - part) for part in to_rgb(colour))


def _family(kind: str) -> str:
    """Stage 1 and stage 2 are of one."""
    return re.sub(r"[\d.]+", "", kind)


def _shrink(text: Text, room: float, axes: Axes) -> None:
    """Make a text smaller that is wider than its box."""
    wide = text.get_window_extent().transformed(axes.transData.inverted()).width
    if wide > room:
        text.set_fontsize(max(SMALLEST, text.get_fontsize() * room / wide))
