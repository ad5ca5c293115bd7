"""Where a run's files are."""

from __future__ import annotations

from pathlib import Path

from reprolib.params import Run

WORK = Path("work")  # checkpoints, by fingerprint; outside DVC, which deletes a stage's outputs before it runs


def run_paths(run: Run) -> dict[str, Path]:
    """weights, log, summary, predictions and record of a run, below `results/<profile>/`."""
    folder = Path("results") / run.profile
    return {
        "weights": folder / "weights" / f"{run.id}.safetensors",
        "log": folder / "training" / f"{run.id}.jsonl",
        "summary": folder / "training" / f"{run.id}.json",
        "predictions": folder / "predictions" / f"{run.id}.json",
        "record": folder / "records" / f"{run.id}.json",
    }
