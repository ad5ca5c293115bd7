"""Train a run: data in, weights and log out."""

from __future__ import annotations

import dataclasses
import json

from reprolib.data.catalog import prepare
from reprolib.data.coco import CocoInstances
from reprolib.engine.devices import use_cpu_threads
from reprolib.engine.processes import after_first, process_group, rank
from reprolib.engine.train import train
from reprolib.files import write_atomic, write_json
from reprolib.params import Run
from reprolib.pipeline.runs.build import build_model
from reprolib.pipeline.runs.launch import LaunchError, launch, process_count
from reprolib.pipeline.runs.paths import WORK, run_paths
from reprolib.pipeline.runs.weights import save_weights


def train_run(run: Run, *, fingerprint: str, device: str | None = None) -> dict[str, object]:
    """Train a run and write its weights, log and summary; returns the summary.

    Checkpoints are kept in `work/<fingerprint>/`: an interrupted run goes on where it was, and a run that finished
    with the same fingerprint is not trained again. With REPROLIB_PROCESSES above 1 torchrun's processes do it.
    """
    paths = run_paths(run)
    processes = process_count()
    if processes > 1:
        launch("train", run, processes=processes, device=device)
        summary = json.loads(paths["summary"].read_text())
        if summary["fingerprint"] != fingerprint:
            raise LaunchError(
                f"{run.id} is another run in params.yaml than here: {summary['fingerprint']}, not {fingerprint}; train"
                " what params.yaml does not say in one process"
            )
        return summary
    with process_group(device) as own_device:
        split = after_first(lambda: prepare(run.dataset, run.dataset_options)).splits["train"]
        dataset = CocoInstances(
            split.images, split.annotations, train=True, flip=run.schedule.flip, semantic=split.semantic
        )
        use_cpu_threads(run.schedule.cpu_threads)
        model = build_model(run, num_classes=len(dataset.class_names))
        work = WORK / fingerprint
        log = work / "log.jsonl"
        summary = train(model, dataset, run.schedule, seed=run.seed, device=own_device, work=work, log=log)
        plain = dataclasses.asdict(summary) | {"fingerprint": fingerprint}
        if rank() == 0:
            classes = zip(dataset.category_ids, dataset.class_names, strict=True)
            categories = [{"id": key, "name": name} for key, name in classes]
            save_weights(paths["weights"], model, run=run, categories=categories)
            write_atomic(paths["log"], log.read_bytes())
            write_json(paths["summary"], plain)
    return plain
