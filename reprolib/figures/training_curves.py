"""Losses and learning rate of training runs, from their logs. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from reprolib.figures.pictures import NothingToDraw, Picture, draw_line, finish, house_style, new_figure


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
        draw_line(left, steps, [entry["loss"] for entry in history], index, label)
        draw_line(right, steps, [entry["learning_rate"] for entry in history], index, label)
    left.set(xlabel="iteration", ylabel="total training loss", ylim=(0, None))
    right.set(xlabel="iteration", ylabel="learning rate", ylim=(0, None))
    right.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))
    left.legend(fontsize=8)
    return finish(figure, title=title, note=note)


@house_style
def loss_terms(log: str | Path, *, title: str = "", note: str = "") -> Picture:
    """The terms of one run's loss over iterations, one panel each with its own scale."""
    history = _history(log)
    names = list(history[0]["losses"]) if history else []
    if not names:
        raise NothingToDraw(f"{log}: no training log: train the run first")
    figure = new_figure(8.2, 2.4)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        steps = [entry["iteration"] for entry in history]
        draw_line(axes, steps, [entry["losses"][name] for entry in history], 1, name)
        axes.set(title=name.removeprefix("loss_").replace("_", " "), ylim=(0, None), xlabel="iteration")
        axes.tick_params(labelsize=7)
    return finish(figure, title=title, note=note)


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
