"""Where the time of one `reprolib repro` went, from the clock, the records and the executed notebooks."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from reprolib.evaluation.environment import cpu_name, git_state
from reprolib.files import write_json
from reprolib.params import Profile


class Clock:
    """Seconds of wall time by phase, in the order in which the phases came first. `began`: UTC."""

    def __init__(self) -> None:
        self.began, self.phases = datetime.now(UTC), {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add what happens within to a phase, whether it ends well or not."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - began


def breakdown(profile: Profile, clock: Clock, *, runs: Sequence[str], seconds: float, jobs: int) -> dict[str, object]:
    """What `time.json` holds.

    runs: ids of those that were brought up to date in `seconds`, the sum over all of them; `jobs` side by side.
    `run_seconds` splits the sum over what was executed since the clock began: `training` and `detecting`, by the
    records; `notebooks`, what else their notebooks took, from the start of a kernel to its end; `dvc`, the rest, in
    which is also what DVC restored. `trained`, `evaluated`: how many notebooks were executed.
    """
    parts = dict.fromkeys(("training", "detecting", "notebooks"), 0.0)
    counts = {}
    for verb, count, part, computing_seconds in (
        ("train", "trained", "training", _training_seconds),
        ("evaluate", "evaluated", "detecting", _detecting_seconds),
    ):
        notebooks = {run: profile.results / "notebooks" / f"{verb}-{run}.ipynb" for run in runs}
        durations = {run: _execution_seconds(path, clock.began) for run, path in notebooks.items()}
        counts[count] = sum(duration is not None for duration in durations.values())
        for run, duration in durations.items():
            if duration is None:
                continue
            computing = computing_seconds(json.loads((profile.results / "records" / f"{run}.json").read_text()))
            if computing > duration:  # an earlier execution had computed it
                computing = 0.0
            parts[part] += computing
            parts["notebooks"] += duration - computing
    return {
        "profile": profile.name,
        "began": clock.began.isoformat(timespec="seconds"),
        "git": git_state(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "jobs": jobs,
        **counts,
        "seconds": sum(clock.phases.values()),
        "phases": clock.phases,
        "run_seconds": parts | {"dvc": seconds - sum(parts.values())},
    }


def text(result: dict) -> str:
    """The breakdown to read."""
    phases, parts = result["phases"], result["run_seconds"]
    lines = [
        f"{result['seconds'] / 60:.1f} minutes on {result['cores']} cores, {result['jobs']} runs at a time: "
        + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in phases.items())
    ]
    if result["trained"] or result["evaluated"]:
        overhead = parts["notebooks"] + parts["dvc"]
        lines.append(
            f"{result['trained']} trained, {result['evaluated']} evaluated, in sum: "
            + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in parts.items())
            + f"; notebooks and dvc {overhead / max(result['trained'], result['evaluated']):.1f} s each"
        )
    return "\n".join(lines)


def store(profile: Profile, result: dict) -> Path | None:
    """Write the breakdown to results/<profile>/time.json, unless no run was executed; returns the file."""
    if not result["trained"] and not result["evaluated"]:
        return None
    path = profile.results / "time.json"
    write_json(path, result)
    return path


def _execution_seconds(notebook: Path, began: datetime) -> float | None:
    """Seconds that papermill took for a notebook; None where it has not been executed since `began`."""
    try:
        papermill = json.loads(notebook.read_text())["metadata"]["papermill"]
        start, seconds = datetime.fromisoformat(papermill["start_time"]), float(papermill["duration"])
    except (OSError, KeyError, TypeError, ValueError):
        return None
    start = start if start.tzinfo else start.replace(tzinfo=UTC)
    return seconds if start >= began else None


def _training_seconds(record: dict) -> float:
    return record["training"]["seconds"]


def _detecting_seconds(record: dict) -> float:
    return record["data"]["images"] / record["speed"]["images_per_second"]
