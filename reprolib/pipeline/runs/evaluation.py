"""Evaluate a run: weights in, predictions and a record out."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from torch import nn

from reprolib.data.catalog import prepare
from reprolib.data.coco import CocoInstances
from reprolib.engine.devices import use_cpu_threads
from reprolib.engine.inference import predict
from reprolib.engine.processes import after_first, from_first, process_group
from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.evaluation.matches import matches_path, write_matches
from reprolib.evaluation.protocols import check, find_protocol, score
from reprolib.evaluation.record import make_record, read_record, write_record
from reprolib.files import write_atomic
from reprolib.params import Run
from reprolib.pipeline.runs.build import build_model
from reprolib.pipeline.runs.launch import launch, process_count
from reprolib.pipeline.runs.oracle_prompts import oracle_metrics
from reprolib.pipeline.runs.paths import run_paths
from reprolib.pipeline.runs.weights import load_weights


def evaluate_run(run: Run, *, fingerprint: str, data_fingerprint: str, device: str | None = None) -> dict[str, object]:
    """Detect on the run's validation split and write predictions, matches and record; returns the record.

    Scored by the protocol of the prepared data set's card unless the profile names another: a stand-in's numbers are
    those of its own. With REPROLIB_PROCESSES above 1 torchrun's processes share the images; the first one scores.
    Raises FileNotFoundError where the run has not been trained.
    """
    paths = run_paths(run)
    for key in ("weights", "summary"):
        if not paths[key].is_file():
            raise FileNotFoundError(
                f"{paths[key]} is missing: train the run first (`reprolib train {run.experiment.id}`)"
            )
    processes = process_count()
    if processes > 1:
        launch("evaluate", run, processes=processes, device=device)
        return read_record(paths["record"])
    with process_group(device) as own_device:
        return _evaluate(run, fingerprint=fingerprint, data_fingerprint=data_fingerprint, device=own_device)


def _evaluate(run: Run, *, fingerprint: str, data_fingerprint: str, device: str) -> dict[str, object]:
    prepared = after_first(lambda: prepare(run.dataset, run.dataset_options))
    split, protocol = prepared.splits["val"], find_protocol(run.protocol or prepared.card.protocol)
    ground_truth = json.loads(Path(split.annotations).read_text())
    check(protocol, ground_truth, images=split.images)
    dataset = CocoInstances(split.images, split.annotations, train=False)
    use_cpu_threads(run.schedule.cpu_threads)
    model = build_model(run, num_classes=len(dataset.class_names), pretrained=False)
    paths = run_paths(run)
    load_weights(model, paths["weights"])
    detections, speed = predict(model, dataset, device=device)

    def write_results() -> dict[str, object]:
        write_atomic(paths["predictions"], json.dumps(detections))
        limit = protocol.limit(run.scale.detections)
        scores = score(protocol, ground_truth, detections, images=split.images, limit=limit, area=run.area)
        write_matches(matches_path(paths["record"].parent.parent, run.id), scores.matches)
        metrics = dict(scores.metrics)
        if run.experiment.oracle_prompts:
            metrics |= oracle_metrics(run, model, dataset, ground_truth, detections, protocol=protocol, device=device)
        record = make_record(
            run,
            data={
                "split": "val",
                "images": len(dataset),
                "instances": len(ground_truth["annotations"]),
                "fingerprint": data_fingerprint,
            },
            protocol=scores.protocol,
            metrics=metrics,
            precision_recall=scores.curves,
            cost=_cost(run, model, dataset, detections),
            speed={key: value for key, value in speed.items() if key not in ("seconds", "images")},
            training={
                key: value for key, value in json.loads(paths["summary"].read_text()).items() if key != "fingerprint"
            },
            fingerprint=fingerprint,
        )
        write_record(paths["record"], record)
        return record

    return from_first(write_results)


def _cost(run: Run, model: nn.Module, dataset: CocoInstances, detections: list[dict]) -> dict[str, object]:
    """Parameters, and FLOPs as publications count them: at the split's median input and mean number of detections."""
    inputs = [model.transform.test_input(height, width) for height, width in dataset.sizes]
    height = int(statistics.median_high(h for h, _ in inputs))
    width = int(statistics.median_high(w for _, w in inputs))
    counts = {
        "proposals": run.scale.rpn_post_nms[1],
        "detections": max(1, round(len(detections) / max(1, len(dataset)))),
    }
    without_weights = on_meta(lambda: build_model(run, num_classes=len(dataset.class_names), pretrained=False))
    return {
        **count_parameters(model),
        **counts,
        "flops": flops(without_weights, height, width, **counts),
        "flops_input": [height, width],
    }
