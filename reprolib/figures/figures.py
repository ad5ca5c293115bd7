"""Figures of the notebooks: gains of ablations, precision-recall, training, masks. Imports no torch.

Every function returns a `Picture`, which a notebook shows and `save` writes, or raises NothingToDraw.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reprolib.figures.instances import by_image, draw_mask, pixel_mask, read_pixels
from reprolib.figures.pictures import COLOURS, GREY, NothingToDraw, Picture, finish, house_style, new_figure
from reprolib.tables.join import JoinedRow
from reprolib.tables.layout import metric_label, printed_components
from reprolib.tables.uncertainty import Interval, estimate_gain, paired

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

REPORTED, REPRODUCED = "#7F7F7F", COLOURS[1]
PART_COLOURS = ("#999999", *COLOURS[1:4], COLOURS[0])  # what is no network in grey and red


@house_style
def ablation_gains(
    rows: Sequence[JoinedRow],
    *,
    metric: str = "segm/AP",
    over: Sequence[int] = (),
    title: str = "",
    note: str = "",
) -> Picture:
    """Gain of every ablation row over the table's baseline: reported on the left, reproduced beside it.

    over: numbers of other rows; one more panel each for the reproduced gains over it. Every panel has its own axis
    because the levels differ by setting; zero is the row that is compared with. Reproduced bars carry their 95%
    interval where there is one, over the baseline for all rows together (`JoinedCell.delta_interval`). Raises
    NothingToDraw where the table is no ablation.
    """
    base = next((row for row in rows if row.is_baseline), None)
    shown = [row for row in rows if row.cell(metric) and row is not base and row.head.row_kind == "ablation"]
    if base is None or not shown:
        raise NothingToDraw(f"no ablation rows with {metric}")
    bases = [base, *(row for row in rows if row.number in over)]
    figure = new_figure(8.2 + 2.6 * (len(bases) - 1), 1.5 + 0.3 * len(shown))
    left, *panels = figure.subplots(1, 1 + len(bases), sharey=True)
    theirs = [row.cell(metric).delta_reported for row in shown]
    _bars(left, theirs, [None] * len(shown), colour=REPORTED, missing="not printed")
    names = [
        f"{row.number}  {row.head.method if row.extra else what_differs(row, base, rows)}"
        + (" ?" if row.head.components is None else "")
        for row in shown
    ]
    left.set_yticks(range(len(shown)), names)
    left.invert_yaxis()
    label = f"gain in {metric_label(metric)} over{' ' if len(bases) == 1 else chr(10)}row {{}}, points"
    left.set(title="reported", xlabel=label.format(base.number))
    for axes, other in zip(panels, bases, strict=True):
        gains = [_gain(row, other, metric) for row in shown]
        intervals = [_gain_interval(row, other, metric) for row in shown]
        _bars(axes, gains, intervals, colour=REPRODUCED, missing="not run")
        axes.set(title="reproduced", xlabel=label.format(other.number))
        if not any(value is not None for value in gains):
            axes.set_xlim(left.get_xlim())
    return finish(figure, title=title, note=note)


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
                _line(axes, curve["recall"], curve[f"{iou_type}/{threshold}"], index, label)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", title=f"IoU ≥ 0.{threshold}")
    figure.axes[0].set_ylabel(f"{metric_label(iou_type + '/precision')}, mean over classes")
    figure.axes[0].legend(loc="lower left", fontsize=8)
    return finish(figure, title=title, note=note)


@house_style
def training_curves(logs: Mapping[str, str | Path], *, title: str = "", note: str = "") -> Picture:
    """Total loss and learning rate over iterations; one line per labelled log (`training/<run>.jsonl`)."""
    histories = {label: _history(log) for label, log in logs.items()}
    histories = {label: history for label, history in histories.items() if history}
    if not histories:
        raise NothingToDraw("no training logs: train a run first")
    figure = new_figure(8.2, 3.4)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for index, (label, history) in enumerate(histories.items()):
        steps = [entry["iteration"] for entry in history]
        _line(left, steps, [entry["loss"] for entry in history], index, label)
        _line(right, steps, [entry["learning_rate"] for entry in history], index, label)
    left.set(xlabel="iteration", ylabel="total training loss", ylim=(0, None))
    right.set(xlabel="iteration", ylabel="learning rate", ylim=(0, None))
    right.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))
    left.legend(fontsize=8)
    return finish(figure, title=title, note=note)


@house_style
def loss_parts(log: str | Path, *, title: str = "", note: str = "") -> Picture:
    """The parts of one run's loss over iterations, one panel each with its own scale."""
    history = _history(log)
    names = list(history[0]["losses"]) if history else []
    if not names:
        raise NothingToDraw(f"{log}: no training log: train the run first")
    figure = new_figure(8.2, 2.4)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        steps = [entry["iteration"] for entry in history]
        _line(axes, steps, [entry["losses"][name] for entry in history], 1, name)
        axes.set(title=name.removeprefix("loss_").replace("_", " "), ylim=(0, None), xlabel="iteration")
        axes.tick_params(labelsize=7)
    return finish(figure, title=title, note=note)


@house_style
def latency_bars(systems: Mapping[str, Mapping], *, title: str = "", note: str = "") -> Picture:
    """Where the time of one image goes: a bar per system, its parts one behind the other.

    systems: by label what `benchmarks.speed` says of each: `parts` in milliseconds, `milliseconds` and `fps` of the
    whole, `network_fps` without post-processing, the last of the parts.
    """
    parts = list(next(iter(systems.values()))["parts"])
    figure = new_figure(8.2, 1.5 + 0.34 * len(systems))
    axes = figure.subplots()
    places, start = range(len(systems)), [0.0] * len(systems)
    for colour, part in zip(PART_COLOURS, parts, strict=True):
        widths = [entry["parts"][part] for entry in systems.values()]
        axes.barh(places, widths, left=start, color=colour, height=0.62, label=part)
        start = [left + width for left, width in zip(start, widths, strict=True)]
    for place, end, entry in zip(places, start, systems.values(), strict=True):
        text = f"{entry['milliseconds']:.1f} ms: {entry['fps']:.1f} FPS, {entry['network_fps']:.1f} without {parts[-1]}"
        axes.annotate(text, (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5)
    axes.set_yticks(places, list(systems))
    axes.invert_yaxis()
    axes.set(xlabel="milliseconds of one image", xlim=(0, 1.55 * max(start)))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=len(parts), fontsize=8)
    return finish(figure, title=title, note=note)


@house_style
def predictions_grid(
    images: str | Path,
    annotations: str | Path,
    results: Mapping[str, str | Path],
    *,
    count: int = 4,
    score: float = 0.5,
    title: str = "",
    note: str = "",
) -> Picture:
    """Ground truth beside predictions: a row per image, a column for the truth and one per labelled run.

    images: folder. annotations: COCO JSON. results: COCO results JSON by label; masks scored `score` and more are
    drawn, one colour per class. Of the images with objects, `count` are taken at equal steps.
    """
    from matplotlib.patches import Patch

    files = {label: Path(file) for label, file in results.items() if Path(file).is_file()}
    if not files:
        raise NothingToDraw("no predictions: evaluate a run first")
    truth = json.loads(Path(annotations).read_text())
    columns = {"ground truth": by_image(truth["annotations"])}
    columns |= {label: by_image(json.loads(file.read_text()), score=score) for label, file in files.items()}
    names = {category["id"]: category["name"] for category in truth["categories"]}
    colours = {category: COLOURS[index % len(COLOURS)] for index, category in enumerate(sorted(names))}
    entries = [entry for entry in truth["images"] if columns["ground truth"].get(entry["id"])]
    chosen = entries[:: max(1, len(entries) // count)][:count]
    figure = new_figure(2.3 * len(columns) + 0.9, 2.3 * len(chosen) + 0.7)
    panels = figure.subplots(len(chosen), len(columns), squeeze=False)
    used: set[int] = set()
    for place, (line, entry) in enumerate(zip(panels, chosen, strict=True)):
        pixels = read_pixels(Path(images) / entry["file_name"])
        for axes, (label, instances) in zip(line, columns.items(), strict=True):
            axes.imshow(pixels, interpolation="nearest")
            axes.set_axis_off()
            if place == 0:
                axes.set_title(textwrap.fill(label, 26), fontsize=9)
            for item in instances.get(entry["id"], []):
                used.add(item["category_id"])
                mask = pixel_mask(item["segmentation"], entry["height"], entry["width"])
                draw_mask(axes, mask, colours[item["category_id"]])
    if len(used) <= len(COLOURS):  # more classes share colours, and a legend would mislead
        patches = [Patch(color=colours[category], alpha=0.7, label=names[category]) for category in sorted(used)]
        figure.legend(handles=patches, loc="outside right upper", fontsize=8)
    return finish(figure, title=title, note=note)


def draw_instances(axes: Axes, image: np.ndarray, masks: np.ndarray, names: Sequence[str] = ()) -> None:
    """Draw instance masks over an image, one colour per instance, with the class name at the mask's top.

    image: uint8 [H, W, 3]; masks: bool or uint8 [N, H, W].
    """
    axes.imshow(image, interpolation="nearest")
    for index, mask in enumerate(masks):
        mask = mask.astype(bool)
        if not mask.any():
            continue
        colour = COLOURS[index % (len(COLOURS) - 1)]  # without black, which hides what it covers
        draw_mask(axes, mask, colour)
        if names:
            row = int(mask.any(axis=1).argmax())
            column = float(mask[row].nonzero()[0].mean())
            box = {"facecolor": "white", "alpha": 0.65, "pad": 0.6, "edgecolor": "none"}
            axes.text(column, row, names[index], fontsize=6, color="black", ha="center", va="bottom", bbox=box)


def _line(axes: Axes, xs: Sequence[float], ys: Sequence[float], index: int, label: str) -> None:
    dashes = ("-", "--", "-.", ":")[index // len(COLOURS) % 4]
    axes.plot(xs, ys, color=COLOURS[index % len(COLOURS)], linestyle=dashes, linewidth=1.4, label=label)


def _bars(
    axes: Axes, values: Sequence[float | None], intervals: Sequence[Interval | None], *, colour: str, missing: str
) -> None:
    """A bar per gain, its interval, and its value beyond both; `missing` where there is none."""
    axes.barh(range(len(values)), [value or 0.0 for value in values], color=colour, height=0.62)
    for place, (value, interval) in enumerate(zip(values, intervals, strict=True)):
        if interval:
            axes.plot([interval.low, interval.high], [place, place], color="black", linewidth=1.2)
        text = missing if value is None else f"{value:+.2f}".replace("-", "−")
        left = value is not None and value < 0
        end = value or 0.0
        if interval:
            end = interval.low if left else interval.high
        axes.annotate(
            text,
            (end, place),
            xytext=(-3 if left else 3, 0),
            textcoords="offset points",
            va="center",
            ha="right" if left else "left",
            fontsize=7.5,
            color=GREY if value is None else "black",
        )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.22)
    axes.tick_params(axis="y", length=0)


def what_differs(row: JoinedRow, base: JoinedRow, rows: Sequence[JoinedRow]) -> str:
    """The row's components; where the baseline has them all and more, those that it lacks."""
    parts, whole = printed_components(row, rows), printed_components(base, rows)
    if set(parts) < set(whole):
        return "without " + ", ".join(name for name in whole if name not in parts)
    return " + ".join(parts) or row.head.method


def _gain(row: JoinedRow, base: JoinedRow, metric: str) -> float | None:
    cells = [one.cell(metric) for one in (row, base)]
    if not all(cell and cell.measured.values for cell in cells):
        return None
    ours, theirs, _ = paired(*(cell.measured for cell in cells))
    return ours.mean - theirs.mean


def _gain_interval(row: JoinedRow, base: JoinedRow, metric: str) -> Interval | None:
    """As the table has it over its own baseline; over another row for this difference alone."""
    ours, theirs = row.cell(metric), base.cell(metric)
    if not ours or not theirs or row is base:
        return None
    if base.is_baseline:
        return ours.delta_interval
    found = estimate_gain(ours.measured, theirs.measured, noise=ours.noise)
    return found.interval() if found else None


def _history(log: str | Path) -> list[dict]:
    """The entries of a training log that hold a loss; none without a log.

    The last line of a run that was killed may be cut short; it is left out.
    """
    if not Path(log).is_file():
        return []
    history = []
    for line in Path(log).read_text().splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "loss" in entry and "iteration" in entry:
            history.append(entry)
    return history
