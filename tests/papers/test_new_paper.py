"""`new-paper` and `check-paper`: what is refused, what stays as it was, and the order in which problems are named."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

import reprolib.papers
from reprolib.papers.elsewhere import VARIABLE, use_papers
from reprolib.papers.folders import forget_folders
from reprolib.papers.named_systems import _parsed
from reprolib.papers.new.make import new_paper
from reprolib.papers.reported import load_table
from reprolib.params import ParamsError
from reprolib.pipeline import check_paper as checks
from reprolib.pipeline.check_paper import check_paper

PARAMS = Path(__file__).parents[2] / "params.yaml"
KEY = "paper_of_a_test"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for papers beside a copy of params.yaml, which is the current folder's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(reprolib.papers, "__path__", list(reprolib.papers.__path__))
    shutil.copy(PARAMS, tmp_path)
    (tmp_path / "more").mkdir()
    yield use_papers(tmp_path / "more")
    for name in [name for name in sys.modules if KEY in name]:
        del sys.modules[name]
    forget()


def forget() -> None:
    """Read files again that a test has changed."""
    forget_folders()
    _parsed.cache_clear()
    load_table.cache_clear()


def filled(folder: Path) -> Path:
    """A new paper in which nothing is left to be written; it is Mask R-CNN."""
    made = new_paper(KEY, name="Paper of a test")
    for path in made:
        path.write_text(path.read_text().replace("FILL IN", "written"))
    forget()
    return folder / KEY


def test_params_keep_every_line_and_get_a_schedule_and_a_profile(folder):
    new_paper(KEY)
    before, after = PARAMS.read_text().splitlines(), Path("params.yaml").read_text().splitlines()
    assert [line for line in after if KEY not in line][: len(before) // 2] == before[: len(before) // 2]
    left = iter(after)
    assert all(line in left for line in before), "every line is there, in the same order"
    profiles = yaml.safe_load(Path("params.yaml").read_text())["profiles"]
    assert profiles[KEY]["tables"] == [f"{KEY}-1"] and profiles[KEY]["scale"] == profiles["demo"]["scale"]
    assert profiles["paper"]["schedules"][KEY]["batch_size"] == 16


@pytest.mark.parametrize("key", ["Upper", "with-hyphen", "1st", "class", "", "catalog", "new", "seanet"])
def test_a_key_that_cannot_be_one_is_refused_and_nothing_is_written(folder, key):
    with pytest.raises(ValueError, match=r"cannot be a key|exists already"):
        new_paper(key)
    assert list(folder.iterdir()) == [] and Path("params.yaml").read_text() == PARAMS.read_text()


def test_what_exists_is_refused(folder):
    filled(folder)
    text = Path("params.yaml").read_text()
    with pytest.raises(ValueError, match="exists already"):
        new_paper(KEY)
    shutil.rmtree(folder / KEY)
    forget()
    with pytest.raises(ParamsError, match=f"a profile '{KEY}' already"):
        new_paper(KEY)
    assert not (folder / KEY).exists() and Path("params.yaml").read_text() == text
    with pytest.raises(ParamsError, match="profile paper has a schedule 'coco' already; choose another key"):
        new_paper("coco")
    with pytest.raises(ValueError, match="must have no quote"):
        new_paper("another", name='a "name"')


def test_a_new_paper_has_things_to_fill_in_and_is_complete_without_them(folder):
    new_paper(KEY)
    assert check_paper(KEY) == [f"more/{KEY}/reported/table_1.csv, line 2: FILL IN (2 lines)"]
    for path in [*(folder / KEY).rglob("*.*"), Path("params.yaml")]:
        path.write_text(path.read_text().replace("FILL IN", "written"))
    forget()
    assert check_paper(KEY) == []


def test_an_unknown_paper_is_named():
    with pytest.raises(KeyError, match="no paper 'nobody'; there are"):
        check_paper("nobody")


CASES = {  # file: (old text, new text, the step that finds it, what it says)
    "model.py": (None, None, "_files", "model.py is missing"),
    "reported/table_1.csv": (f"{KEY},1,2", f"{KEY},1,3", "_numbers", "prints rows [1, 3], but TABLES has rows 1 to 2"),
    "systems.csv": ("Mask R-CNN,Mask", "Mask RCNN,Mask", "_systems", "no line for Mask R-CNN, which a table prints"),
    "claims.csv": (
        "consistent,note\n",
        "consistent,note\nX-1,numeric,better,1,segm/AP,T1 row 2: Ours,T1 row 7: Theirs,1,1,yes,\n",
        "_claims",
        "X-1 speaks of table 1 row 7, which does not exist",
    ),
    "card.md": ("## Ambiguities", "## Doubts", "_card", "no section `## Ambiguities`"),
    f"{KEY}.ipynb": ('"parameters"', '"other"', "_notebook", "no cell with the tag `parameters`"),
}


@pytest.mark.parametrize("file", CASES)
def test_what_is_wrong_is_named_by_its_step(folder, file):
    old, new, step, message = CASES[file]
    path = filled(folder) / file
    if old is None:
        path.unlink()
    else:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    forget()
    assert any(message in problem for problem in getattr(checks, step)(KEY))


def test_params_without_the_published_schedule_or_a_profile_are_named(folder):
    filled(folder)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace(f"      {KEY}:", "      other:"))
    assert any(f"profile paper has no schedule '{KEY}'" in problem for problem in checks._params(KEY))
    for field in ("tables", "experiments"):
        Path("params.yaml").write_text(text.replace(f"{field}: [{KEY}-1]", f"{field}: [{KEY}-9]"))
        with pytest.raises(ParamsError, match=f"no {field[:-1]} '{KEY}-9'"):
            list(checks._params(KEY))


def test_the_notebook_is_one(folder):
    notebook = json.loads((filled(folder) / f"{KEY}.ipynb").read_text())
    assert notebook["nbformat"] == 4 and KEY in "".join(notebook["cells"][2]["source"])
