"""Submitted runs as submitit's jobs: hand them over, tell their states, end them.

A run's folder, `work/submit/<profile>/<run>.<fingerprint of its training>/`, holds job.json, its last job; `where`, the
host and GPU on which that began; `log`, what git, dvc and the notebooks print; and until the run is done `clone`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
import submitit

from reprolib.files import write_json
from reprolib.pipeline.submit.worker import SUBMIT, Order, SubmitError, Work

QUEUED, RUNNING, FINISHED, FAILED, LOST, NEVER = "queued", "running", "finished", "failed", "lost", "not submitted"
OPEN = (QUEUED, RUNNING)


def submit(orders: Sequence[Order], *, cluster: str, parameters: Mapping[str, object]) -> None:
    """Hand orders to a scheduler and note each job in its run's folder. Raises SubmitError where it refuses them."""
    for order in orders:
        (order.folder / "where").unlink(missing_ok=True)
    # Local jobs inherit the ignored signals: ctrl-C leaves them. No job is submitted without being noted.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        executor = submitit.AutoExecutor(folder=SUBMIT / "submitit", cluster=cluster)
        executor.update_parameters(**parameters)
        for order, job in zip(orders, executor.map_array(Work(), orders), strict=True):
            known = {"id": job.job_id, "cluster": cluster, "host": socket.gethostname(), "time": time.time()}
            write_json(order.folder / "job.json", known)
    except Exception as error:  # submitit raises errors of many classes
        raise SubmitError(f"{cluster} took no job: {error}; --cluster local uses this machine") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def states(folders: Mapping[str, Path]) -> dict[str, tuple[str, str]]:
    """The state of each run and a message where it failed or is lost; from the runs' folders."""
    notes = {run: note(folder) for run, folder in folders.items()}
    # All jobs are made before the first is asked for its state: submitit then asks Slurm once for all of them.
    made = {run: _job(known["cluster"], known["id"]) for run, known in notes.items() if known}
    return {run: _state(folders[run], notes[run], made[run]) if run in made else (NEVER, "") for run in folders}


def note(folder: Path) -> dict[str, str | float]:
    """What job.json says; empty where the run was not submitted or was cancelled."""
    path = folder / "job.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def end(folder: Path) -> bool:
    """End a run's job and forget it; returns whether it was queued or running."""
    job = note(folder)
    if states({"run": folder})["run"][0] not in OPEN:
        return False
    (folder / "job.json").unlink()  # first, so that a `reprolib submit` that follows the run does not take it for lost
    if job["cluster"] == "slurm":
        _job("slurm", job["id"]).cancel(check=False)
    else:
        os.kill(int(job["id"]), signal.SIGTERM)
    return True


@functools.cache
def _job(cluster: str, identity: str) -> submitit.Job:
    kind = submitit.SlurmJob if cluster == "slurm" else submitit.LocalJob
    return kind(folder=SUBMIT / "submitit", job_id=identity)


def _state(folder: Path, known: Mapping, job: submitit.Job) -> tuple[str, str]:
    log = folder / "log"
    if known["cluster"] == "local":  # submitit knows a local job's state only in the process that started it
        alive = running = _process_runs(known)
    else:  # where Slurm gives no answer the state is UNKNOWN, and the job is not done
        alive, running = not job.done(), job.state == "RUNNING"
    if alive:
        return (RUNNING if running and (folder / "where").is_file() else QUEUED), ""
    if not job.paths.result_pickle.exists():
        return LOST, f"see {log if log.is_file() else job.paths.stderr}"
    if error := job.exception():  # with its traceback, which ends in `...Error: <reason>`
        reasons = [line.partition("Error: ")[2] for line in str(error).splitlines() if "Error: " in line]
        return FAILED, f"{reasons[-1] if reasons else error}, see {log}"
    return FINISHED, ""


def _process_runs(job: Mapping) -> bool:
    """Whether submitit's process for a job of this machine is alive; another process may have got its number."""
    if job["host"] != socket.gethostname():
        raise SubmitError(f"job {job['id']} was started on {job['host']} without a scheduler; call this there")
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(int(job["id"]))
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() < job["time"] + 60
    return False
