"""A benchmark's result on the terminal, and as a file with where, when and by which command it was measured."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from reprolib.evaluation.environment import environment, git_state
from reprolib.files import write_atomic, write_json


def show(options: argparse.Namespace, result: dict, text: Callable[[dict], str]) -> None:
    """Print a result as its table or as JSON, and write it where `--out` says; see `benchmarks.options.add_output`."""
    print(json.dumps(result, indent=1) if options.json else text(result))
    if options.out:
        write_report(options.out, result, text(result))


def check_path(path: str | Path) -> Path:
    """The path of a report; raises ValueError unless its name ends in .json."""
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(f"--out {path}: the name has to end in .json; the table goes beside it as .md")
    return path


def write_report(path: str | Path, result: dict, table: str) -> None:
    """Write `result` with its provenance to `path` (.json), and its table to the same name in Markdown.

    Raises ValueError for another suffix.
    """
    path = check_path(path)
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    code, machine = git_state(), environment()
    load = os.getloadavg()[2]  # processes ready to run, mean of the last 15 minutes: the benchmark's and others
    provenance = {"command": command, "date": now, "code": code, "environment": machine, "load": load}
    write_json(path, result | provenance)
    revision = f"`{(code['revision'] or 'unknown')[:12]}`" + (" with changes" if code["dirty"] else "")
    software = ", ".join(f"{name} {machine[name]}" for name in ("torch", "torchvision", "timm", "python"))
    lines = [
        f"Written by `{command}` on {now[:10]}, revision {revision}; {machine['gpu'] or machine['cpu']}, {software};"
        f" load average of the machine {load:.1f} on {os.cpu_count()} cores.",
        "",
        "```text",
        table,
        "```",
    ]
    write_atomic(path.with_suffix(".md"), "\n".join(lines) + "\n")
