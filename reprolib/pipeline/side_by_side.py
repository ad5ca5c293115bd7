"""Commands of independent runs or stages, several at a time, each with its log."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from reprolib.params import Profile
from reprolib.pipeline.dvc import ReproError, dvc_command, environment

LOGS = Path("work") / "logs"
MOST_JOBS = 8


def default_jobs(profile: Profile) -> int:
    """As many runs as the cores hold where every schedule says how many threads it uses; 1 on a GPU."""
    threads = [schedule.cpu_threads for schedule in profile.schedules.values()]
    if not all(threads) or not on_cpu():
        return 1
    return max(1, min(MOST_JOBS, (os.cpu_count() or 1) // max(threads)))


def on_cpu() -> bool:
    """Whether runs of this machine compute on its CPU."""
    from reprolib.engine.devices import pick_device  # here, since it imports torch

    return pick_device() == "cpu"


@contextlib.contextmanager
def shared_cores(jobs: int) -> Iterator[None]:
    """Let torch take its part of the cores in what starts within, unless the user has said how many threads it takes.

    With as many threads each as there are cores, two notebooks side by side take half as long again.
    """
    name = "OMP_NUM_THREADS"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(max(1, (os.cpu_count() or 1) // jobs))
    try:
        yield
    finally:
        del os.environ[name]


def side_by_side(
    names: Sequence[str], commands: Callable[[str], list[list[str]]], *, jobs: int, what: str = "runs"
) -> float:
    """Execute the commands of each name, `jobs` names at a time; what they print goes to work/logs/.

    Returns their seconds in sum. Raises ReproError for the first that failed, after those under way have ended.
    """
    if not names:
        return 0.0
    LOGS.mkdir(parents=True, exist_ok=True)
    print(f"{len(names)} {what}, {jobs} at a time; each one's output: {LOGS}/NAME.log", flush=True)
    began, done, total = time.monotonic(), 0, 0.0
    failed: list[str] = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(execute, name, commands(name)): name for name in names}
        for future in concurrent.futures.as_completed(futures):
            name = futures[future]
            if future.cancelled():
                continue
            status, seconds = future.result()
            done, total = done + 1, total + seconds
            if status:
                failed.append(name)
                print(f"failed: {name}, see {LOGS / name}.log", flush=True)
                for other in futures:
                    other.cancel()
                continue
            left = (time.monotonic() - began) / done * (len(names) - done)
            print(f"{done}/{len(names)}  {seconds:4.0f} s  {name}  ETA {left:.0f} s", flush=True)
    if failed:
        tail = (LOGS / f"{failed[0]}.log").read_text().splitlines()[-12:]
        raise ReproError("\n".join([f"{failed[0]} failed; the end of {LOGS / failed[0]}.log:", *tail]))
    return total


def execute(name: str, commands: Sequence[Sequence[str]]) -> tuple[int, float]:
    """Execute commands until one fails; returns the last exit status and the seconds. Their output: the name's log."""
    began = time.monotonic()
    status = 0
    with (LOGS / f"{name}.log").open("w") as log:
        for command in commands:
            status = subprocess.run(command, env=environment(), stdout=log, stderr=subprocess.STDOUT).returncode
            if status:
                break
    return status, time.monotonic() - began


def stages_side_by_side(stages: Sequence[str], *, jobs: int) -> None:
    """Execute stages that do not depend on each other, shared out over `jobs` dvc commands."""
    shares = {share[0]: share for share in (stages[start::jobs] for start in range(jobs)) if share}

    def commands(first: str) -> list[list[str]]:
        return [dvc_command("repro", "--single-item", *shares[first])]

    side_by_side(list(shares), commands, jobs=jobs, what="parts of stages that do not depend on each other")
