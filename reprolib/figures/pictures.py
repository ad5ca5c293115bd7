"""A drawn figure that notebooks show and files keep: same input, same bytes. matplotlib is imported on use."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from reprolib.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers; their yellow is left out for want of contrast.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#555555"
LABEL_GROUND = {"facecolor": "black", "alpha": 0.55, "pad": 0.6, "edgecolor": "none"}  # behind a text on a picture
DPI = 130
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


Draw = TypeVar("Draw", bound=Callable)


class NothingToDraw(ValueError):
    """There are no records, logs or predictions yet; the message says what makes them."""


@dataclass(frozen=True, repr=False)
class Picture:
    """A PNG. A notebook shows it as the last value of a cell."""

    png: bytes

    def save(self, path: str | Path) -> Picture:
        """Write the file atomically; returns itself, so that a cell can save and show."""
        write_atomic(path, self.png)
        return self

    def __repr__(self) -> str:
        return f"<picture, {len(self.png):,} bytes>"

    def _repr_png_(self) -> bytes:
        return self.png


def in_style(style: Mapping[str, object]) -> Callable[[Draw], Draw]:
    """A decorator that draws with these settings of matplotlib, leaving them as they were."""

    def decorate(draw: Draw) -> Draw:
        @functools.wraps(draw)
        def styled(*arguments, **named):
            import matplotlib

            with matplotlib.rc_context(style):
                return draw(*arguments, **named)

        return styled

    return decorate


house_style = in_style(STYLE)


def draw_or_say(draw: Callable[..., Picture], *arguments, path: str | Path, **named) -> Picture | None:
    """Draw and save to `path`; where there is nothing to draw yet, say so and return None."""
    try:
        return draw(*arguments, **named).save(path)
    except NothingToDraw as reason:
        print(f"nothing to draw: {reason}")
        return None


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches. Not pyplot: no global state, and nothing is shown twice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_line(axes: Axes, xs: Sequence[float], ys: Sequence[float], index: int, label: str) -> None:
    """A line of a series; index: its place among the series, which gives its colour and dashes."""
    dashes = ("-", "--", "-.", ":")[index // len(COLOURS) % 4]
    axes.plot(xs, ys, color=COLOURS[index % len(COLOURS)], linestyle=dashes, linewidth=1.4, label=label)


def draw_box(axes: Axes, box: Sequence[float], colour: str, *, width: float, zorder: int = 1) -> tuple[float, float]:
    """Outline a box, xyxy in px of the picture; returns its corner at the left and top, where a text can stand."""
    from matplotlib.patches import Rectangle

    left, top, right, bottom = (side - 0.5 for side in box)  # a pixel's centre is at a whole number
    line = {"edgecolor": colour, "linewidth": width, "zorder": zorder}
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **line))
    return left, top


def note_height(note: str, width: float) -> float:
    """The room in inches that `finish` needs for a note below a figure of that width."""
    return max(0.4, 0.1 + 0.15 * len(_note_lines(note, width))) if note else 0.0


def finish(figure: Figure, *, title: str, note: str) -> Picture:
    """Title above, note (for example that a profile is a demo) below, drawn as PNG."""
    if title:
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    if note:
        figure.supxlabel("\n".join(_note_lines(note, figure.get_figwidth())), fontsize=7, color=GREY, x=0.01, ha="left")
    buffer = io.BytesIO()
    # The software's version would change the bytes from one machine to the next.
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return Picture(buffer.getvalue())


def _note_lines(note: str, width: float) -> list[str]:
    return textwrap.wrap(note, int(width * 17))
