"""What a job does: one run, in a clone of the submitted commit.

The clone's `work/` and `data/` are links to the leader's, so that checkpoints outlive the worker and data sets are not
prepared again. Host, GPU and paths stay outside of the stages' commands, by which DVC's run cache knows a result.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
from submitit.helpers import Checkpointable

from reprolib.files import write_json
from reprolib.params import load_profile
from reprolib.pipeline.dvc import environment, repro_commands
from reprolib.pipeline.submit.order import Order, SubmitError, held, read, take
from reprolib.pipeline.submit.queue import kill

LINKED = ("work", "data")
PROCESSES = "REPROLIB_PROCESSES"  # as `pipeline.runs.launch` has it, which loads torch: a waiting worker is small
END_S = 120  # within which Slurm kills a job after SIGTERM; ending earlier would pass for the job's own end


class Work(Checkpointable):
    """The call that submitit pickles; before a time limit submitit puts the job back into the queue, and it resumes."""

    def __call__(self, folder: str) -> None:
        work(Path(folder))


def work(folder: Path) -> None:
    """Execute the order in `folder`; leaves outcome.json unless the worker is killed. Raises SubmitError."""
    order = Order.read(folder)
    told = _ToldToStop()
    with held(folder / "lock", wait=True) as lock:  # what is left of a lost worker may still be running
        if (read(folder, "outcome") or {}).get("status") == 0:
            return
        with _slot(order) as (slot, device):
            began = time.time()
            write_json(folder / "started.json", {"host": socket.gethostname(), "device": device, "time": began})
            try:
                with (folder / "log").open("a") as log:
                    where = f"{socket.gethostname()}{f', GPU {device}' if device else ''}"
                    print(f"--- {order.run} on {where}, {time.ctime()}", file=log, flush=True)
                    _run(folder, order, device=device, log=log, locks=[lock, *slot])
                status, message = 0, ""
            except Exception as error:
                if told.came:  # what was executed got the signal too: that is no failure of the run
                    time.sleep(0 if order.slots else END_S)
                    return
                status, message = (
                    1,
                    str(error) if isinstance(error, SubmitError) else f"{type(error).__name__}: {error}",
                )
            outcome = {"status": status, "message": message, "seconds": time.time() - began}
            write_json(folder / "outcome.json", outcome)
    if status:
        raise SubmitError(message)
    shutil.rmtree(folder / "clone", ignore_errors=True)


def make_clone(clone: Path, order: Order, data: Path) -> None:
    """Clone the leader at the submitted commit into `clone`, with links to its work and data. Raises SubmitError.

    data: the folder with the reports of the prepared data sets.
    """
    leader = Path(order.leader)
    shutil.rmtree(clone, ignore_errors=True)
    for command in (
        ["git", "clone", "--quiet", "--no-checkout", str(leader), str(clone)],
        ["git", "-C", str(clone), "checkout", "--quiet", "--detach", order.revision],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SubmitError(f"{' '.join(command)}: {done.stderr.strip()}")
    for name in LINKED:
        if (leader / name).exists():
            (clone / name).symlink_to((leader / name).resolve())
    # .gitignore's patterns for folders do not match links, which would make the clone's records say that it is dirty
    with (clone / ".git" / "info" / "exclude").open("a") as file:
        file.writelines(f"/{name}\n" for name in LINKED)
    shutil.copytree(data, clone / "results" / order.profile / "data", dirs_exist_ok=True)


def plan_clone(clone: Path, order: Order) -> None:
    """Plan in a clone what its own code and this machine's libraries would run. Raises SubmitError."""
    active = load_profile(path=clone / "params.yaml").name
    if active != order.profile:
        raise SubmitError(
            f"params.yaml of commit {order.revision[:10]} has profile {active}, not {order.profile}: commit it first"
        )
    command = [sys.executable, "-m", "reprolib", "plan", "--profile", order.profile]
    done = subprocess.run(command, cwd=clone, env=_environment(clone), capture_output=True, text=True)
    if done.returncode:
        raise SubmitError(f"planning in a clone of {order.revision[:10]} failed: {done.stderr.strip()}")


def check_plan(clone: Path, order: Order, planned: Mapping[str, Path]) -> None:
    """Compare what a clone plans for a run with what was submitted. Raises SubmitError that names the difference.

    planned: the leader's plan of the run, a file for each stage.
    """
    for stage, file in planned.items():
        path = clone / "results" / order.profile / "runs" / stage / f"{order.run}.json"
        here = json.loads(path.read_text()) if path.is_file() else {}
        if different := differences(json.loads(file.read_text()), here):
            raise SubmitError(
                f"{order.run} planned from commit {order.revision[:10]} on {socket.gethostname()} differs in"
                f" {', '.join(different[:3])}{' and more' if len(different) > 3 else ''} from what was submitted:"
                " commit changes before submitting, and install the same requirements.lock everywhere"
            )


def differences(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """Where two plans differ, for example `code reprolib.models.two_stage.paste`; fingerprints follow from the rest."""
    found = []
    for key in sorted((one.keys() | other.keys()) - {"fingerprint"}):
        ours, theirs = one.get(key), other.get(key)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            found += [f"{key} {name}" for name in sorted(ours.keys() | theirs) if ours.get(name) != theirs.get(name)]
        elif ours != theirs:
            found.append(key)
    return found


def _run(folder: Path, order: Order, *, device: str, log, locks: Sequence[int]) -> None:
    clone = folder / "clone"
    make_clone(clone, order, folder / "data")
    plan_clone(clone, order)
    check_plan(clone, order, {path.stem: path for path in (folder / "plan").glob("*.json")})
    with tempfile.TemporaryDirectory(prefix="reprolib-") as scratch:
        os.environ["DVC_SITE_CACHE_DIR"] = scratch  # indexes of this clone alone, on a disk of this machine
        from reprolib.pipeline.submit.cache import write_config

        write_config(clone, leader=Path(order.leader), cache=order.cache, remote=order.remote)
        commands = repro_commands(order.run)
        if order.remote:
            fetch, push = (
                [sys.executable, "-m", "reprolib.pipeline.submit.cache", how, order.remote] for how in ("fetch", "push")
            )
            commands = [fetch, *[[*command, "--pull"] for command in commands], push]
        for command in commands:
            if status := _call(command, clone, order, device=device, log=log, locks=locks):
                raise SubmitError(f"{' '.join(command[2:])} ended with status {status}")


def _call(command: Sequence[str], clone: Path, order: Order, *, device: str, log, locks: Sequence[int]) -> int:
    """Exit status of a command, which holds this worker's locks too and dies with it where the worker can see to it."""
    variables = _environment(clone) | {PROCESSES: str(max(1, order.gpus))}
    if order.slots:
        variables["CUDA_VISIBLE_DEVICES"] = device
        if device:
            variables.pop("REPROLIB_DEVICE", None)  # it counts the GPUs of the leader
    # In a session of its own: the signal by which Slurm announces a time limit is for the worker.
    child = subprocess.Popen(
        command, cwd=clone, env=variables, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, pass_fds=locks
    )
    try:
        return child.wait()
    except BaseException:
        with contextlib.suppress(psutil.NoSuchProcess):
            kill(psutil.Process(child.pid))
        raise


def _environment(clone: Path) -> dict[str, str]:
    return environment() | {"PYTHONPATH": str(clone)}  # the clone's code, whatever is installed


@contextlib.contextmanager
def _slot(order: Order) -> Iterator[tuple[list[int], str]]:
    """Wait for one of this machine's slots; yields its lock's descriptor and its GPU. Slurm needs none."""
    if not order.slots:
        yield [], os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return
    with contextlib.ExitStack() as stack:
        paths = [Path(order.leader) / "work" / "submit" / f"slot-{index}" for index in range(len(order.slots))]
        files = [stack.enter_context(path.open("w")) for path in paths]
        while True:
            for file, device in zip(files, order.slots, strict=True):
                if take(file.fileno()):
                    yield [file.fileno()], device
                    return
            time.sleep(0.5)


class _ToldToStop:
    """Whether SIGTERM came: Slurm cancels or preempts the job."""

    def __init__(self) -> None:
        self.came = False
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: object) -> None:
        self.came = True
