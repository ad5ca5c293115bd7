"""`dvc repro`, with a profile's runs side by side where its recipe leaves cores free.

DVC runs one stage after the other. Its locks are held around a stage's command and not during it, so several `dvc
repro --single-item`, each on the stages of one run, can share a working tree; what comes before and after the runs is
left to one plain `dvc repro`.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from reprolib.papers.folders import is_elsewhere, paper_folders
from reprolib.params import Profile
from reprolib.pipeline.plan import profile_runs, table_by_id
from reprolib.pipeline.repro_time import Clock, breakdown, store, text
from reprolib.pipeline.warm import command, warm_processes

LOGS = Path("work") / "logs"
MOST_JOBS = 8


class ReproError(RuntimeError):
    """A stage failed; the message names its log."""


def repro(profile: Profile, *, tables: Sequence[str] = (), every_row: bool = False, jobs: int | None = None) -> None:
    """Bring the profile's tables up to date, or only `tables` with the runs that they need.

    every_row: run the experiments of `tables` too that the profile does not list. They are outside the pipeline:
    trained and evaluated where they have no record, and not again when code changes.
    jobs: runs at a time; by default as many as the cores hold (see `default_jobs`). Raises ReproError.
    """
    runs = runs_of(profile, tables)
    more: list[str] = []
    if every_row:
        unlisted = sorted(_experiments(tables) - set(profile.experiments))
        more = [f"{name}-{seed}" for name in unlisted for seed in profile.seeds]
        more = [name for name in more if not (profile.results / "records" / f"{name}.json").is_file()]
    planned = (profile.results / "runs").is_dir()
    if planned and any(map(is_elsewhere, paper_folders().values())):
        dvc("repro", "--force", "--single-item", "plan")  # DVC does not see files outside the repository
    if not tables and not stale():
        print(f"Nothing to do: data and pipeline of profile {profile.name} are up to date.", flush=True)
        return
    jobs = jobs or default_jobs(profile)
    clock, changed, seconds = Clock(), [], 0.0
    with contextlib.ExitStack() as around:
        if jobs > 1 and _on_cpu():
            around.enter_context(_cores_shared(jobs))
            around.enter_context(warm_processes())
        with clock.phase("data and plan"):
            if jobs > 1:
                _spread([f"data@{name}" for name in profile.data], jobs=jobs)
            dvc("repro", "plan")
        with clock.phase("runs"):
            if runs:
                waiting = set(stale(*stages_of(*runs)))
                changed = [name for name in runs if waiting.intersection(stages_of(name))]
            if jobs > 1:
                seconds = side_by_side(changed, piped, jobs=jobs)
            elif changed:  # without a target dvc would bring everything up to date
                began = time.monotonic()
                dvc("repro", *stages_of(*changed))
                seconds = time.monotonic() - began
            side_by_side(more, _outside, jobs=jobs)
        if tables:
            with clock.phase("tables"):
                dvc("repro", "--single-item", *[f"tables@{name}" for name in tables])
        else:
            if jobs > 1:
                with clock.phase("tables"):
                    _spread([f"tables@{name}" for name in profile.tables], jobs=jobs)
                with clock.phase("papers"):
                    _spread([*(f"papers@{name}" for name in profile.papers), "audit", "systems"], jobs=jobs)
            with clock.phase("report" if jobs > 1 else "tables, papers and report"):
                dvc("repro")
    result = breakdown(profile, clock, runs=changed, seconds=seconds, jobs=jobs)
    store(profile, result)
    print(text(result), flush=True)


@contextlib.contextmanager
def _cores_shared(jobs: int) -> Iterator[None]:
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


def _on_cpu() -> bool:
    from reprolib.engine.devices import pick_device

    return pick_device() == "cpu"


def _spread(stages: Sequence[str], *, jobs: int) -> None:
    """Stages that do not depend on each other, dealt to `jobs` commands side by side."""
    hands = {hand[0]: hand for hand in (stages[start::jobs] for start in range(jobs)) if hand}
    commands = {name: [dvc_command("--wait-for-lock", "repro", "--single-item", *hand)] for name, hand in hands.items()}
    side_by_side(list(hands), commands.__getitem__, jobs=jobs, what="parts of stages that do not depend on each other")


def runs_of(profile: Profile, tables: Sequence[str] = ()) -> list[str]:
    """The ids of the runs that the profile lists, all of them or those that `tables` show."""
    wanted = _experiments(tables) if tables else set(profile.experiments)
    return [run.id for run in profile_runs(profile) if run.experiment.id in wanted]


def default_jobs(profile: Profile) -> int:
    """As many runs as the cores hold where every schedule says how many threads it uses; 1 on a GPU."""
    threads = [schedule.cpu_threads for schedule in profile.schedules.values()]
    if not all(threads) or not _on_cpu():
        return 1
    return max(1, min(MOST_JOBS, (os.cpu_count() or 1) // max(threads)))


def stale(*stages: str) -> list[str]:
    """The stages, of all or of those given, that DVC would execute or restore."""
    return list(json.loads(dvc("status", "--json", *stages, captured=True) or "{}"))


def side_by_side(
    runs: Sequence[str], commands: Callable[[str], list[list[str]]], *, jobs: int, what: str = "runs"
) -> float:
    """Train and evaluate runs, `jobs` at a time, each by its commands; what they print goes to work/logs/.

    Returns their seconds in sum. Raises ReproError for the first that failed, after those under way have ended.
    """
    if not runs:
        return 0.0
    LOGS.mkdir(parents=True, exist_ok=True)
    print(f"{len(runs)} {what}, {jobs} at a time; each one's output: {LOGS}/NAME.log", flush=True)
    began, done, total = time.monotonic(), 0, 0.0
    failed: list[str] = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(_one, name, commands(name)): name for name in runs}
        for future in concurrent.futures.as_completed(waiting):
            name = waiting[future]
            if future.cancelled():
                continue
            status, seconds = future.result()
            done, total = done + 1, total + seconds
            if status:
                failed.append(name)
                print(f"failed: {name}, see {LOGS / name}.log", flush=True)
                for other in waiting:
                    other.cancel()
                continue
            left = (time.monotonic() - began) / done * (len(runs) - done)
            print(f"{done}/{len(runs)}  {seconds:4.0f} s  {name}  ETA {left:.0f} s", flush=True)
    if failed:
        tail = (LOGS / f"{failed[0]}.log").read_text().splitlines()[-12:]
        raise ReproError("\n".join([f"{failed[0]} failed; the end of {LOGS / failed[0]}.log:", *tail]))
    return total


def dvc(*arguments: str, captured: bool = False) -> str:
    """Run dvc in this folder with this Python first on PATH; returns its output where captured. Raises ReproError."""
    done = subprocess.run(dvc_command(*arguments), env=environment(), text=True, capture_output=captured)
    if done.returncode:
        detail = f": {done.stderr.strip()}" if captured else ""
        raise ReproError(f"dvc {' '.join(arguments[:2])} failed with status {done.returncode}{detail}")
    return done.stdout


def _experiments(tables: Sequence[str]) -> set[str]:
    return {row.experiment.id for name in tables for row in table_by_id(name).rows if row.experiment}


def stages_of(*runs: str) -> list[str]:
    """The DVC stages of runs, in the order in which they are executed."""
    return [f"{stage}@{name}" for name in runs for stage in ("train", "evaluate")]


def piped(name: str) -> list[list[str]]:
    """A run as the pipeline executes it."""
    return [dvc_command("repro", "--single-item", *stages_of(name))]


def _outside(name: str) -> list[list[str]]:
    """A run that is no stage of the pipeline: the command line's verbs."""
    experiment, _, seed = name.rpartition("-")
    return [[sys.executable, "-m", "reprolib", verb, experiment, "--seed", seed] for verb in ("train", "evaluate")]


def _one(name: str, commands: Sequence[Sequence[str]]) -> tuple[int, float]:
    began = time.monotonic()
    status = 0
    with (LOGS / f"{name}.log").open("w") as log:
        for command in commands:
            status = subprocess.run(command, env=environment(), stdout=log, stderr=subprocess.STDOUT).returncode
            if status:
                break
    return status, time.monotonic() - began


def dvc_command(*arguments: str) -> list[str]:
    # Without the option, which belongs to dvc itself and comes first, dvc gives up after 3 s where another dvc is busy.
    return command("dvc", "--wait-for-lock", *arguments)


def environment() -> dict[str, str]:
    """For a process that runs stages: they call `python`, which must be this one where it is not activated too."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1"}
