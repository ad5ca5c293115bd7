"""Which jobs are still queued or running, and how to end them.

Slurm is asked by `squeue`, which needs no accounting database (submitit asks `sacct`, which does). Jobs of this machine
are submitit's controller processes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterable, Mapping

import psutil

from reprolib.pipeline.submit.order import SubmitError

Job = Mapping[str, object]
QUEUED, RUNNING = "queued", "running"


def alive(jobs: Iterable[Job]) -> dict[str, str]:
    """Of jobs (as jobs.json has them), those that have not ended, by id: queued, or running.

    Jobs of this machine are running when their process is there, also where they still wait for a GPU.
    Raises SubmitError where the scheduler does not answer: no answer does not mean that the jobs are gone.
    """
    jobs = list(jobs)
    found = {job["id"]: RUNNING for job in jobs if job["cluster"] == "local" and _process(job)}
    wanted = {job["id"] for job in jobs if job["cluster"] == "slurm"}
    if wanted:
        for line in _squeue().splitlines():
            identity, _, state = line.strip().partition("|")
            if identity in wanted:
                found[identity] = QUEUED if state in ("PENDING", "REQUEUED", "REQUEUE_HOLD") else RUNNING
    return found


def end(jobs: Iterable[Job]) -> None:
    """End jobs, queued or running; those that have ended already are left alone."""
    for job in jobs:
        if job["cluster"] == "slurm":
            subprocess.run(["scancel", str(job["id"])], check=True)
        elif process := _process(job):
            kill(process)


def kill(process: psutil.Process) -> None:
    """Kill a process and all that it started and that still has its parent."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.suspend()  # it starts nothing more, and does not take its children's end for a failure of theirs
        try:
            for child in process.children():
                kill(child)
        finally:
            process.kill()


def check(cluster: str) -> None:
    """Raises SubmitError where a cluster's scheduler does not answer: Slurm's commands may be there without it."""
    if cluster == "slurm":
        try:
            _squeue()
        except SubmitError as error:
            raise SubmitError(f"{error}; or use the GPUs of this machine by --cluster local") from None


def _squeue() -> str:
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i|%T"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    except FileNotFoundError:
        raise SubmitError("squeue is not on PATH: call this where Slurm's commands are") from None
    except subprocess.CalledProcessError as error:
        raise SubmitError(f"squeue failed: {error.stderr.strip()}") from None
    except subprocess.TimeoutExpired:
        raise SubmitError("squeue gave no answer within 2 minutes") from None


def _process(job: Job) -> psutil.Process | None:
    """The controller of a job of this machine, or None when it has ended; another process may have got its number."""
    if job["host"] != socket.gethostname():
        raise SubmitError(f"job {job['id']} was started on {job['host']} without a scheduler; call this there")
    try:
        process = psutil.Process(int(str(job["id"])))
        ours = os.getuid() == process.uids().real and any("submitit" in word for word in process.cmdline())
        return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None
