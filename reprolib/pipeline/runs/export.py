"""A run's stored detections as a benchmark's submission."""

from __future__ import annotations

import json
from pathlib import Path

from reprolib.data.catalog import prepare
from reprolib.evaluation.export import export
from reprolib.params import Run
from reprolib.pipeline.runs.paths import run_paths


def export_run(run: Run, out: str | Path, *, format: str | None = None, min_score: float | None = None) -> Path:
    """Write what `evaluate` detected on the validation split as a submission; returns its file.

    format, min_score: as in `reprolib.evaluation.export.export`; by default the format of the data set's own protocol.
    Raises FileNotFoundError where the run has not been evaluated.
    """
    path = run_paths(run)["predictions"]
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: evaluate the run first (`reprolib evaluate {run.experiment.id} --seed {run.seed}`)"
        )
    prepared = prepare(run.dataset, run.dataset_options)
    return export(
        format or prepared.card.protocol,
        prepared.splits["val"].annotations,
        json.loads(path.read_text()),
        out,
        name=run.id,
        min_score=min_score,
    )
