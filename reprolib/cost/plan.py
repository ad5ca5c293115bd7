"""The cost of a profile: per run, per table and in total. What is not known is named, and counted as nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from reprolib.cost import storage
from reprolib.cost.speeds import Speeds, find_speeds
from reprolib.cost.work import Counts, SplitSizes, count, images_trained, split_sizes
from reprolib.evaluation.record import read_records
from reprolib.params import Profile, Run
from reprolib.pipeline.plan import profile_runs, table_by_id
from reprolib.tables.described import read_reports


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """One run: images through the network, and hours on the plan's hardware; None where not known."""

    run: Run
    done: bool  # it has a record
    measured: bool  # the hours rest on a record of this experiment, else on multiply-adds
    counts: Counts
    trained: int | None
    evaluated: int | None
    train_hours: float | None
    evaluate_hours: float | None
    unknown: tuple[str, ...]

    @property
    def hours(self) -> float:
        return (self.train_hours or 0.0) + (self.evaluate_hours or 0.0)

    @property
    def images(self) -> int:
        return (self.trained or 0) + (self.evaluated or 0)


@dataclass(frozen=True, kw_only=True)
class Sum:
    """What a set of runs costs; `unknown` says what is missing from the numbers."""

    runs: int
    images: int
    hours: float
    disk: int  # bytes
    download: int  # bytes
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableCost:
    """A table's cost on its own, and what it adds to the tables before it. absent: rows that the profile leaves out."""

    table: str
    alone: Sum
    adds: Sum
    absent: int


@dataclass(frozen=True, kw_only=True)
class CostPlan:
    """The cost of a profile on one kind of hardware. others: runs of the profile that no listed table shows."""

    profile: str
    speeds: Speeds
    runs: tuple[RunCost, ...]
    tables: tuple[TableCost, ...]
    others: Sum
    total: Sum
    left: Sum  # of the total: runs without a record, data sets not prepared here
    notes: tuple[str, ...]


def cost_plan(
    profile: Profile,
    *,
    every_row: bool = False,
    hardware: str = "",
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> CostPlan:
    """Count what all runs of a profile cost.

    every_row: also those that its tables show and its `experiments` do not list, as `reprolib repro --every-row`.
    hardware: part of a name of measured or published hardware; by default the one of the profile's records, else
    another that was measured and fits the profile, else a published GPU.
    say: takes a line of progress. Raises ParamsError for what cannot run, ValueError for hardware that is not known.
    """
    records = read_records(profile.results / "records")
    reports = read_reports(profile.results / "data")
    runs = profile_runs(_with_every_row(profile) if every_row else profile)
    speeds = find_speeds(profile, runs, records, hardware=hardware, say=say)
    costs = []
    for number, run in enumerate(runs, 1):
        if number % 10 == 0 or number == len(runs):
            say(f"counted {number} of {len(runs)} runs")
        sizes = split_sizes(run, reports.get(run.dataset))
        costs.append(_run_cost(run, done=run.id in records, sizes=sizes, counts=count(run), speeds=speeds))
    tables, seen = [], []
    for name in profile.tables:
        shown = {row.experiment.id for row in table_by_id(name).rows if row.experiment}
        needed = [cost for cost in costs if cost.run.experiment.id in shown]
        after = [*seen, *(cost for cost in needed if cost not in seen)]
        absent = len(shown - {cost.run.experiment.id for cost in needed})
        tables.append(TableCost(table=name, alone=total(needed), adds=_added(total(seen), total(after)), absent=absent))
        seen = after
    everything = total(costs)
    return CostPlan(
        profile=profile.name,
        speeds=speeds,
        runs=tuple(costs),
        tables=tuple(tables),
        others=_added(total(seen), everything),
        total=everything,
        left=_left(costs),
        notes=_notes(costs, reports),
    )


def _with_every_row(profile: Profile) -> Profile:
    shown = [row.experiment.id for name in profile.tables for row in table_by_id(name).rows if row.experiment]
    return replace(profile, experiments=tuple(dict.fromkeys([*profile.experiments, *shown])))


def total(costs: Sequence[RunCost], *, data: Sequence[RunCost] | None = None) -> Sum:
    """The sum over runs, what they share (data sets, pretrained weights) counted once.

    data: the runs whose data sets and weights are counted, where not all.
    """
    data = costs if data is None else data
    parts = [part for cost in data for part in storage.data_parts(cost.run.dataset, cost.run.dataset_options)]
    files, unsized = storage.download_bytes(parts)
    unpacked, unwritten = storage.unpacked_bytes(parts)
    backbones = sum({cost.counts.backbone: cost.counts.backbone_bytes for cost in data}.values())
    weights = sum(storage.weights_bytes(cost.counts) for cost in costs)
    under_way = max((storage.training_bytes(cost.counts, cost.run.schedule) for cost in costs), default=0)
    unknown = [text for cost in costs for text in cost.unknown]
    unknown += [f"size of {name}" for name in unsized] + [f"disk of data set {name}" for name in unwritten]
    return Sum(
        runs=len(costs),
        images=sum(cost.images for cost in costs),
        hours=sum(cost.hours for cost in costs),
        disk=files + unpacked + backbones + weights + under_way,
        download=files + backbones,
        unknown=tuple(dict.fromkeys(unknown)),
    )


def _run_cost(run: Run, *, done: bool, sizes: SplitSizes, counts: Counts, speeds: Speeds) -> RunCost:
    trained, evaluated = images_trained(run, sizes), sizes.val
    train, test, measured = speeds.of(run, counts)
    unknown = []
    if trained is None or evaluated is None:
        what = "images" if trained is None else "images to evaluate on"
        unknown.append(f"{what} of data set {run.dataset} ({sizes.source})")
    return RunCost(
        run=run,
        done=done,
        measured=measured,
        counts=counts,
        trained=trained,
        evaluated=evaluated,
        train_hours=None if trained is None else trained * train / 3600,
        evaluate_hours=None if evaluated is None else evaluated * test / 3600,
        unknown=tuple(unknown),
    )


def _left(costs: Sequence[RunCost]) -> Sum:
    waiting = [cost for cost in costs if not cost.done]
    missing = [cost for cost in waiting if not storage.is_prepared(cost.run.dataset, cost.run.dataset_options)]
    return total(waiting, data=missing)


def _added(before: Sum, after: Sum) -> Sum:
    names = ("runs", "images", "hours", "disk", "download")
    return Sum(
        **{name: getattr(after, name) - getattr(before, name) for name in names},
        unknown=tuple(text for text in after.unknown if text not in before.unknown),
    )


def _notes(costs: Sequence[RunCost], reports: Mapping[str, Mapping]) -> tuple[str, ...]:
    """Where the sizes of the data sets are from."""
    sources = {cost.run.dataset: split_sizes(cost.run, reports.get(cost.run.dataset)) for cost in costs}
    return tuple(
        f"{name}: {_number(sizes.train)} training and {_number(sizes.val)} validation images ({sizes.source})"
        for name, sizes in sources.items()
    )


def _number(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"
