"""What a run depends on: recipe, data, code and library versions.

The pipeline writes it down as `results/<profile>/runs/{train,evaluate}/<run>.json` (`reprolib.pipeline.plan`).
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

from reprolib.data.card import Card
from reprolib.data.cards import CARDS, class_count
from reprolib.experiment import Experiment
from reprolib.params import ParamsError, Profile, Run, resolve
from reprolib.pipeline.fingerprint import as_plain, code_hashes, digest, libraries, with_fingerprint

TRAIN_ENTRIES = ("reprolib.pipeline.runs.build", "reprolib.pipeline.runs.training")
EVALUATE_ENTRIES = ("reprolib.pipeline.runs.build", "reprolib.pipeline.runs.evaluation")
EVALUATORS = ("pycocotools", "hotcoco")
COUNT_ENTRIES = ("reprolib.pipeline.describe", "reprolib.pipeline.runs.build", "reprolib.evaluation.cost")


def recipe(run: Run) -> dict[str, object]:
    """All values of a run that change its numbers, as plain JSON."""
    return {
        "module": run.experiment.module,
        "backbone": run.experiment.backbone,
        "components": list(run.experiment.components),
        "switches": dict(run.experiment.switches),
        "dataset": run.dataset,
        "seed": run.seed,
        "scale": as_plain(run.scale),
        "schedule": as_plain(run.schedule),
    }


def train_plan(run: Run, *, data_fingerprint: str) -> dict[str, object]:
    """What training depends on, with `fingerprint`, the hash that names its checkpoints."""
    return with_fingerprint(
        {
            "run": run.id,
            "recipe": recipe(run),
            "data": data_fingerprint,
            "libraries": libraries(),
            "code": code_hashes([*TRAIN_ENTRIES, run.experiment.module]),
        }
    )


def evaluate_plan(run: Run, *, data_fingerprint: str) -> dict[str, object]:
    """What evaluation depends on besides the weights."""
    return with_fingerprint(
        {
            "run": run.id,
            "recipe": recipe(run),
            "data": data_fingerprint,
            "protocol": run.protocol or (CARDS[run.dataset].protocol if run.dataset in CARDS else Card.protocol),
            "area": run.area,
            "libraries": libraries() | {name: importlib.metadata.version(name) for name in EVALUATORS},
            "code": code_hashes([*EVALUATE_ENTRIES, run.experiment.module]),
        }
        | ({"oracle_prompts": True} if run.experiment.oracle_prompts else {})
    )


def count_fingerprint(experiment: Experiment, paper_profile: Profile) -> str:
    """The hash of an experiment's published recipe, its number of classes, and the code that builds and counts it."""
    run = resolve(paper_profile, experiment, 0)
    code = code_hashes([*COUNT_ENTRIES, experiment.module])
    return digest({"recipe": recipe(run), "classes": class_count(run.dataset), "code": code})


def data_report(profile: Profile, dataset: str) -> Path:
    """The file that the preparation of a data set leaves."""
    return profile.results / "data" / f"{dataset}.json"


def data_fingerprint(profile: Profile, dataset: str) -> str:
    """The prepared data set's hash from its report; raises ParamsError where it is not prepared."""
    path = data_report(profile, dataset)
    try:
        return json.loads(path.read_text())["fingerprint"]
    except FileNotFoundError:
        raise ParamsError(
            f"{path} is missing: prepare the data set with `reprolib data {dataset} --profile {profile.name}`,"
            f" or list {dataset!r} under `data` of the profile in params.yaml"
        ) from None
