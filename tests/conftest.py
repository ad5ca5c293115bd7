"""A small params.yaml and hand-made records, so that rendering is tested without any training."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.pop("REPROLIB_PAPERS", None)  # the tests are about the papers of this repository

from reprolib.evaluation.record import make_record, write_record
from reprolib.experiment import Experiment
from reprolib.params import load_profile, resolve

PARAMS = """
profiles:
  demo: &demo
    name: demo
    note: "Demo: not the paper's setting."
    seeds: [0]
    datasets:
      street: {train: 4, val: 4, size: 64, seed: 1}
    stands_in: {coco: street, cityscapes: street, lvis: street}
    scale: {channels: 16, norm: batch, pretrained: false, backbones: {resnet50: resnet10t}}
    scale_for: {}
    schedules:
      default: {optimizer: adamw, lr: 0.002, batch_size: 4, iterations: 10, policy: one_cycle}
    data: [street]
    experiments: [coco-mask_rcnn_r50]
    tables: [iemask_rcnn-3]
    papers: []
  paper: &paper
    name: paper
    note: "As published."
    seeds: [0, 1, 2]
    datasets:
      coco: {}
      ssdd: {}
      ssdd_7_3: {}
    stands_in: {}
    scale: {}
    scale_for: {}
    schedules:
      default: {lr: 0.0025, batch_size: 2, iterations: 720000, milestones: [480000, 640000]}
    data: [coco]
    experiments: [coco-mask_rcnn_r50]
    tables: [iemask_rcnn-3]
    papers: []
profile: *demo
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository root with a params.yaml and nothing else."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


@pytest.fixture
def record(root: Path) -> Callable[..., dict]:
    """Make one run's record: `record(experiment, {"segm/AP": 35.0}, profile="demo", seed=0)`, written if asked."""

    def make(
        experiment: Experiment,
        metrics: dict,
        *,
        profile: str = "demo",
        seed: int = 0,
        write: bool = False,
        cost: dict | None = None,
        images_seen: int | None = None,
    ) -> dict:
        run = resolve(load_profile(profile, path=root / "params.yaml"), experiment, seed)
        length = run.schedule.iterations * run.schedule.batch_size
        counts = dict.fromkeys(("params", "trainable_params", "params_frozen_norm_excluded"), 44_343_216)
        made = make_record(
            run,
            data={"split": "val", "images": 4, "instances": 9, "fingerprint": "f" * 16},
            metrics=metrics,
            precision_recall={
                "recall": [0.0, 0.5, 1.0],
                "segm/50": [1.0, 0.8, 0.1],
                "segm/75": [0.9, 0.4, 0.0],
            },
            cost=counts | {"flops": 203_700_000_000} | (cost or {}),
            speed={
                "images_per_second": 10.0,
                "batch_size": 1,
                "hardware": "2 cores",
                "device": "cpu",
                "includes": "all",
            },
            training={
                "iterations": run.schedule.iterations,
                "images_seen": length if images_seen is None else images_seen,
                "seconds": 1.0,
                "final_losses": {"loss_mask": 0.4},
                "device": "cpu",
            },
            fingerprint="0" * 16,
        )
        if write:
            write_record(root / "results" / profile / "records" / f"{run.id}.json", made)
        return made

    return make
