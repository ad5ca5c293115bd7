"""Start the processes of a run: torchrun, when the environment variable REPROLIB_PROCESSES is above 1."""

from __future__ import annotations

import os
import subprocess
import sys

from reprolib.engine.processes import under_torchrun
from reprolib.params import Run

PROCESSES = "REPROLIB_PROCESSES"
STARTED = "REPROLIB_STARTED"  # set for the processes that `launch` starts


class LaunchError(RuntimeError):
    """The processes of a run failed; their own messages have been printed."""


def process_count() -> int:
    """How many processes have to be started for a run; 1: this process does the work. Raises ValueError."""
    text = os.environ.get(PROCESSES, "").strip() or "1"
    if not text.isdigit() or not int(text):
        raise ValueError(f"{PROCESSES}={text!r} must be a number of processes, one per GPU, for example 4; or unset it")
    return 1 if under_torchrun() else int(text)


def prints_results() -> bool:
    """Whether this process prints the results: it was started by hand, or is the first that torchrun started."""
    return STARTED not in os.environ and (not under_torchrun() or os.environ["RANK"] == "0")


def launch(verb: str, run: Run, *, processes: int, device: str | None) -> None:
    """`torchrun --nproc-per-node PROCESSES -m reprolib VERB EXPERIMENT`, its output line by line on standard output.

    Raises LaunchError when it fails; ends the processes when this one is interrupted.
    """
    command = torchrun(processes, ["-m", "reprolib", verb, run.experiment.id])
    command += ["--profile", run.profile, "--seed", str(run.seed), *(["--device", device] if device else [])]
    quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # else a warning per process that every parameter was used
    started = subprocess.Popen(
        command,
        env=quiet | os.environ | {STARTED: "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        for line in started.stdout:
            print(line, end="", flush=True)  # a notebook shows the output of its own process only
        if started.wait():
            raise LaunchError(f"{verb} of {run.id} on {processes} processes failed; their messages are above")
    finally:
        started.terminate()  # torchrun then ends the processes that it started
        started.wait()


def torchrun(processes: int, arguments: list[str]) -> list[str]:
    """The command line of several processes on this machine, whatever else runs on it."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *arguments]
