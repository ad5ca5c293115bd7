"""dvc as a command of this working tree, and the names of the pipeline's stages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reprolib.pipeline.warm import command


class ReproError(RuntimeError):
    """A stage failed; the message names its log."""


def dvc(*arguments: str, captured: bool = False) -> str:
    """Run dvc in this folder with this Python first on PATH; returns its output where captured. Raises ReproError."""
    done = subprocess.run(dvc_command(*arguments), env=environment(), text=True, capture_output=captured)
    if done.returncode:
        detail = f": {done.stderr.strip()}" if captured else ""
        raise ReproError(f"dvc {' '.join(arguments[:2])} failed with status {done.returncode}{detail}")
    return done.stdout


def stale(*stages: str) -> list[str]:
    """The stages, of all or of those given, that DVC would execute or restore."""
    return list(json.loads(dvc("status", "--json", *stages, captured=True) or "{}"))


def stages_of(*runs: str) -> list[str]:
    """The DVC stages of runs, in the order in which they are executed."""
    return [f"{stage}@{run}" for run in runs for stage in ("train", "evaluate")]


def stale_runs(runs: Sequence[str]) -> list[str]:
    """Those of some runs whose stages DVC would execute or restore."""
    changed = set(stale(*stages_of(*runs))) if runs else set()  # without a target DVC would look at everything
    return [run for run in runs if changed.intersection(stages_of(run))]


def restore(runs: Sequence[str]) -> list[str]:
    """Bring those of some runs that DVC's run cache holds into this tree, and return them; executes no stage."""
    if not runs:
        return []
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "python"  # which the stages call: what is not in the run cache fails at once
        python.write_text("#!/bin/sh\nexit 1\n")
        python.chmod(0o755)
        variables = environment()
        variables["PATH"] = f"{folder}{os.pathsep}{variables['PATH']}"
        command = dvc_command("repro", "--single-item", "--keep-going", *stages_of(*runs))
        subprocess.run(command, env=variables, capture_output=True)
    missing = stale_runs(runs)
    return [run for run in runs if run not in missing]


def repro_commands(run: str) -> list[list[str]]:
    """The commands that bring a run of the pipeline up to date."""
    return [dvc_command("repro", "--single-item", *stages_of(run))]


def dvc_command(*arguments: str) -> list[str]:
    """The command line of dvc."""
    # Without the option, which belongs to dvc itself and comes first, dvc gives up after 3 s where another dvc is busy.
    return command("dvc", "--wait-for-lock", *arguments)


def environment() -> dict[str, str]:
    """For a process that runs stages: they call `python`, which must be this one where it is not activated too."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1"}
