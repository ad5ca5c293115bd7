"""Submit a profile's missing runs, follow them, send lost ones again, and restore what they made."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reprolib.evaluation.environment import git_state
from reprolib.params import Profile
from reprolib.pipeline.dvc import restore, stale_runs
from reprolib.pipeline.matrix import write_matrix
from reprolib.pipeline.repro import bring_plan_up_to_date, runs_of
from reprolib.pipeline.runs.paths import WORK
from reprolib.pipeline.side_by_side import default_jobs
from reprolib.pipeline.submit import jobs
from reprolib.pipeline.submit.jobs import FINISHED, LOST, OPEN, QUEUED, RUNNING
from reprolib.pipeline.submit.worker import SUBMIT, Order, SubmitError, locked


def submit(
    profile: Profile, *, cluster: str, workers: int, gpus: int, settings: Mapping[str, object], addresses: Sequence[str]
) -> bool:
    """Submit the runs that are neither done nor under way, and follow all until none is under way.

    Returns whether all of them are done. Arguments are explained by `reprolib submit --help`. Raises SubmitError.
    """
    parameters = {"name": f"reprolib-{profile.name}"} | _parameters(profile, cluster, workers, gpus) | dict(settings)
    send = functools.partial(jobs.submit, cluster=cluster, parameters=parameters)
    slots = _slots(profile, workers, gpus) if cluster == "local" else ()
    try:
        with locked(SUBMIT / profile.name / "leader", wait=False):
            write_matrix(profile)
            runs = runs_of(profile, addresses)
            if not runs:
                raise SubmitError(
                    f"profile {profile.name!r} lists no such runs: add them to it in params.yaml and commit"
                )
            bring_plan_up_to_date(profile, addresses)
            common = {"profile": profile.name, "revision": git_state()["revision"], "gpus": gpus, "slots": slots}
            orders = {run: Order(run=run, folder=folder_of(profile, run), **common) for run in stale_runs(runs)}
            states = jobs.states({run: order.folder for run, order in orders.items()})
            for run in restore([run for run, (state, _) in states.items() if state == FINISHED]):
                del orders[run]
            new = [order for run, order in orders.items() if states[run][0] not in OPEN]
            if new:
                if git_state()["dirty"] is not False:
                    raise SubmitError("workers clone the commit, and not all changes are in a commit: commit first")
                send(new)
            print(f"{len(runs)} runs: {len(runs) - len(orders)} done, {len(orders) - len(new)} under way,", end=" ")
            print(f"{len(new)} submitted to {cluster}", flush=True)
            return _follow(orders, send)
    except BlockingIOError:
        raise SubmitError("another `reprolib submit` follows these runs; end it by ctrl-C, its jobs go on") from None


def status(profile: Profile, *, addresses: Sequence[str] = ()) -> list[dict[str, str]]:
    """For each run: run, state, job, where and progress; changes nothing. Raises SubmitError."""
    runs = runs_of(profile, addresses)
    folders = {run: folder_of(profile, run) for run in stale_runs(runs)}
    rows = {run: {"run": run, "state": "done"} for run in runs}
    return list((rows | {run: _row(run, folders[run], *how) for run, how in jobs.states(folders).items()}).values())


def cancel(profile: Profile) -> int:
    """End all jobs of a profile that are queued or running, also those of earlier plans; returns how many."""
    return sum(jobs.end(path.parent) for path in sorted((SUBMIT / profile.name).glob("*/job.json")))


def folder_of(profile: Profile, run: str) -> Path:
    """The folder of a run as it is planned now. Raises SubmitError where it is not planned."""
    plan = profile.results / "runs" / "train" / f"{run}.json"
    try:
        return SUBMIT / profile.name / f"{run}.{json.loads(plan.read_text())['fingerprint']}"
    except FileNotFoundError:
        raise SubmitError(f"{plan} is missing: `reprolib submit` or `dvc repro plan` writes it") from None


def _slots(profile: Profile, workers: int, gpus: int) -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES is for each run at a time on this machine; empty texts on a CPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not gpus or os.environ.get("REPROLIB_DEVICE", "").startswith("cpu"):
        visible = ""
    elif visible is None:
        import torch

        visible = ",".join(map(str, range(torch.cuda.device_count())))
    names = visible.split(",") if visible else []
    if not names:
        return ("",) * (workers or default_jobs(profile))
    if len(names) < gpus:
        raise SubmitError(f"--gpus {gpus}: this machine has {len(names)}")
    groups = [",".join(names[first : first + gpus]) for first in range(0, len(names) - gpus + 1, gpus)]
    return tuple(groups[index % len(groups)] for index in range(workers or len(groups)))


def _parameters(profile: Profile, cluster: str, workers: int, gpus: int) -> dict[str, object]:
    """What submitit's AutoExecutor is told: a year on this machine, where waiting for a GPU counts too, else a day."""
    if cluster == "local":
        return {"timeout_min": 365 * 24 * 60}
    threads = max(max(schedule.workers + 1, schedule.cpu_threads) for schedule in profile.schedules.values())
    amounts = {"cpus_per_task": threads * max(1, gpus), "gpus_per_node": gpus, "slurm_array_parallelism": workers}
    return {"timeout_min": 24 * 60} | {key: amount for key, amount in amounts.items() if amount}


def _follow(orders: Mapping[str, Order], send: Callable[[Sequence[Order]], None]) -> bool:
    """Tell what happens to runs until none is under way, and send lost ones again; returns whether all are done."""
    folders = {run: order.folder for run, order in orders.items()}
    told: dict[str, str] = {}
    retries: Counter[str] = Counter()
    restored: list[str] = []
    try:
        while True:
            states = jobs.states(folders)
            for run, (state, message) in states.items():
                if told.get(run) == state or (state == QUEUED and run in told):
                    continue
                told[run] = state
                print("  ".join(filter(None, _row(run, folders[run], state, message).values())), flush=True)
                if state == FINISHED:
                    restored += restore([run])
                    if run not in restored:
                        print(f"{run} finished, but DVC's run cache has no results of it", flush=True)
            lost = [run for run, (state, _) in states.items() if state == LOST and retries[run] < 2]
            if lost:
                print(f"{len(lost)} lost, submitted again: {', '.join(lost)}", flush=True)
                retries.update(lost)
                send([orders[run] for run in lost])
            elif not any(state in OPEN for state, _ in states.values()):
                return set(restored) == set(folders)
            time.sleep(1)
    except KeyboardInterrupt:
        print("\nThe jobs go on. `reprolib submit` follows them again, `--status` shows them, `--cancel` ends them.")
        raise


def _row(run: str, folder: Path, state: str, message: str) -> dict[str, str]:
    job, path = jobs.note(folder).get("id", ""), folder / "where"
    where = path.read_text() if path.is_file() else ""
    row = {"run": run, "state": state, "job": job, "where": where, "progress": message}
    if state == RUNNING:  # the last line of the log beside the checkpoints
        with contextlib.suppress(OSError, IndexError, ValueError, KeyError):
            last = json.loads((WORK / folder.name.rpartition(".")[2] / "log.jsonl").read_text().splitlines()[-1])
            row["progress"] = f"iteration {last['iteration']} of {last['iterations']}"
    return row
