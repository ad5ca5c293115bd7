"""Submit a profile's missing runs, follow them, send lost ones again, and take home what they made."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reprolib.evaluation.environment import git_state
from reprolib.files import write_json
from reprolib.params import Profile
from reprolib.pipeline.dvc import stages_of, stale
from reprolib.pipeline.matrix import write_matrix
from reprolib.pipeline.repro import bring_plan_up_to_date, runs_of
from reprolib.pipeline.runs.paths import WORK
from reprolib.pipeline.side_by_side import default_jobs
from reprolib.pipeline.submit import queue
from reprolib.pipeline.submit.order import (
    ROOT,
    Order,
    SubmitError,
    add_job,
    clear,
    folder_of,
    held,
    plan_paths,
    read,
    write_order,
)
from reprolib.pipeline.submit.queue import QUEUED, RUNNING
from reprolib.pipeline.submit.send import send
from reprolib.pipeline.submit.table import CANCELLED, DONE, FAILED, FINISHED, LOST, NEVER, line, row, tries

OPEN = (QUEUED, RUNNING)
DAY_MIN, YEAR_MIN = 24 * 60, 365 * 24 * 60


@dataclass(frozen=True, kw_only=True)
class Options:
    """How runs are executed. See `reprolib submit --help`."""

    cluster: str = "local"
    workers: int = 0
    gpus: int = 1
    settings: Mapping[str, object] | None = None
    remote: str = ""
    retries: int = 2


def submit(profile: Profile, options: Options, *, addresses: Sequence[str] = (), follow: bool = True) -> bool:
    """Submit the runs that are neither done nor under way; returns whether all of them are done at the end.

    addresses: only the runs of these experiments, rows and tables. follow: wait for them, telling what happens, and
    send lost ones again. Raises SubmitError.
    """
    with held(ROOT / profile.name / "leader", wait=False, whose="another `reprolib submit` follows these runs"):
        queue.check(options.cluster)
        write_matrix(profile)
        runs = _runs(profile, addresses)
        bring_plan_up_to_date(profile, addresses)
        missing = _missing(runs, remote=options.remote)
        folders = {run: folder_of(profile, run) for run in missing}
        states = _states(folders)
        wanted = [run for run in missing if states[run] not in OPEN]
        if wanted:
            _order(profile, wanted, folders, options)
            _send(profile, wanted, folders, options, first=True)
        print(f"{len(runs)} runs: {len(runs) - len(missing)} done, {len(missing) - len(wanted)} under way,", end=" ")
        print(f"{len(wanted)} submitted to {options.cluster}", flush=True)
        return not missing if not follow else _follow(profile, folders, options)


def _runs(profile: Profile, addresses: Sequence[str]) -> list[str]:
    if runs := runs_of(profile, addresses):
        return runs
    raise SubmitError(
        f"profile {profile.name!r} lists none of {', '.join(addresses) or 'its runs'}: add them to `experiments` in"
        " params.yaml and commit it"
    )


def status(profile: Profile, *, addresses: Sequence[str] = ()) -> list[dict[str, object]]:
    """For each run: run, state, job, tries, where, progress and log; changes nothing. Raises SubmitError."""
    runs = _runs(profile, addresses)
    changed = set(stale(*stages_of(*runs)))
    folders = {run: folder_of(profile, run) for run in runs if changed.intersection(stages_of(run))}
    states = _states(folders)
    return [row(run, folders[run], states[run]) if run in folders else {"run": run, "state": DONE} for run in runs]


def cancel(profile: Profile) -> int:
    """End all jobs of a profile that are queued or running, also those of earlier plans; returns how many."""
    jobs = {folder: read(folder, "jobs")[-1] for folder in _submitted(profile)}
    there = queue.alive(jobs.values())
    ended = 0
    for folder, job in jobs.items():
        if job["id"] in there and not read(folder, "outcome"):
            write_json(folder / "outcome.json", {"status": None, "message": CANCELLED, "seconds": 0})
            queue.end([job])
            ended += 1
    return ended


def _submitted(profile: Profile) -> list[Path]:
    return [
        path.parent for path in sorted((ROOT / profile.name).glob("*/jobs.json")) if (path.parent / "plan").is_dir()
    ]


def _missing(runs: Sequence[str], *, remote: str) -> list[str]:
    """Runs that are not up to date, after what the run cache holds was restored."""
    changed = set(stale(*stages_of(*runs)))
    missing = [run for run in runs if changed.intersection(stages_of(run))]
    if not missing:
        return []
    from reprolib.pipeline.submit.cache import restore

    restored = restore(missing, remote=remote)
    return [run for run in missing if run not in restored]


def _order(profile: Profile, runs: Sequence[str], folders: Mapping[str, Path], options: Options) -> None:
    """Write what the workers need. Raises SubmitError where uncommitted changes alter the runs."""
    from reprolib.pipeline.submit.cache import cache_dir

    state = git_state()
    if not state["revision"]:
        raise SubmitError("workers clone the committed tree, and here is no commit: run `git init` and commit first")
    slots = _slots(profile, options) if options.cluster == "local" else ()
    (WORK / "submit").mkdir(parents=True, exist_ok=True)
    orders = [
        Order(
            run=run,
            profile=profile.name,
            revision=str(state["revision"]),
            leader=str(Path.cwd()),
            cache="" if options.remote else cache_dir(Path.cwd()),
            remote=options.remote,
            gpus=options.gpus if slots == () or any(slots) else 0,
            slots=slots,
        )
        for run in runs
    ]
    if state["dirty"]:
        _check_committed(profile, orders)
    for order in orders:
        write_order(folders[order.run], order, profile)


def _check_committed(profile: Profile, orders: Sequence[Order]) -> None:
    """Plan in a clone, as the workers will; raises SubmitError where that is not what is planned here."""
    from reprolib.pipeline.submit import worker

    clone = (ROOT / profile.name / "check").resolve()
    try:
        worker.make_clone(clone, orders[0], profile.results / "data")
        worker.plan_clone(clone, orders[0])
        if Path("dvc.yaml").read_bytes() != (clone / "dvc.yaml").read_bytes():
            raise SubmitError("dvc.yaml has changes that are not committed: workers clone the commit, so commit first")
        for order in orders:
            worker.check_plan(clone, order, plan_paths(profile, order.run))
    finally:
        shutil.rmtree(clone, ignore_errors=True)


def _slots(profile: Profile, options: Options) -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES is for each run at a time on this machine; empty texts on a CPU."""
    gpus: list[str] = []
    if options.gpus and not os.environ.get("REPROLIB_DEVICE", "").startswith("cpu"):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus = visible.split(",") if visible else [] if visible == "" else _all_gpus()
    if not gpus:
        return ("",) * (options.workers or default_jobs(profile))
    if len(gpus) < options.gpus:
        raise SubmitError(f"--gpus {options.gpus}: this machine has {len(gpus)}")
    groups = [",".join(gpus[i : i + options.gpus]) for i in range(0, len(gpus) - options.gpus + 1, options.gpus)]
    return tuple(groups[index % len(groups)] for index in range(options.workers or len(groups)))


def _all_gpus() -> list[str]:
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _send(profile: Profile, runs: Sequence[str], folders: Mapping[str, Path], options: Options, *, first: bool) -> None:
    parameters: dict[str, object] = {"name": f"reprolib-{profile.name}"}
    if options.cluster == "slurm":
        schedules = profile.schedules.values()
        parameters |= {
            "timeout_min": DAY_MIN,
            "cpus_per_task": max(max(one.workers + 1, one.cpu_threads) for one in schedules) * max(1, options.gpus),
            "gpus_per_node": options.gpus,
        } | ({"slurm_array_parallelism": options.workers} if options.workers else {})
        if not options.gpus:
            del parameters["gpus_per_node"]
    else:
        parameters |= {"timeout_min": YEAR_MIN}  # waiting for a GPU counts too
    parameters |= options.settings or {}
    for run in runs:
        clear(folders[run])
    with _uninterrupted():
        jobs = send(
            [folders[run] for run in runs], scratch=ROOT / "submitit", cluster=options.cluster, parameters=parameters
        )
        for run, job in zip(runs, jobs, strict=True):
            add_job(folders[run], job, first=first)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of the block: a job that a scheduler took and that is not noted would be sent twice."""
    came = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _states(folders: Mapping[str, Path]) -> dict[str, str]:
    """How it stands with each run."""
    jobs = {run: (read(folder, "jobs") or [None])[-1] for run, folder in folders.items()}
    there = queue.alive(job for job in jobs.values() if job)  # before outcomes, which a job writes before it ends
    return {run: _state(folders[run], job, there) for run, job in jobs.items()}


def _state(folder: Path, job: Mapping[str, object] | None, there: Mapping[str, str]) -> str:
    if outcome := read(folder, "outcome"):
        return {0: FINISHED, None: CANCELLED}.get(outcome["status"], FAILED)
    if not job:
        return NEVER
    if job["id"] not in there:
        return LOST
    return RUNNING if there[job["id"]] == RUNNING and (folder / "started.json").exists() else QUEUED


def _follow(profile: Profile, folders: Mapping[str, Path], options: Options) -> bool:
    """Tell what happens to submitted runs until none is under way; returns whether all of them are done."""
    every = 1 if options.cluster == "local" else 15
    told: dict[str, str] = {}
    restored: set[str] = set()
    try:
        while True:
            try:
                states = _states(folders)
            except SubmitError as error:  # a scheduler may be away for a while
                print(f"note: {error}; the jobs are left as they are", flush=True)
                time.sleep(60)
                continue
            again = [run for run, state in states.items() if state == LOST and tries(folders[run]) <= options.retries]
            for run, state in states.items():
                if told.get(run) != state and not (state == QUEUED and run in told):
                    print(line(row(run, folders[run], state)), flush=True)
                told[run] = state
            if again:
                print(f"{len(again)} lost, submitted again: {', '.join(again)}", flush=True)
                _send(profile, again, folders, options, first=False)
            restored |= _take_home(
                [r for r, state in states.items() if state == FINISHED and r not in restored], options
            )
            if not again and not any(state in OPEN for state in states.values()):
                return restored == set(folders)
            time.sleep(every)
    except KeyboardInterrupt:
        print("\nThe jobs go on. `reprolib submit` follows them again, `--status` shows them, `--cancel` ends them.")
        raise


def _take_home(runs: Sequence[str], options: Options) -> set[str]:
    if not runs:
        return set()
    from reprolib.pipeline.submit.cache import restore

    found = restore(runs, remote=options.remote)
    for run in set(runs) - found:
        print(f"{run} finished, but the run cache has no results of it; submit it again", flush=True)
    return found
