"""The cost of a profile: of each run, of each table and in total. What is unknown is named, and counted as nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reprolib.cost.speeds import Speed, Speeds, find_speeds
from reprolib.cost.weights import ModelSize, model_size, training_bytes, weights_bytes
from reprolib.data.sizes import SplitSizes, data_sources, download_bytes, is_prepared, split_sizes, unpacked_bytes
from reprolib.engine.schedules import total_iterations
from reprolib.evaluation.record import read_records
from reprolib.papers.addresses import profile_runs, profile_tables, table_by_id
from reprolib.params import Profile, Run
from reprolib.tables.data_reports import read_reports


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """One run on one kind of hardware."""

    run: Run
    done: bool  # it has a record
    sizes: SplitSizes
    trained: int | None  # images through the network in training; None: unknown
    speed: Speed | None  # None: unknown
    model: ModelSize

    @property
    def images(self) -> int:
        return (self.trained or 0) + (self.sizes.val or 0)

    @property
    def hours(self) -> float | None:
        if self.speed is None or self.trained is None or self.sizes.val is None:
            return None
        return (self.trained * self.speed.train + self.sizes.val * self.speed.evaluate) / 3600


@dataclass(frozen=True, kw_only=True)
class Sum:
    """What a set of runs costs, as far as it is known.

    unknown_hours: runs whose hours are unknown and not in `hours`. unknown: what else is missing from the numbers.
    """

    runs: int
    images: int
    hours: float
    unknown_hours: int
    disk: int  # bytes
    download: int  # bytes
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableCost:
    """What the runs that a table shows cost on their own. absent: its experiments that the profile leaves out."""

    table: str
    total: Sum
    absent: int


@dataclass(frozen=True, kw_only=True)
class ProfileCost:
    """The cost of a profile on one kind of hardware."""

    profile: str
    speeds: Speeds
    runs: tuple[RunCost, ...]
    tables: tuple[TableCost, ...]
    total: Sum
    left: Sum  # of the total: runs without a record, data sets not prepared here


def profile_cost(
    profile: Profile,
    *,
    hardware: str = "",
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> ProfileCost:
    """What all runs of a profile cost.

    hardware: see `reprolib.cost.speeds.find_speeds`. say: takes a line of progress.
    Raises ParamsError for what cannot run, ValueError for hardware that is not known.
    """
    tables = map(table_by_id, profile_tables(profile))
    shown = {table.id: {row.experiment.id for row in table.rows if row.experiment} for table in tables}
    records = read_records(profile.results / "records")
    speeds = find_speeds(records, hardware=hardware)
    reports = read_reports(profile.results / "data")
    models: dict[str, ModelSize] = {}  # by experiment: its seeds share the model
    costs = []
    runs = profile_runs(profile)
    for number, run in enumerate(runs, 1):
        if run.experiment.id not in models:
            models[run.experiment.id] = model_size(run)
        sizes = split_sizes(run.dataset, run.dataset_options, reports.get(run.dataset))
        costs.append(
            RunCost(
                run=run,
                done=run.id in records,
                sizes=sizes,
                trained=images_trained(run, sizes),
                speed=speeds.of(run),
                model=models[run.experiment.id],
            )
        )
        if number % 10 == 0 or number == len(runs):
            say(f"counted {number} of {len(runs)} runs")
    tables = []
    for name, experiments in shown.items():
        needed = [cost for cost in costs if cost.run.experiment.id in experiments]
        absent = len(experiments - {cost.run.experiment.id for cost in needed})
        tables.append(TableCost(table=name, total=total(needed), absent=absent))
    waiting = [cost for cost in costs if not cost.done]
    missing = [cost for cost in waiting if not is_prepared(cost.run.dataset, cost.run.dataset_options)]
    return ProfileCost(
        profile=profile.name,
        speeds=speeds,
        runs=tuple(costs),
        tables=tuple(tables),
        total=total(costs),
        left=total(waiting, data=missing),
    )


def images_trained(run: Run, sizes: SplitSizes) -> int | None:
    """Images through the network during training, repeats counted; None where the data set's size is not known."""
    if not run.schedule.iterations and sizes.train is None:
        return None
    return total_iterations(run.schedule, images=sizes.train or 1) * run.schedule.batch_size


def total(costs: Sequence[RunCost], *, data: Sequence[RunCost] | None = None) -> Sum:
    """The sum over runs, what they share (data sets, pretrained weights) counted once.

    data: the runs whose data sets and pretrained weights are counted, where not all.
    """
    data = costs if data is None else data
    sources = [part for cost in data for part in data_sources(cost.run.dataset, cost.run.dataset_options)]
    files, unsized = download_bytes(sources)
    unpacked, unwritten = unpacked_bytes(sources)
    backbones = sum({cost.model.backbone: cost.model.backbone_bytes for cost in data}.values())
    weights = sum(weights_bytes(cost.model) for cost in costs)
    under_way = max((training_bytes(cost.model, cost.run.schedule) for cost in costs), default=0)
    uncounted = [cost for cost in costs if cost.trained is None or cost.sizes.val is None]
    unknown = [f"images of data set {cost.run.dataset} ({cost.sizes.source})" for cost in uncounted]
    unknown += [f"size of {name}" for name in unsized] + [f"disk of data set {name}" for name in unwritten]
    hours = [cost.hours for cost in costs]
    return Sum(
        runs=len(costs),
        images=sum(cost.images for cost in costs),
        hours=sum(value for value in hours if value is not None),
        unknown_hours=hours.count(None),
        disk=files + unpacked + backbones + weights + under_way,
        download=files + backbones,
        unknown=tuple(dict.fromkeys(unknown)),
    )
