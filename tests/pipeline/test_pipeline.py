"""The whole pipeline through the real `dvc repro`, at a micro profile, in a clone of this tree."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
PLAIN, CHANNELS = "coco-mask_rcnn_r50", "coco-iemask_rcnn_r50-cem"
MICRO = {
    "name": "micro",
    "note": "Micro: a test of the pipeline.",
    "seeds": [0],
    "datasets": {"street": {"train": 4, "val": 2, "size": 64, "seed": 3}},
    "stands_in": {"coco": "street"},
    "scale": {
        "backbones": {"resnet50": "resnet10t"},
        "norm": "batch",
        "pretrained": False,
        "frozen_stages": 0,
        "channels": 32,
        "box_hidden": 16,
        "anchor_sizes": [8, 16, 32, 64, 128],
        "rpn_pre_nms": [20, 20],
        "rpn_post_nms": [20, 20],
        "roi_batch": 8,
    },
    "scale_for": {},
    "schedules": {
        "default": {
            "batch_size": 2,
            "iterations": 2,
            "lr": 0.001,
            "min_sizes": [64],
            "max_size": 64,
            "test_size": 64,
            "log_every": 1,
            "workers": 0,
        }
    },
    "data": ["street"],
    "experiments": [PLAIN, CHANNELS],
    "tables": ["iemask_rcnn-3", "insight_any_instance-1"],
    "papers": ["iemask_rcnn"],
}


class Clone:
    """A git clone of this tree with the micro profile, and the commands a user types in it."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def of_this_tree(cls, path: Path, *, cache: Path) -> "Clone":
        for name in (
            *("reprolib", "notebooks", ".dvc/config", "dvc.yaml", ".dvcignore", ".gitignore"),
            "results/systems.json",  # counts of unchanged networks, as every clone has them
        ):
            source, target = ROOT / name, path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
            else:
                shutil.copy(source, target)
        document = {"profiles": {"micro": MICRO, "paper": published()}, "profile": MICRO}
        (path / "params.yaml").write_text(yaml.safe_dump(document))
        clone = cls(path)
        clone.run(sys.executable, "-m", "reprolib", "plan")
        clone.run("git", "init", "--quiet", "--initial-branch", "main")
        clone.commit("start")
        clone.share(cache)
        return clone

    def share(self, cache: Path) -> None:
        self.run("dvc", "cache", "dir", "--local", str(cache))

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", message)

    def run(self, *command: str) -> str:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "PYTHONPATH": str(self.path),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if command[0] == "dvc":
            command = (sys.executable, "-m", "dvc", *command[1:])
        done = subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def changed_stages(self) -> set[str]:
        """Stages that would run again after the plan has been brought up to date."""
        self.run("dvc", "repro", "--single-item", "plan")
        return set(json.loads(self.run("dvc", "status", "--json")))

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.path / name
        text = path.read_text()
        assert old in text, f"{name} no longer holds {old!r}: choose another edit for this test"
        path.write_text(text.replace(old, new, 1))

    def record(self, experiment: str) -> dict:
        return json.loads((self.path / "results/micro/records" / f"{experiment}-0.json").read_text())


def published() -> dict:
    return yaml.safe_load((ROOT / "params.yaml").read_text())["profiles"]["paper"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    made = Clone.of_this_tree(folder / "clone", cache=folder / "cache")
    made.run("dvc", "repro")
    made.commit("first results")
    return made


def test_the_table_holds_both_runs_beside_the_reported_numbers(clone):
    table = (clone.path / "results/micro/tables/iemask_rcnn-3.md").read_text()
    assert "35.27" in table and "not run" in table and "not comparable" in table
    for experiment in (PLAIN, CHANNELS):
        record = clone.record(experiment)
        assert record["training"]["iterations"] == 2 and record["data"]["exact"] is False
        assert f"{record['metrics']['segm/AP']:.2f}" in table
    assert "iemask_rcnn-3" in (clone.path / "results/README.md").read_text()


def test_the_table_that_describes_data_holds_what_the_report_says(clone):
    shares = json.loads((clone.path / "results/micro/data/street.json").read_text())["foreground_ratio_share"]
    assert sum(shares.values()) == pytest.approx(100)
    table = (clone.path / "results/micro/tables/insight_any_instance-1.md").read_text()
    row = next(line for line in table.splitlines() if line.startswith("| 1 | COCO |"))
    assert [cell.strip() for cell in row.split("|")][3:12:3] == [f"{share:.1f}" for share in shares.values()]


def test_notebooks_are_executed_copies(clone):
    folder = clone.path / "results/micro/notebooks"
    names = {"data-street", f"train-{PLAIN}-0", f"evaluate-{CHANNELS}-0", "iemask_rcnn"}
    assert names <= {path.stem for path in folder.glob("*.ipynb")}
    executed = json.loads((folder / f"train-{PLAIN}-0.ipynb").read_text())
    assert any(cell.get("outputs") for cell in executed["cells"])


def test_the_report_shows_the_executed_notebook(clone):
    folder = clone.path / "results/micro/report"
    page = (folder / "papers/iemask_rcnn.html").read_text()
    assert 'class="notebook"' in page and "data:image/png;base64" in page
    assert f"../../records/{PLAIN}-0.json" in (folder / "tables/iemask_rcnn-3.html").read_text()
    assert "has not been executed" in (folder / "papers/seanet.html").read_text()


def test_counts_of_systems_are_those_in_git(clone):
    counted, held = (json.loads((path / "results/systems.json").read_text()) for path in (clone.path, ROOT))
    for count in (*counted.values(), *held.values()):
        del count["fingerprint"]  # another one where code has changed since: it is counted again
    assert counted == held
    assert (clone.path / "results/systems.md").read_bytes() == (ROOT / "results/systems.md").read_bytes()


def test_a_second_run_finds_nothing_to_do(clone):
    before = clone.record(PLAIN)["created"]
    assert "up to date" in clone.run("dvc", "repro")
    assert clone.record(PLAIN)["created"] == before


def test_an_edited_report_retrains_nothing(clone):
    first = "from __future__ import annotations\n"
    clone.edit("reprolib/tables/verdicts.py", first, f"{first}\nEDITED = True\n")
    try:
        changed = clone.changed_stages()
    finally:
        clone.run("git", "checkout", "--", "reprolib")
    assert "tables@iemask_rcnn-3" in changed
    assert not [name for name in changed if name.startswith(("train@", "evaluate@", "data@"))]


def test_an_edited_paper_retrains_that_paper_only(clone):
    clone.edit("reprolib/papers/iemask_rcnn/switches.py", "gim_merge: str", "extra: int = 1\n    gim_merge: str")
    try:
        changed = clone.changed_stages()
    finally:
        clone.run("git", "checkout", "--", "reprolib")
    assert {f"train@{CHANNELS}-0", f"evaluate@{CHANNELS}-0"} <= changed
    assert not {f"train@{PLAIN}-0", f"evaluate@{PLAIN}-0", "data@street"} & changed


def test_an_edited_comment_retrains_nothing(clone):
    clone.edit("reprolib/models/two_stage/roi_heads.py", "from __future__", "# a remark\nfrom __future__")
    clone.edit("reprolib/engine/train.py", "The training loop", "The loop that trains")
    try:
        changed = clone.changed_stages()
    finally:
        clone.run("git", "checkout", "--", "reprolib")
    assert not [name for name in changed if name.startswith(("train@", "evaluate@"))]


def test_finished_runs_come_back_in_a_clone_that_shares_the_cache(clone, tmp_path):
    """The other clone knows nothing but the code: no lock file, no results."""
    other = Clone.of_this_tree(tmp_path / "other", cache=clone.path.parent / "cache")
    repro = (sys.executable, "-m", "reprolib", "repro", "--jobs", "2")
    assert "2 runs, 2 at a time" in other.run(*repro)
    assert "Nothing to do" in other.run(*repro)
    for experiment in (PLAIN, CHANNELS):
        assert other.record(experiment)["created"] == clone.record(experiment)["created"]
        weights = f"results/micro/weights/{experiment}-0.safetensors"
        assert (other.path / weights).read_bytes() == (clone.path / weights).read_bytes()
