"""How it stands with runs, as rows of one table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from reprolib.pipeline.runs.paths import WORK
from reprolib.pipeline.submit.order import read
from reprolib.pipeline.submit.queue import RUNNING

DONE = "done"  # restored: DVC finds it up to date
FINISHED, FAILED, LOST, CANCELLED = "finished", "failed", "lost", "cancelled"  # how a worker ended
NEVER = "not submitted"


def tries(folder: Path) -> int:
    """How often a run was handed to a scheduler since it was last asked for."""
    return len(read(folder, "jobs") or [])


def row(run: str, folder: Path, state: str) -> dict[str, object]:
    """A run's row: run, state, job, tries, and where it has them where, progress."""
    job = (read(folder, "jobs") or [{}])[-1]
    started, outcome = read(folder, "started") or {}, read(folder, "outcome") or {}
    found = {"run": run, "state": state, "job": job.get("id", ""), "tries": tries(folder) or ""}
    if state in (RUNNING, FINISHED, FAILED):
        device = started.get("device", "")
        found["where"] = f"{started.get('host', '')}{f', GPU {device}' if device else ''}"
    if state == RUNNING:
        found["progress"] = _progress(folder)
    if state in (FAILED, LOST):
        found["progress"] = " ".join([str(outcome.get("message", "")), f"see {_log(folder, job)}"]).strip()
    return found


def _log(folder: Path, job: Mapping[str, object]) -> Path:
    """What a worker printed; where it did not get so far, what submitit did."""
    own = folder / "log"
    return own if own.is_file() else Path(f"{job.get('logs')}/{job.get('id')}_0_log.err")


def _progress(folder: Path) -> str:
    """`iteration 120 of 280`, from the log beside the checkpoints."""
    plan = read(folder / "plan", "train") or {}
    try:
        last = json.loads((WORK / str(plan.get("fingerprint")) / "log.jsonl").read_text().splitlines()[-1])
        return f"iteration {last['iteration']} of {last['iterations']}"
    except (OSError, IndexError, ValueError, KeyError):
        return ""


def line(row: Mapping[str, object]) -> str:
    """A row as one line."""
    return "  ".join(str(row[key]) for key in ("state", "run", "where", "progress") if row.get(key))


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of `status` as text, with a count of each state."""
    from tabulate import tabulate

    states = [str(row["state"]) for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    columns = ("run", "state", "job", "tries", "where", "progress")
    shown = [column for column in columns if any(row.get(column) for row in rows)]
    cells = [[row.get(column, "") for column in shown] for row in rows]
    return f"{tabulate(cells, headers=shown, tablefmt='simple', disable_numparse=True)}\n{len(rows)} runs: {counts}"
