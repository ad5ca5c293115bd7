"""Precision over recall of evaluated runs. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from reprolib.figures.pictures import NothingToDraw, Picture, draw_line, finish, house_style, new_figure
from reprolib.tables.layout import metric_label


@house_style
def precision_recall_curves(
    records: Mapping[str, Mapping], *, iou_type: str = "segm", title: str = "", note: str = ""
) -> Picture:
    """Precision over recall, averaged over classes, at IoU 0.5 and 0.75; one line per labelled record."""
    curves = {
        label: record["precision_recall"]
        for label, record in records.items()
        if record["precision_recall"].get(f"{iou_type}/50")
    }
    if not curves:
        raise NothingToDraw("no precision-recall curves: evaluate a run first")
    figure = new_figure(8.2, 3.6)
    for axes, threshold in zip(figure.subplots(1, 2, sharey=True), ("50", "75"), strict=True):
        for index, (label, curve) in enumerate(curves.items()):
            if curve.get(f"{iou_type}/{threshold}"):
                draw_line(axes, curve["recall"], curve[f"{iou_type}/{threshold}"], index, label)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", title=f"IoU ≥ 0.{threshold}")
    figure.axes[0].set_ylabel(f"{metric_label(iou_type + '/precision')}, mean over classes")
    figure.axes[0].legend(loc="lower left", fontsize=8)
    return finish(figure, title=title, note=note)
