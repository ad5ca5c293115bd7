"""`reprolib repro`: `dvc repro`, with a profile's runs side by side where its recipe leaves cores free.

DVC runs one stage after the other. Its locks are held around a stage's command and not during it, so several `dvc
repro --single-item`, each on the stages of one run, can share a working tree; what comes before and after the runs is
left to one plain `dvc repro`.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence

from reprolib.experiment import Experiment
from reprolib.papers.addresses import (
    profile_lists,
    profile_papers,
    profile_runs,
    profile_tables,
    resolve_addresses,
    table_by_id,
    table_of_address,
)
from reprolib.papers.catalog import all_tables
from reprolib.params import Profile, Run, resolve
from reprolib.pipeline.dvc import dvc, repro_commands, stages_of, stale
from reprolib.pipeline.matrix import write_matrix
from reprolib.pipeline.repro_time import Clock, breakdown, store, text
from reprolib.pipeline.side_by_side import default_jobs, on_cpu, shared_cores, side_by_side, stages_side_by_side
from reprolib.pipeline.warm import warm_processes
from reprolib.tables.data_reports import prepared_name


def repro(profile: Profile, *, addresses: Sequence[str] = (), listed: bool = False, jobs: int | None = None) -> None:
    """Bring the active profile up to date, or only what `addresses` name: experiments, rows and tables.

    Experiments that the profile does not list are outside the pipeline: trained and evaluated where they have no
    record, and not again when code changes. listed: leave them out. jobs: runs at a time; by default as many as the
    cores hold (see `default_jobs`). Raises ReproError, and ParamsError for an address that names nothing.
    """
    if write_matrix(profile):
        print("matrix.yaml now holds what params.yaml lists; commit it with params.yaml.", flush=True)
    if addresses:
        _repro_part(profile, addresses, listed=listed, jobs=jobs or default_jobs(profile))
    elif stale():
        _repro_all(profile, jobs=jobs or default_jobs(profile))
    else:
        print(f"Nothing to do: data and pipeline of profile {profile.name} are up to date.", flush=True)


def _repro_all(profile: Profile, *, jobs: int) -> None:
    clock = Clock()
    with _processes(jobs):
        with clock.phase("data and plan"):
            bring_plan_up_to_date(profile, jobs=jobs)
        with clock.phase("runs"):
            runs, seconds = _bring_up_to_date(runs_of(profile), jobs=jobs)
        if jobs > 1:
            with clock.phase("tables"):
                stages_side_by_side([f"tables@{name}" for name in profile_tables(profile)], jobs=jobs)
            with clock.phase("papers"):
                papers = [f"papers@{name}" for name in profile_papers(profile)]
                stages_side_by_side([*papers, "audit", "systems"], jobs=jobs)
        with clock.phase("report" if jobs > 1 else "tables, papers and report"):
            dvc("repro")
    _tell_time(profile, clock, runs, seconds, jobs)


def _repro_part(profile: Profile, addresses: Sequence[str], *, listed: bool, jobs: int) -> None:
    runs = runs_of(profile, addresses)
    unlisted = [] if listed else [run.id for run in _unlisted_runs(profile, addresses)]
    unlisted = [run for run in unlisted if not (profile.results / "records" / f"{run}.json").is_file()]
    tables = [table for table in profile_tables(profile) if table in {table_of_address(name) for name in addresses}]
    clock = Clock()
    with _processes(jobs):
        with clock.phase("data and plan"):
            bring_plan_up_to_date(profile, addresses, listed=listed, jobs=jobs)
        with clock.phase("runs"):
            changed, seconds = _bring_up_to_date(runs, jobs=jobs)
            side_by_side(unlisted, _verb_commands, jobs=jobs)
        if tables:
            with clock.phase("tables"):
                dvc("repro", "--single-item", *[f"tables@{name}" for name in tables])
    _tell_time(profile, clock, changed, seconds, jobs)


def bring_plan_up_to_date(
    profile: Profile, addresses: Sequence[str] = (), *, listed: bool = True, jobs: int = 1
) -> None:
    """Prepare the data sets and write what each run depends on; with addresses, only the data sets that they need.

    listed, jobs: see `repro`.
    """
    names = _datasets(profile, addresses, listed=listed) if addresses else profile.data
    data = [f"data@{name}" for name in names]
    if jobs > 1:
        stages_side_by_side(data, jobs=jobs)
        data = []
    dvc("repro", "--single-item", *data, "plan")


def runs_of(profile: Profile, addresses: Sequence[str] = ()) -> list[str]:
    """Ids of the runs that the profile lists, all of them or those that `addresses` name too."""
    named = {experiment.id for experiment in _experiments(addresses)}
    return [run.id for run in profile_runs(profile) if not addresses or run.experiment.id in named]


def _experiments(addresses: Sequence[str]) -> list[Experiment]:
    """What is to run; a table whose rows all describe data can be rendered and needs no run."""
    without_runs = {name for name, table in all_tables().items() if not any(row.experiment for row in table.rows)}
    return resolve_addresses(name for name in addresses if name not in without_runs)


def _unlisted_runs(profile: Profile, addresses: Sequence[str]) -> list[Run]:
    unlisted = [experiment for experiment in _experiments(addresses) if not profile_lists(profile, experiment)]
    return [resolve(profile, experiment, seed) for experiment in unlisted for seed in profile.seeds]


def _datasets(profile: Profile, addresses: Sequence[str], *, listed: bool) -> list[str]:
    """The data sets that the pipeline prepares and that the addresses' runs read or their tables describe."""
    runs = [run for run in profile_runs(profile) if run.id in runs_of(profile, addresses)]
    runs += [] if listed else _unlisted_runs(profile, addresses)
    tables = filter(None, map(table_of_address, addresses))
    described = {
        prepared_name(profile, row.dataset) for name in tables for row in table_by_id(name).rows if row.dataset
    }
    needed = {run.dataset for run in runs} | described
    return [name for name in profile.data if name in needed]


@contextlib.contextmanager
def _processes(jobs: int):
    """Cores and warm processes for what runs side by side on a CPU."""
    with contextlib.ExitStack() as around:
        if jobs > 1 and on_cpu():
            around.enter_context(shared_cores(jobs))
            around.enter_context(warm_processes())
        yield


def _bring_up_to_date(runs: Sequence[str], *, jobs: int) -> tuple[list[str], float]:
    """Train and evaluate those of the runs that have changed; returns them, and their seconds in sum."""
    if not runs:  # without a target dvc would look at everything
        return [], 0.0
    changed = set(stale(*stages_of(*runs)))
    runs = [run for run in runs if changed.intersection(stages_of(run))]
    if jobs > 1:
        return runs, side_by_side(runs, repro_commands, jobs=jobs)
    began = time.monotonic()
    if runs:
        dvc("repro", "--single-item", *stages_of(*runs))
    return runs, time.monotonic() - began


def _verb_commands(run: str) -> list[list[str]]:
    """The commands of a run that is no stage of the pipeline."""
    experiment, _, seed = run.rpartition("-")
    return [[sys.executable, "-m", "reprolib", verb, experiment, "--seed", seed] for verb in ("train", "evaluate")]


def _tell_time(profile: Profile, clock: Clock, runs: Sequence[str], seconds: float, jobs: int) -> None:
    times = breakdown(profile, clock, runs=runs, seconds=seconds, jobs=jobs)
    store(profile, times)
    print(text(times), flush=True)
