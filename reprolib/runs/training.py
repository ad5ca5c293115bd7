"""Train one run: data in, weights and log out."""

from __future__ import annotations

import dataclasses

from reprolib.data.catalog import prepare
from reprolib.data.coco import CocoInstances
from reprolib.engine.devices import pick_device, use_cpu_threads
from reprolib.engine.train import train
from reprolib.files import write_atomic, write_json
from reprolib.params import Run
from reprolib.runs.build import build_model
from reprolib.runs.paths import WORK, run_paths
from reprolib.runs.weights import save_weights


def train_run(run: Run, *, fingerprint: str, device: str | None = None) -> dict[str, object]:
    """Train a run and write its weights, log and summary; returns the summary.

    Checkpoints are kept in `work/<fingerprint>/`: an interrupted run goes on where it was, and a run that finished
    with the same fingerprint is not trained again.
    """
    prepared = prepare(run.dataset, run.dataset_options)
    split = prepared.splits["train"]
    dataset = CocoInstances(
        split.images, split.annotations, train=True, flip=run.schedule.flip, semantic=split.semantic
    )
    use_cpu_threads(run.schedule.cpu_threads)
    model = build_model(run, num_classes=len(dataset.class_names))
    paths = run_paths(run)
    work = WORK / fingerprint
    summary = train(
        model,
        dataset,
        run.schedule,
        seed=run.seed,
        device=device or pick_device(),
        work=work,
        log=work / "log.jsonl",
    )
    classes = zip(dataset.category_ids, dataset.class_names, strict=True)
    save_weights(paths["weights"], model, run=run, categories=[{"id": key, "name": name} for key, name in classes])
    write_atomic(paths["log"], (work / "log.jsonl").read_bytes())
    plain = dataclasses.asdict(summary) | {"fingerprint": fingerprint}
    write_json(paths["summary"], plain)
    return plain
