"""An untrained demo detector whose weights lie where `reprolib train` leaves them."""

import shutil
from pathlib import Path

import pytest
import torch

from reprolib.data.cards import CARDS
from reprolib.papers.addresses import resolve_address
from reprolib.params import load_profile, resolve
from reprolib.pipeline.runs.build import build_model
from reprolib.pipeline.runs.paths import run_paths
from reprolib.pipeline.runs.weights import save_weights

ROOT = Path(__file__).parent.parent.parent
EXPERIMENT = "coco-mask_rcnn_r50"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A working folder with params.yaml and the weights of EXPERIMENT under `demo`, category ids 10, 20, ..."""
    made = tmp_path_factory.mktemp("prompting")
    shutil.copy(ROOT / "params.yaml", made)
    run = resolve(load_profile("demo", path=ROOT / "params.yaml"), resolve_address(EXPERIMENT), 0)
    names = CARDS[run.dataset].classes
    torch.manual_seed(0)
    model = build_model(run, num_classes=len(names), pretrained=False)
    categories = [{"id": 10 * number, "name": name} for number, name in enumerate(names, start=1)]
    save_weights(made / run_paths(run)["weights"], model, run=run, categories=categories)
    return made


@pytest.fixture
def working(folder, monkeypatch):
    """The same as the current folder."""
    monkeypatch.chdir(folder)
    return folder
