"""Runs side by side: as many as the cores hold, and a failure is told with the end of its log."""

import dataclasses
import sys
from pathlib import Path

import pytest

from reprolib import repro
from reprolib.params import load_profile

ROOT = Path(__file__).parent.parent


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """Stages that print their run's name and fail where it is `bad`."""
    monkeypatch.chdir(tmp_path)
    code = "import sys; print(sys.argv[-1]); sys.exit('it broke' if 'bad' in sys.argv[-1] else 0)"
    monkeypatch.setattr(repro, "_command", lambda *arguments: [sys.executable, "-c", code, *arguments])
    return tmp_path


def test_every_run_has_its_log(commands, capsys):
    repro.side_by_side(["one", "two", "three"], jobs=2)
    assert "evaluate@two" in (commands / "work/logs/two.log").read_text()
    assert "3/3" in capsys.readouterr().out


def test_a_failure_names_the_run_and_shows_the_end_of_its_log(commands):
    with pytest.raises(repro.ReproError, match=r"bad failed.*\n(?s:.*)it broke"):
        repro.side_by_side(["bad", "one"], jobs=1)


def test_nothing_to_run_prints_nothing(commands, capsys):
    repro.side_by_side([], jobs=2)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("cores", "threads", "jobs"), [(2, 1, 2), (16, 1, 8), (16, 4, 4), (1, 1, 1), (2, 4, 1), (8, 0, 1)]
)
def test_jobs_follow_cores_and_threads(monkeypatch, cores, threads, jobs):
    monkeypatch.setenv("REPROLIB_DEVICE", "cpu")
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    profile = load_profile("demo", path=ROOT / "params.yaml")
    schedule = dataclasses.replace(profile.schedules["default"], cpu_threads=threads)
    assert repro.default_jobs(dataclasses.replace(profile, schedules={"default": schedule})) == jobs


def test_a_table_without_runs_starts_none(monkeypatch):
    """`dvc repro` without a target would run the whole pipeline."""
    called = []
    monkeypatch.setattr(repro, "dvc", lambda *arguments, captured=False: called.append(arguments) or "{}")
    profile = load_profile("demo", path=ROOT / "params.yaml")
    repro.repro(profile, tables=["mai_se_net-3"], jobs=2)
    assert called == [("repro", "plan"), ("repro", "--single-item", "tables@mai_se_net-3")]
