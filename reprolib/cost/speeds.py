"""Which hardware a profile's hours are of, and how fast each of its runs is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from reprolib.cost.throughput import (
    ANCHORS,
    DEFAULT_HARDWARE,
    ENOUGH,
    Fit,
    Point,
    fit,
    published_hardware,
    recorded_hardware,
)
from reprolib.cost.work import Counts, count
from reprolib.evaluation.record import read_records
from reprolib.params import ParamsError, Profile, Run, load_profile, resolve
from reprolib.pipeline.plan import experiment_by_id, run_by_id


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Seconds per image on one kind of hardware. measured: by experiment, for training and for evaluation."""

    hardware: str
    source: str
    on_gpu: bool
    train: Fit
    test: Fit
    measured: Mapping[str, tuple[float, float]]
    elsewhere: str  # of a single point: how far the same method is off where several are known

    def of(self, run: Run, counts: Counts) -> tuple[float, float, bool]:
        """Seconds per image of training and evaluation, and whether they were measured of this very experiment."""
        if run.experiment.id in self.measured:
            return *self.measured[run.experiment.id], True
        return self.train.seconds(counts.train_flops), self.test.seconds(counts.test_flops), False


def find_speeds(
    profile: Profile,
    runs: Sequence[Run],
    records: Mapping[str, Mapping],
    *,
    hardware: str = "",
    say: Callable[[str], None],
) -> Speeds:
    """The speeds of a profile's runs; `hardware` and errors as `reprolib.cost.plan.cost_plan` says.

    records: of the profile, by run.
    """
    own = {name: record for name, record in records.items() if _timed(record)}
    # Other profiles' records, by (profile, run): their speeds carry over by their multiply-adds.
    other = {
        (path.parent.name, name): record
        for path in sorted(profile.results.parent.glob("*/records"))
        if path.parent != profile.results
        for name, record in read_records(path).items()
        if _timed(record)
    }
    known = [recorded_hardware(record) for record in [*own.values(), *other.values()]]
    known += [published_hardware(anchor) for anchor in ANCHORS]
    chosen = _chosen(known, hardware) if hardware else _default(runs, own, other)

    here = [record for record in own.values() if recorded_hardware(record) == chosen]
    there = {key: record for key, record in other.items() if recorded_hardware(record) == chosen}
    if here or there:
        taken = {(profile.name, record["run"]): record for record in here}
        if len({record["experiment"] for record in here}) < ENOUGH:
            taken |= there
        train, test, skipped = _recorded_points(taken, own=profile, say=say)
        if train:
            profiles = sorted({name for name, _ in taken})
            left_out = f", {skipped} left out whose experiment is gone" if skipped else ""
            return Speeds(
                hardware=chosen,
                source=f"{len(train)} records of profile {' and '.join(profiles)}{left_out}",
                on_gpu=any(str(record["training"]["device"]).startswith("cuda") for record in taken.values()),
                train=fit(train),
                test=fit(test),
                measured=_measured(here),
                elsewhere="" if len(train) > 1 else _elsewhere(),
            )
        chosen = DEFAULT_HARDWARE
    train, test, sources = _published_points(chosen)
    return Speeds(
        hardware=chosen,
        source=f"published: {'; '.join(sources)}. Speeds of those code bases, not of this one",
        on_gpu=True,
        train=fit(train),
        test=fit(test),
        measured={},
        elsewhere="" if len(train) > 1 else _elsewhere(),
    )


def _timed(record: Mapping) -> bool:
    return bool(record["training"].get("images_per_second")) and record["speed"]["images_per_second"] > 0


def _chosen(known: Sequence[str], wanted: str) -> str:
    found = sorted({name for name in known if wanted.lower() in name.lower()})
    if len(found) != 1:
        listed = "; ".join(found or sorted(set(known)))
        raise ValueError(f"--hardware {wanted!r} {'is ambiguous' if found else 'is not known'}; there are: {listed}")
    return found[0]


def _default(runs: Sequence[Run], own: Mapping, other: Mapping) -> str:
    """The hardware of most of the profile's records, else of most other records that fit, else the published one."""
    if own:
        names = [recorded_hardware(record) for record in own.values()]
    else:
        for_cpu = all(run.schedule.cpu_threads for run in runs)  # a profile for a CPU says its threads
        names = [
            recorded_hardware(record)
            for record in other.values()
            if for_cpu != str(record["training"]["device"]).startswith("cuda")
        ]
    return max(sorted(set(names)), key=names.count) if names else DEFAULT_HARDWARE


def _measured(records: Sequence[Mapping]) -> dict[str, tuple[float, float]]:
    """Mean seconds per image over the seeds of an experiment."""
    by_experiment: dict[str, list[Mapping]] = {}
    for record in records:
        by_experiment.setdefault(record["experiment"], []).append(record)
    return {
        name: tuple(
            sum(1 / record[part]["images_per_second"] for record in seeds) / len(seeds)
            for part in ("training", "speed")
        )
        for name, seeds in by_experiment.items()
    }


def _recorded_points(
    records: Mapping[tuple[str, str], Mapping], *, own: Profile, say: Callable[[str], None]
) -> tuple[list[Point], list[Point], int]:
    profiles = {own.name: own}
    train, test, skipped = [], [], 0
    for number, ((profile, name), record) in enumerate(records.items(), 1):
        if number % 10 == 0 or number == len(records):
            say(f"counted {number} of {len(records)} measured runs")
        try:
            if profile not in profiles:
                profiles[profile] = load_profile(profile)
            run = run_by_id(profiles[profile], name)
        except (ParamsError, FileNotFoundError):
            skipped += 1
            continue
        seen = record["cost"]["flops_input"]
        counts = count(run, aspect=seen[1] / seen[0] if seen else None)
        train.append(Point(name=name, flops=counts.train_flops, seconds=1 / record["training"]["images_per_second"]))
        flops = record["cost"]["flops"] or counts.test_flops
        test.append(Point(name=name, flops=flops, seconds=1 / record["speed"]["images_per_second"]))
    return train, test, skipped


def _published_points(hardware: str) -> tuple[list[Point], list[Point], list[str]]:
    train, test, sources = [], [], []
    paper = load_profile("paper")
    for anchor in ANCHORS:
        if published_hardware(anchor) != hardware:
            continue
        run = resolve(paper, experiment_by_id(anchor.experiment), 0)
        schedule = replace(run.schedule, min_sizes=anchor.short_sides, max_size=1333, test_size=800)
        counts = count(replace(run, schedule=schedule))
        if anchor.train_seconds:
            train.append(Point(name=anchor.experiment, flops=counts.train_flops, seconds=anchor.train_seconds))
        if anchor.test_seconds:
            test.append(Point(name=anchor.experiment, flops=counts.test_flops, seconds=anchor.test_seconds))
        sources.append(anchor.source)
    return train, test, list(dict.fromkeys(sources))


def _elsewhere() -> str:
    """How far scaling by multiply-adds is off on the published hardware of which several systems are known."""
    names = [published_hardware(anchor) for anchor in ANCHORS]
    several = max(names, key=names.count)
    train, test, _ = _published_points(several)
    systems = len(train)
    return (
        f"one system is known here; on {several}, where {systems} are, a system left out is missed by up to"
        f" x{fit(train).worst:.2f} in training and x{fit(test).worst:.2f} in evaluation"
    )
