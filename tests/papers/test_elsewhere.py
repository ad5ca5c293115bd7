"""Papers in other folders: found, imported, followed by fingerprints; what is wrong with one is said in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from reprolib.papers import elsewhere
from reprolib.papers.folders import HERE

ROOT = Path(__file__).parents[2]


def reprolib(*arguments: str, papers: str = "", code: int = 0) -> str:
    """Run a verb from the repository's root in a process of its own; returns what it prints."""
    environment = os.environ | {elsewhere.VARIABLE: papers, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "reprolib", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def folder(tmp_path):
    """A folder with a copy of MAI-SE-Net under another key and under other claim ids."""
    target = tmp_path / "papers" / "sixth"
    shutil.copytree(HERE / "mai_se_net", target, ignore=shutil.ignore_patterns("__pycache__"))
    for path in target.rglob("*.*"):
        text = path.read_text().replace("mai_se_net", "sixth").replace("MAI-SE-Net", "Sixth").replace("MAI-", "SIX-")
        path.write_text(text)
    return target.parent


def test_the_variable_and_the_option_find_them(folder):
    assert "sixth-1:7" in reprolib("list", papers=str(folder))
    assert "sixth-1:7" in reprolib("list", "--papers", str(folder))
    assert "sixth-1:7" in reprolib("--papers", str(folder), "list")
    assert "sixth-1" not in reprolib("list")
    assert "SIX-029" in reprolib("audit", "--paper", "sixth", papers=str(folder))


def test_code_is_followed_into_them(folder):
    code = (
        "from reprolib.pipeline.fingerprint import code_hashes;"
        "print('reprolib.papers.sixth.mask_interaction' in code_hashes(['reprolib.papers.sixth.model']))"
    )
    environment = os.environ | {elsewhere.VARIABLE: str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_a_key_that_stands_twice_is_refused_with_both_folders(folder):
    (folder / "sixth").rename(folder / "seanet")
    said = reprolib("list", papers=str(folder), code=2)
    assert (
        "two papers have the key 'seanet'" in said and str(folder / "seanet") in said and str(HERE / "seanet") in said
    )


def test_a_folder_that_does_not_exist_is_named():
    assert "--papers /nowhere: no such folder" in reprolib("list", "--papers", "/nowhere", code=2)
    assert "REPROLIB_PAPERS names /nowhere, which is no folder" in reprolib("list", papers="/nowhere", code=2)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("tables.py", "import nowhere\n", "tables.py cannot be used (ModuleNotFoundError: No module named 'nowhere')"),
        ("tables.py", "TABLES = [\n", "tables.py cannot be used (SyntaxError: '[' was never closed"),
        ("tables.py", "", "tables.py cannot be used (AttributeError: "),
    ],
)
def test_a_broken_paper_is_named_with_what_to_do(folder, file, text, message):
    (folder / "sixth" / file).write_text(text)
    said = reprolib("list", papers=str(folder), code=2)
    assert message in said and "check-paper sixth" in said and said.count("\n") == 1


def test_an_installed_package_can_bring_papers(monkeypatch):
    entry = EntryPoint(name="more", value="reprolib.models", group=elsewhere.GROUP)
    monkeypatch.setattr(elsewhere.importlib.metadata, "entry_points", lambda group: [entry])
    monkeypatch.delenv(elsewhere.VARIABLE, raising=False)
    assert elsewhere.folders_elsewhere() == [ROOT / "reprolib" / "models"]
    wrong = EntryPoint(name="more", value="no_such_package", group=elsewhere.GROUP)
    monkeypatch.setattr(elsewhere.importlib.metadata, "entry_points", lambda group: [wrong])
    with pytest.raises(ValueError, match=r"entry point more of .*: no_such_package is no installed"):
        elsewhere.folders_elsewhere()
