"""The cost of a profile to read, and as JSON."""

from __future__ import annotations

from dataclasses import asdict

from tabulate import tabulate

from reprolib.cost.estimate import ProfileCost, RunCost, Sum
from reprolib.files import size_text


def text(cost: ProfileCost) -> str:
    """Runs, tables, the total, and what the numbers rest on."""
    hours = "GPU-hours" if cost.speeds.on_gpu else "hours"
    runs = tabulate(
        [_run_row(run) for run in cost.runs],
        headers=("", "run", "data set", "images", hours, "speed from"),
        colalign=("left", "left", "left", "right", "right", "left"),
        disable_numparse=True,
    )
    sums = [(f"{each.table}{f' (+{each.absent} left out)' * bool(each.absent)}", each.total) for each in cost.tables]
    tables = tabulate(
        [_sum_row(name, total) for name, total in [*sums, ("total", cost.total), ("of it left", cost.left)]],
        headers=("table", "runs", "images", hours, "disk", "download"),
        colalign=("left", *["right"] * 5),
        disable_numparse=True,
    )
    return "\n\n".join((runs, tables, "\n".join(_basis(cost))))


def as_json(cost: ProfileCost) -> dict[str, object]:
    """The same as plain values: hours, bytes, images; null where not known."""
    return {
        "profile": cost.profile,
        "hardware": cost.speeds.hardware,
        "runs": [
            {
                "run": run.run.id,
                "dataset": run.run.dataset,
                "record": run.done,
                "images_trained": run.trained,
                "images_evaluated": run.sizes.val,
                "images_source": run.sizes.source,
                "hours": run.hours,
                "speed_source": run.speed.source if run.speed else None,
                **asdict(run.model),
            }
            for run in cost.runs
        ],
        "tables": [
            {"table": each.table, "experiments_left_out": each.absent, **asdict(each.total)} for each in cost.tables
        ],
        "total": asdict(cost.total),
        "left": asdict(cost.left),
    }


def _basis(cost: ProfileCost) -> list[str]:
    unit = "GPU" if cost.speeds.on_gpu else "process"
    lines = [f"Hours are of one {unit}, {cost.speeds.hardware}; {_unknown_runs(cost.total)}."]
    if any(run.speed and run.speed.source == "same system" for run in cost.runs):
        lines.append("Same system: the mean of records of the same system, backbone and data, with other components.")
    if any(run.speed is None for run in cost.runs):
        lines.append("Unknown: neither a record on this hardware nor a published speed. Let one run of a system end.")
    lines.append(
        "Counted: training, and detecting with masks on the validation split. Not counted: data preparation, scoring"
        " and rendering (CPU), notebooks, predictions on disk. Experiments, data sets and pretrained weights that"
        " tables share are in the total once. Disk: archives, prepared data, three copies of the weights (results/,"
        " work/, DVC's cache), checkpoints of one run under way."
    )
    for name, sizes in {run.run.dataset: run.sizes for run in cost.runs}.items():
        train, val = ("unknown" if count is None else f"{count:,}" for count in (sizes.train, sizes.val))
        lines.append(f"Data: {name}: {train} training and {val} validation images ({sizes.source}).")
    return lines + [f"Not known, and counted as 0: {item}." for item in cost.total.unknown]


def _unknown_runs(total: Sum) -> str:
    if not total.unknown_hours:
        return "those of every run are known"
    return f"those of {total.unknown_hours} of {total.runs} runs are unknown and not in the sums (marked +N?)"


def _run_row(cost: RunCost) -> tuple[str, ...]:
    images = "?" if cost.trained is None else f"{cost.images:,}"
    hours = "unknown" if cost.hours is None else _hours(cost.hours)
    source = cost.speed.source if cost.speed else "unknown"
    return ("record" if cost.done else "not run", cost.run.id, cost.run.dataset, images, hours, source)


def _sum_row(name: str, total: Sum) -> tuple[str, ...]:
    return (
        name,
        str(total.runs),
        f"{total.images:,}",
        _sum_hours(total),
        size_text(total.disk),
        size_text(total.download),
    )


def _sum_hours(sums: Sum) -> str:
    if sums.runs and sums.unknown_hours == sums.runs:
        return "unknown"
    return _hours(sums.hours) + (f" +{sums.unknown_hours}?" if sums.unknown_hours else "")


def _hours(hours: float) -> str:
    if not hours:
        return "0"
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.3f}"
