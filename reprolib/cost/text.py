"""A cost plan to read, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from tabulate import tabulate

from reprolib.cost.plan import CostPlan, RunCost, Sum
from reprolib.cost.throughput import Fit


def text(plan: CostPlan) -> str:
    """Runs, tables, the total, and what the numbers rest on."""
    hours = "GPU-hours" if plan.speeds.on_gpu else "hours"
    runs = tabulate(
        [_run_row(cost) for cost in plan.runs],
        headers=("", "run", "data set", "images", hours),
        colalign=("left", "left", "left", "right", "right"),
        disable_numparse=True,
    )
    rows = []
    for table in plan.tables:
        absent = f" (+{table.absent} not in the profile)" if table.absent else ""
        rows.append((table.table, f"{table.alone.runs}{absent}", *_amounts(table.alone), *_adds(table.adds)))
    if plan.others.runs:
        rows.append(("in no table", str(plan.others.runs), *_amounts(plan.others), *_adds(plan.others)))
    rows.append(("total", str(plan.total.runs), *_amounts(plan.total), "", "", "", ""))
    rows.append(("of it left", str(plan.left.runs), *_amounts(plan.left), "", "", "", ""))
    tables = tabulate(
        rows,
        headers=("table", "runs", "images", hours, "disk", "download", "adds: runs", hours, "disk", "download"),
        colalign=("left", "left", *["right"] * 8),
        disable_numparse=True,
    )
    return "\n\n".join((runs, tables, "\n".join(_basis(plan))))


def as_json(plan: CostPlan) -> dict[str, object]:
    """The same as plain values: hours, bytes, images; null where not known."""
    speeds = plan.speeds
    return {
        "profile": plan.profile,
        "hardware": speeds.hardware,
        "throughput": {
            "source": speeds.source,
            "train": _fit_json(speeds.train),
            "evaluate": _fit_json(speeds.test),
            "elsewhere": speeds.elsewhere,
        },
        "runs": [
            {
                "run": cost.run.id,
                "dataset": cost.run.dataset,
                "record": cost.done,
                "hours_measured": cost.measured,
                "images_trained": cost.trained,
                "images_evaluated": cost.evaluated,
                "train_hours": cost.train_hours,
                "evaluate_hours": cost.evaluate_hours,
                **asdict(cost.counts),
            }
            for cost in plan.runs
        ],
        "tables": [
            {"table": one.table, "rows_not_in_profile": one.absent, **_sum_json(one.alone), "adds": _sum_json(one.adds)}
            for one in plan.tables
        ],
        "in_no_table": _sum_json(plan.others),
        "total": _sum_json(plan.total),
        "left": _sum_json(plan.left),
        "notes": list(plan.notes),
    }


def _basis(plan: CostPlan) -> list[str]:
    speeds = plan.speeds
    estimated = [cost for cost in plan.runs if not cost.measured]
    shares = {"measured": len(plan.runs) - len(estimated), "from multiply-adds": len(estimated)}
    lines = [
        f"Hours are of one {'GPU' if speeds.on_gpu else 'process'}, {speeds.hardware} ({speeds.source});"
        f" {', '.join(f'{number} runs {how}' for how, number in shares.items() if number)}."
    ]
    lines.append(
        "Error of what is from multiply-adds: "
        + (speeds.elsewhere or f"{_error('training', speeds.train)}; {_error('evaluation', speeds.test)}")
        + "."
    )
    if estimated and speeds.measured == {}:
        lines.append("None of these runs was measured on that hardware: let one run end, and plan again.")
    lines.append(
        "Counted: training, and detecting with masks on the validation split. Not counted: data preparation, scoring"
        " and rendering (CPU), notebooks, predictions on disk. Experiments, data sets and pretrained weights that"
        " tables share are in the total once; `adds` is what a table adds to those above it. Disk: archives, prepared"
        " data, three copies of the weights (results/, work/, DVC's cache), checkpoints of one run under way."
    )
    lines += [f"Data: {note}." for note in plan.notes]
    lines += [f"Not known, and counted as 0: {item}." for item in plan.total.unknown]
    return lines


def _error(what: str, fit: Fit) -> str:
    mean = sum(fit.ratios) / len(fit.ratios)
    return (
        f"{what}, each of {fit.points} measured runs left out of the fit: missed by x{fit.typical:.2f} in the median,"
        f" x{fit.worst:.2f} at worst, the mean ratio is {mean:.2f}"
    )


def _run_row(cost: RunCost) -> tuple[str, ...]:
    images = "?" if cost.trained is None else f"{cost.images:,}"
    hours = "?" if cost.train_hours is None else _hours(cost.hours)
    return ("record" if cost.done else "not run", cost.run.id, cost.run.dataset, images, hours)


def _amounts(sums: Sum) -> tuple[str, ...]:
    return f"{sums.images:,}", _hours(sums.hours), size(sums.disk), size(sums.download)


def _adds(sums: Sum) -> tuple[str, ...]:
    return str(sums.runs), _hours(sums.hours), size(sums.disk), size(sums.download)


def _hours(hours: float) -> str:
    if not hours:
        return "0"
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.3f}"


def size(count: int) -> str:
    """Bytes in the unit that one reads easily, powers of 1000 as disks are sold."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"


def _fit_json(fit: Fit) -> Mapping[str, object]:
    return {
        "seconds_fixed": fit.fixed,
        "seconds_per_multiply_add": fit.slope,
        "points": fit.points,
        "left_out_median_factor": fit.typical,
        "left_out_worst_factor": fit.worst,
    }


def _sum_json(sums: Sum) -> dict[str, object]:
    return asdict(sums) | {"unknown": list(sums.unknown)}
