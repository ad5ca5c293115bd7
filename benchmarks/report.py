"""A benchmark's result as a file: the numbers, and where, when and by which command they came about."""

from __future__ import annotations

import datetime
import os
import shlex
import sys
from pathlib import Path

from reprolib.evaluation.environment import environment, git_state
from reprolib.files import write_atomic, write_json


def write_report(path: str | Path, result: dict, table: str) -> None:
    """Write `result` with its provenance to `path` (.json), and its table to the same name in Markdown.

    Raises ValueError for another suffix.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(f"--out {path}: the name has to end in .json; the table goes beside it as .md")
    command = shlex.join(["reprolib", *sys.argv[1:]])
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    code, machine = git_state(), environment()
    load = os.getloadavg()[
        2
    ]  # processes that wanted to run, over the last quarter of an hour: the benchmark and others
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
