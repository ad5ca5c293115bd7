"""What is known of a submitted run: a folder of small files, each with one writer.

`work/submit/<profile>/<run>.<plan>/`, where <plan> is a hash of what training and evaluation depend on:

| file                    | writer | what |
| ----------------------- | ------ | ---- |
| order.json              | leader | what the worker needs to know |
| plan/                   | leader | train.json and evaluate.json as planned, which the worker's clone must plan too |
| data/                   | leader | the reports of the prepared data sets |
| jobs.json               | leader | each time that it was handed to a scheduler |
| started.json            | worker | on which host and device it began |
| outcome.json            | worker | its exit status; a worker that was lost leaves none |
| log                     | worker | what git, dvc and the notebooks print, of all attempts |
| lock                    | worker | held while it, or what is left of it, runs |
| clone/                  | worker | its working tree; deleted when the run has finished |
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from reprolib.files import write_json
from reprolib.params import Profile
from reprolib.pipeline.fingerprint import digest
from reprolib.pipeline.runs.paths import WORK

ROOT = WORK / "submit"


class SubmitError(RuntimeError):
    """Runs cannot be submitted, or a worker cannot run; the message says why and the mend."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """One run as a worker gets it.

    revision: the commit to clone. leader: the working tree to clone it from, absolute.
    cache: the shared DVC cache, absolute; empty where results travel by `remote`, a DVC remote's name.
    gpus: how many processes train it, one on each GPU; 0 for one on the CPU.
    slots: on one machine without a scheduler, what CUDA_VISIBLE_DEVICES is for each run at a time; empty under Slurm.
    """

    run: str
    profile: str
    revision: str
    leader: str
    cache: str = ""
    remote: str = ""
    gpus: int = 1
    slots: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Order:
        found = json.loads((folder / "order.json").read_text())
        return cls(**found | {"slots": tuple(found["slots"])})


def plan_paths(profile: Profile, run: str) -> dict[str, Path]:
    """The files of the plan that say what a run's stages depend on."""
    return {stage: profile.results / "runs" / stage / f"{run}.json" for stage in ("train", "evaluate")}


def folder_of(profile: Profile, run: str) -> Path:
    """The folder of a run as it is planned now. Raises SubmitError where it is not planned."""
    try:
        plans = {stage: json.loads(path.read_text()) for stage, path in plan_paths(profile, run).items()}
    except FileNotFoundError as error:
        raise SubmitError(f"{error.filename} is missing: `reprolib submit` or `dvc repro plan` writes it") from None
    return ROOT / profile.name / f"{run}.{digest(plans)}"


def write_order(folder: Path, order: Order, profile: Profile) -> None:
    """Put an order and the files that it goes by into its folder, and what earlier attempts left out of it."""
    clear(folder)
    for stage, path in plan_paths(profile, order.run).items():
        write_json(folder / "plan" / f"{stage}.json", json.loads(path.read_text()))
    shutil.copytree(profile.results / "data", folder / "data", dirs_exist_ok=True)
    write_json(folder / "order.json", asdict(order))


def clear(folder: Path) -> None:
    """Forget how the attempt before this one began and ended."""
    for name in ("started.json", "outcome.json"):
        (folder / name).unlink(missing_ok=True)


def read(folder: Path, name: str) -> object:
    """The JSON of one of a folder's files, or None where it is not there."""
    try:
        return json.loads((folder / f"{name}.json").read_text())
    except FileNotFoundError:
        return None


def add_job(folder: Path, job: Mapping[str, object], *, first: bool) -> None:
    """Note a job that a scheduler took; `first` forgets those before it."""
    earlier = [] if first else read(folder, "jobs") or []
    write_json(folder / "jobs.json", [*earlier, dict(job)])


@contextlib.contextmanager
def held(path: Path, *, wait: bool, whose: str = "") -> Iterator[int]:
    """Hold a lock file; yields its descriptor, with which a child process holds it too, until both have ended.

    Raises SubmitError, which names `whose` lock it is, where another process holds it and `wait` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        waiting = False
        while not take(lock.fileno()):
            if not wait:
                raise SubmitError(f"{path}: {whose}")
            if not waiting:
                print(f"{path} is held by another process; waiting for it", flush=True)
            waiting = True
            time.sleep(1)
        yield lock.fileno()


def take(descriptor: int) -> bool:
    """Whether an open lock file could be locked. The system frees it with the last process that has it open."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
