"""The audit in one picture: the findings of each check in each paper."""

from __future__ import annotations

from collections.abc import Sequence

from reprolib.audit.finding import Severity
from reprolib.audit.run import Checked
from reprolib.figures.pictures import COLOURS, Picture, finish, house_style, new_figure
from reprolib.papers import catalog

SEVERITY_COLOURS = {Severity.ERROR: COLOURS[0], Severity.WARNING: COLOURS[4], Severity.NOTE: "#BBBBBB"}


@house_style
def findings_by_check(checked: Sequence[Checked], *, title: str = "", note: str = "") -> Picture:
    """A panel per paper, a bar per check: how many errors, warnings and notes; checks without findings last."""
    papers = catalog.papers()
    shown = sorted(checked, key=lambda check: -len(check.findings))
    figure = new_figure(2.4 + 1.55 * len(papers), 1.4 + 0.19 * len(shown))
    panels = figure.subplots(1, len(papers), sharey=True, sharex=True)
    for axes, paper in zip(panels, papers, strict=True):
        left = [0] * len(shown)
        for severity, colour in SEVERITY_COLOURS.items():
            counts = [sum((f.paper, f.severity) == (paper, severity) for f in check.findings) for check in shown]
            axes.barh(range(len(shown)), counts, left=left, color=colour, label=f"{severity}s")
            left = [a + b for a, b in zip(left, counts, strict=True)]
        for y, total in enumerate(left):
            if total:
                axes.annotate(f" {total}", (total, y), va="center", fontsize=7)
        axes.set(title=catalog.title(paper), xlabel="findings", xlim=(0, 1.2 * _most(checked)))
    panels[0].set_yticks(range(len(shown)), [check.name.replace("_", " ") for check in shown])
    panels[0].invert_yaxis()
    panels[-1].legend(loc="lower right", fontsize=8)
    return finish(figure, title=title, note=note)


def _most(checked: Sequence[Checked]) -> int:
    """The longest bar."""
    papers = catalog.papers()
    return max(sum(f.paper == paper for f in check.findings) for check in checked for paper in papers)
