"""What README says of adding a paper, done with a small made-up one in a folder outside the repository: from
`new-paper` to its page in the report, with nothing touched but its folder, with its notebook, and params.yaml."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reprolib.papers.elsewhere import VARIABLE

ROOT = Path(__file__).parents[2]
OWN = "coco-sixth_net_r50-twice-sixth"
MICRO = """
    datasets: {street: {train: 4, val: 2, size: 64, seed: 3}}
    data: [street]
    scale:
      backbones: {resnet50: test_resnet}
      norm: batch
      pretrained: false
      frozen_stages: 0
      channels: 32
      box_hidden: 16
      anchor_sizes: [8, 16, 32, 64, 128]
      rpn_pre_nms: [20, 20]
      rpn_post_nms: [20, 20]
      roi_batch: 8
    schedules:
      default: {batch_size: 2, iterations: 2, lr: 0.001, min_sizes: [64], max_size: 64, test_size: 64, workers: 0}
"""
SWITCHES = {
    "COMPONENTS: tuple[str, ...] = ()  # FILL IN, lower case, in the order of the paper": 'COMPONENTS = ("twice",)',
    "CHOICES: dict[str, tuple[str, ...]] = {}": 'CHOICES = {"join": ("sum", "mean")}',
    '    """FILL IN a field with its default for each thing that the paper leaves open."""': '    """One."""\n\n'
    '    join: str = "sum"  # sum | mean: of the two pyramids',
}
NECK = '''"""Two pyramids side by side."""

from torch import Tensor, nn

from reprolib.models.feature_pyramid import FeaturePyramid


class TwicePyramid(nn.Module):
    """[C2..C5] -> the sum or the mean of the maps of two pyramids."""

    def __init__(self, in_channels: list[int], *, channels: int, join: str) -> None:
        super().__init__()
        self.pyramids = nn.ModuleList(FeaturePyramid(in_channels, channels=channels) for _ in range(2))
        self.factor = 1.0 if join == "sum" else 0.5

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """[C2..C5] -> [P2..P6]."""
        first, second = (pyramid(maps) for pyramid in self.pyramids)
        return [self.factor * (one + other) for one, other in zip(first, second, strict=True)]
'''
MODEL = {
    "from reprolib.papers.sixth.switches import": "from reprolib.papers.sixth.neck import TwicePyramid\n"
    "from reprolib.papers.sixth.switches import",
    "    resolve_switches(components, **switches)\n": "    chosen = resolve_switches(components, **switches)\n",
    "dialect=DIALECT)\n    return two_stage(": "dialect=DIALECT)\n\n"
    "    def neck(in_channels):\n"
    "        return TwicePyramid(in_channels, channels=scale.channels, join=chosen.join)\n\n"
    "    neck = neck if components else None\n"
    "    return two_stage(",
    "input_size=input_size, dialect=DIALECT)": "input_size=input_size, dialect=DIALECT, neck=neck)",
    "    FILL IN: this builds Mask R-CNN. Pass what": "    What",
}


def edit(path: Path, changes: dict[str, str]) -> None:
    """Replace texts that the file must have, then whatever the template still leaves to be written."""
    text = path.read_text()
    for old, new in changes.items():
        assert old in text, (path, old)
        text = text.replace(old, new)
    path.write_text(text.replace("FILL IN", "written"))


def hashes(*folders: Path) -> dict[Path, str]:
    """Every file of the folders but what Python keeps of its own."""
    files = (
        path for folder in folders for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Clone:
    """A copy of this tree beside a folder of papers, and the commands that a user types in it."""

    def __init__(self, folder: Path) -> None:
        self.path, self.papers = folder / "clone", folder / "more"
        self.papers.mkdir()
        for name in (
            "dvc.yaml",
            "matrix.yaml",
            ".dvc/config",
            ".dvc/.gitignore",
            ".dvcignore",
            ".gitignore",
            "params.yaml",
        ):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.path / name)
        for name in ("reprolib", "notebooks"):
            shutil.copytree(ROOT / name, self.path / name, ignore=shutil.ignore_patterns("__pycache__"))
        (self.path / "results").mkdir()
        shutil.copy(ROOT / "results/systems.json", self.path / "results")  # counts of unchanged networks
        self("git", "init", "--quiet", "--initial-branch", "main")
        self.commit()

    def __call__(self, *command: str, code: int = 0) -> str:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.path),
            VARIABLE: str(self.papers),
            **dict.fromkeys(("DVC_NO_ANALYTICS", "OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE"), "1"),
        }
        done = subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True)
        assert done.returncode == code, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def reprolib(self, *arguments: str, code: int = 0) -> str:
        return self(sys.executable, "-m", "reprolib", *arguments, code=code)

    def commit(self) -> None:
        self("git", "add", "--all")
        self("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", "start")

    def fill_in(self) -> None:
        """What a person writes after `new-paper`."""
        folder = self.papers / "sixth"
        edit(folder / "switches.py", SWITCHES)
        edit(folder / "model.py", MODEL)
        (folder / "neck.py").write_text(NECK)
        edit(folder / "tables.py", {"2: own()": '2: own("twice")', 'title="FILL IN"': 'title="Two pyramids"'})
        edit(folder / "systems.csv", {"text,FILL IN,,": 'text,"Nobody, 2026",nobody/sixth: MIT,'})
        edit(folder / "reported/table_1.csv", {"AP,0.0": "AP,30.0", "val,,1,segm/AP,30.0": "val,twice,1,segm/AP,31.5"})
        with (folder / "claims.csv").open("a") as file:
            file.write("SIX-1,numeric,twice is better,1,segm/AP,T1 row 2: Sixth Net,T1 row 1: Mask R-CNN,1.7,1.5,no,\n")
        (folder / "audit.md").write_text("# Audit of Sixth Net\n\n1. The text says 1.7, the table 1.5 [script].\n")
        for name in ("__init__.py", "card.md", "sixth.ipynb"):
            edit(folder / name, {})
        edit(
            folder / "card.md",
            {"| written | `written` | | |\n\n## Audit": "| joining | `join` | sum | figure 2 |\n\n## Audit"},
        )
        block = {"experiments: [sixth-1]": 'experiments: ["sixth-1:2"]', "name: sixth\n": f"name: sixth{MICRO}"}
        edit(self.path / "params.yaml", block | {"\nprofile: *demo": "\nprofile: *sixth"})


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The clone with the paper made, filled in and run through the whole pipeline."""
    made = Clone(tmp_path_factory.mktemp("sixth"))
    before = hashes(made.path / "reprolib", made.path / "notebooks")
    made.written = made.reprolib("new-paper", "sixth", "--name", "Sixth Net").splitlines()
    made.unfilled = made.reprolib("check-paper", "sixth", code=1)
    made.fill_in()
    made.checked = made.reprolib("check-paper", "sixth")
    made.said = made.reprolib("repro", "--jobs", "2")
    made.untouched = before == hashes(made.path / "reprolib", made.path / "notebooks")
    return made


def test_new_paper_says_what_it_made_and_check_paper_what_to_write(clone):
    made = [Path(line) for line in clone.written[:-1]]
    assert {path.parent for path in made} == {clone.papers / "sixth", clone.papers / "sixth/reported", Path()}
    assert made[-1] == Path("params.yaml") and "check-paper sixth" in clone.written[-1]
    first = clone.unfilled.splitlines()[0]
    assert first.startswith("1. ") and "reported/table_1.csv, line 2: FILL IN" in first
    assert clone.checked == "sixth: complete\n"


def test_nothing_else_is_touched(clone):
    assert clone.untouched
    changed = {line[3:].split("/")[0] for line in clone("git", "status", "--porcelain").splitlines()}
    assert changed <= {"params.yaml", "matrix.yaml", "results", "dvc.lock"}
    lines = clone("git", "diff", "--unified=0", "params.yaml").splitlines()
    assert [line for line in lines if line.startswith("-") and "---" not in line] == ["-profile: *demo"]


def test_it_is_listed_and_described(clone):
    assert [OWN, "sixth-1:2"] in [line.split() for line in clone.reprolib("list").splitlines()]
    described = json.loads(clone.reprolib("describe", OWN, "--profile", "paper", "--json"))
    assert described["params"] > 44_000_000 and described["flops"] > 0


def test_its_table_holds_the_run_beside_the_reported_number(clone):
    record = json.loads((clone.path / f"results/sixth/records/{OWN}-0.json").read_text())
    table = (clone.path / "results/sixth/tables/sixth-1.md").read_text()
    assert record["training"]["iterations"] == 2
    assert "31.5" in table and f"{record['metrics']['segm/AP']:.1f}" in table and "not run" in table


def test_the_audit_checks_its_claims_and_keeps_what_was_read(clone):
    assert "SIX-1" in clone.reprolib("audit", "--paper", "sixth")
    page = (clone.path / "results/audit.md").read_text()
    assert "## Sixth Net" in page and "SIX-1" in page


def test_it_has_its_pages_and_stands_among_the_others(clone):
    report = clone.path / "results/sixth/report"
    page = (report / "papers/sixth.html").read_text()
    assert 'class="notebook"' in page and "SIX-1" in (report / "claims.html").read_text()
    assert "Sixth Net" in (clone.path / "results/systems.md").read_text()
    assert "Nobody, 2026" in (report / "systems.html").read_text()
    assert "sixth-1" in (clone.path / "results/README.md").read_text()


def test_a_second_run_finds_nothing_to_do_and_an_edit_of_the_paper_is_seen(clone):
    assert "Nothing to do" in clone.reprolib("repro", "--jobs", "1")
    edit(clone.papers / "sixth/neck.py", {"0.5": "0.25"})
    clone.reprolib("plan")
    clone("dvc", "repro", "--single-item", "plan")
    changed = set(json.loads(clone("dvc", "status", "--json")))
    assert {f"train@{OWN}-0", f"evaluate@{OWN}-0"} <= changed and "data@street" not in changed


def test_what_cannot_be_a_paper_is_refused(clone, capsys):
    for key, message in (("sixth", "exists already"), ("Sixth", "cannot be a key"), ("catalog", "cannot be a key")):
        command = [sys.executable, "-m", "reprolib", "new-paper", key]
        done = subprocess.run(
            command,
            cwd=clone.path,
            env=os.environ | {"PYTHONPATH": str(clone.path), VARIABLE: str(clone.papers)},
            text=True,
            capture_output=True,
        )
        assert done.returncode == 2 and message in done.stderr
