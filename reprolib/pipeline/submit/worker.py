"""What a job does: one run, in a clone of the submitted commit. It starts in the working tree that submitted it.

The clone's `work/` and `data/` are links to the leader's, so that checkpoints outlive the worker and data sets are not
prepared again. Host, GPU and paths stay outside of the stages' commands, by which DVC's run cache knows a result.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from submitit.helpers import Checkpointable

from reprolib.pipeline.dvc import dvc, environment, repro_commands
from reprolib.pipeline.runs.paths import WORK

SUBMIT = WORK / "submit"
PROCESSES = "REPROLIB_PROCESSES"  # as `pipeline.runs.launch` has it, which loads torch: a waiting worker is small


class SubmitError(RuntimeError):
    """Runs cannot be submitted, or a worker cannot run; the message says why and the mend."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """One run as a worker gets it.

    revision: the commit to clone. folder: see `jobs`. gpus: of each run, under Slurm; 0 for a CPU.
    slots: without a scheduler, what CUDA_VISIBLE_DEVICES is for each run at a time; empty under Slurm.
    """

    run: str
    profile: str
    revision: str
    folder: Path
    gpus: int = 1
    slots: tuple[str, ...] = ()


class Work(Checkpointable):
    """The call that submitit pickles; before a time limit submitit puts the job back into the queue, and it resumes."""

    def __call__(self, order: Order) -> None:  # raises SubmitError; one that is killed leaves no result, and is lost
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
        path = order.folder / "clone"
        with contextlib.ExitStack() as stack:
            # What is left of a lost worker may still be running: it holds the same lock.
            locks, device = [stack.enter_context(locked(order.folder / "lock"))[1]], ""
            if order.slots:
                index, lock = stack.enter_context(locked(*(SUBMIT / f"slot-{i}" for i in range(len(order.slots)))))
                locks, device = [*locks, lock], order.slots[index]
            where = f"{socket.gethostname()}{f', GPU {device}' if device else ''}"
            (order.folder / "where").write_text(where)
            log = stack.enter_context((order.folder / "log").open("a"))
            print(f"--- {order.run} on {where}, {time.ctime()}", file=log, flush=True)
            call = functools.partial(_call, stdout=log, pass_fds=locks)
            variables = _clone(path, order, call) | {PROCESSES: str(max(1, order.gpus))}
            if order.slots:
                variables |= {"CUDA_VISIBLE_DEVICES": device, PROCESSES: str(len(device.split(",")))}
            if device:
                variables.pop("REPROLIB_DEVICE", None)  # it counts the GPUs of the leader
            for command in repro_commands(order.run):
                call(command, cwd=path, env=variables)
        shutil.rmtree(path, ignore_errors=True)


def _clone(path: Path, order: Order, call: Callable[..., None]) -> dict[str, str]:
    """Clone this tree at the submitted commit and plan the profile there; returns the variables of commands there."""
    shutil.rmtree(path, ignore_errors=True)
    call(["git", "clone", "--quiet", "--no-checkout", ".", str(path)])
    call(["git", "-C", str(path), "checkout", "--quiet", "--detach", order.revision])
    for name in ("work", "data"):
        (path / name).symlink_to(Path(name).resolve())
    reports = f"results/{order.profile}/data"
    shutil.copytree(reports, path / reports, dirs_exist_ok=True)
    variables = environment() | {
        "PYTHONPATH": str(path.resolve()),  # the clone's code, whatever is installed
        "DVC_SITE_CACHE_DIR": f"{tempfile.gettempdir()}/reprolib-{os.getuid()}",  # on a disk of this machine
    }
    cache = Path(dvc("cache", "dir", captured=True).strip()).resolve()  # this tree's, by which results come home
    (path / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n")
    call([sys.executable, "-m", "reprolib", "plan", "--profile", order.profile], cwd=path, env=variables)
    return variables


@contextlib.contextmanager
def locked(*paths: Path, wait: bool = True) -> Iterator[tuple[int, int]]:
    """Hold the first free one of some lock files, or raise BlockingIOError where none is free and `wait` is False.

    Yields its position and its descriptor: a child process that inherits the descriptor holds the lock too.
    """
    with contextlib.ExitStack() as stack:
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        files = [stack.enter_context(path.open("w")) for path in paths]
        for index, file in itertools.cycle(enumerate(files)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise
                time.sleep(0.2)
                continue
            yield index, file.fileno()
            return


def _call(command: Sequence[str], **options) -> None:
    """Run a command, and kill its processes where this one is told to stop. Raises SubmitError where it fails."""
    # In a session of its own: the signal by which Slurm announces a time limit is for the worker.
    child = subprocess.Popen(command, stderr=subprocess.STDOUT, start_new_session=True, **options)
    try:
        if status := child.wait():
            time.sleep(1)  # where a signal has ended it, the same signal ends this process: lost, not failed
            raise SubmitError(f"{' '.join(command[-4:])} ended with status {status}")
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        raise
