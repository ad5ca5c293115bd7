"""Figures of the report as SVG text: readable in light and in dark, on their own and inside a page.

Colours are CSS variables that the figure's own style sheet sets for both schemes. matplotlib is imported on use.
"""

from __future__ import annotations

import html
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reprolib.figures.pictures import STYLE, in_style
from reprolib.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1b1b1b", "#5c5c5c", "#e3e3e3"

# Drawn colour -> variable, its value on white, its value on black. The eight of Okabe and Ito but black, which is ink;
# those too faint on one ground are darkened or lightened there.
PALETTE = {
    INK: ("ink", "#1b1b1b", "#ededed"),
    MUTED: ("muted", "#5c5c5c", "#a8a8a8"),
    GRID: ("grid", "#e3e3e3", "#3a3a3a"),
    "#0072b2": ("blue", "#0072b2", "#56b4e9"),
    "#d55e00": ("vermilion", "#d55e00", "#f0803c"),
    "#009e73": ("green", "#00805d", "#2fc79b"),
    "#cc79a7": ("purple", "#b35489", "#dd9cc2"),
    "#e69f00": ("orange", "#b07900", "#f0b93a"),
}
SERIES = tuple(colour for colour in PALETTE if colour not in (INK, MUTED, GRID))
MARKERS = ("o", "s", "^", "D", "v")

CLASS = "class-"  # an artist with the gid `class-<name>` gets the class <name> in the page

_REFERENCES = re.compile(r"""(?:url\(#|href="#)([^)"]+)""")
_FONTS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, repr=False)
class Drawing:
    """An SVG and what it shows in words, for readers who do not see it. `text` stands in a page or in a file."""

    text: str
    alt: str

    def save(self, path: str | Path) -> Drawing:
        """Write the file atomically; returns itself."""
        write_atomic(path, self.text)
        return self

    def _repr_svg_(self) -> str:
        return self.text


drawn = in_style(
    STYLE
    | {f"{name}.color": INK for name in ("text", "xtick", "ytick")}
    | {"axes.labelcolor": INK, "axes.edgecolor": MUTED, "grid.color": GRID, "svg.fonttype": "none"}
)


def finish(figure: Figure, *, name: str, alt: str) -> Drawing:
    """Draw as SVG on a transparent ground: same input, same text. name: unique among the figures of a page."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    kept = set(_REFERENCES.findall(text))
    text = re.sub(rf' id="{CLASS}([^"]*)"', r' class="mark \1"', text)
    text = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in kept else "", text)
    text = text.replace(' target="_blank"', "")
    for colour, (variable, _, _) in PALETTE.items():
        text = text.replace(colour, f"var(--{variable})")
    text = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", rf"font: \1{_FONTS}", text)
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', text)
    width = float(size[1])
    text = text.replace(size[0], f'width="{width * 4 / 3:.0f}" height="{float(size[2]) * 4 / 3:.0f}"', 1)
    head = f'<svg class="plot" role="img" aria-label="{html.escape(alt)}"'
    text = text.replace("<svg", head, 1)
    first = text.index(">", text.index("<svg")) + 1
    return Drawing(text=f"{text[:first]}\n <style>{_style()}</style>{text[first:]}", alt=alt)


def _style() -> str:
    def values(index: int) -> str:
        return ";".join(f"--{entry[0]}:{entry[index]}" for entry in PALETTE.values())

    return f".plot{{{values(1)}}}@media (prefers-color-scheme: dark){{.plot{{{values(2)}}}}}"
