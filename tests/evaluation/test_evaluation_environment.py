from __future__ import annotations

import subprocess

import pytest

from reprolib.evaluation.environment import environment, git_state

UNKNOWN = {"revision": None, "dirty": None}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # set while a git hook runs the tests
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def git(folder, *arguments):
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_revision_and_changes(repository):
    assert git_state(repository) == UNKNOWN  # no repository
    git(repository, "init", "-q")
    assert git_state(repository) == UNKNOWN  # no commit
    (repository / "code.py").write_text("1")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first", "--no-verify")
    state = git_state(repository)
    assert len(state["revision"]) == 40
    assert state["dirty"] is False
    (repository / "results").mkdir()
    (repository / "results" / "record.json").write_text("{}")
    (repository / "dvc.lock").write_text("x")
    assert git_state(repository) == state  # what the pipeline writes is no change of the code
    (repository / "code.py").write_text("2")
    assert git_state(repository / "results") == state | {"dirty": True}


def test_without_git_nothing_fails(repository, monkeypatch):
    monkeypatch.setenv("PATH", str(repository))
    assert git_state(repository) == UNKNOWN
    assert git_state(repository / "absent") == UNKNOWN


def test_versions_and_machine_are_told():
    told = environment()
    assert told["torch"].count(".") >= 2
    assert told["cpu"]
    assert told["threads"] >= 1
