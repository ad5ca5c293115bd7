"""Runs side by side: as many as the cores hold, and a failure is told with the end of its log."""

import dataclasses
import sys
from pathlib import Path

import pytest

from reprolib.params import load_profile
from reprolib.pipeline import repro

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """Stages that print their run's name and fail where it is `bad`."""
    monkeypatch.chdir(tmp_path)
    code = "import sys; print(sys.argv[-1]); sys.exit('it broke' if 'bad' in sys.argv[-1] else 0)"
    monkeypatch.setattr(repro, "dvc_command", lambda *arguments: [sys.executable, "-c", code, *arguments])
    return tmp_path


def test_every_run_has_its_log(commands, capsys):
    repro.side_by_side(["one", "two", "three"], repro.piped, jobs=2)
    assert "evaluate@two" in (commands / "work/logs/two.log").read_text()
    assert "3/3" in capsys.readouterr().out


def test_a_failure_names_the_run_and_shows_the_end_of_its_log(commands):
    with pytest.raises(repro.ReproError, match=r"bad failed.*\n(?s:.*)it broke"):
        repro.side_by_side(["bad", "one"], repro.piped, jobs=1)


def test_nothing_to_run_prints_nothing(commands, capsys):
    repro.side_by_side([], repro.piped, jobs=2)
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


def test_what_runs_side_by_side_shares_the_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with repro._cores_shared(3):
        assert repro.environment()["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in repro.environment()
    monkeypatch.setenv("OMP_NUM_THREADS", "5")  # the user's own
    with repro._cores_shared(3):
        assert repro.environment()["OMP_NUM_THREADS"] == "5"


def test_a_table_without_runs_starts_none(monkeypatch, tmp_path):
    """`dvc repro` without a target would run the whole pipeline."""
    profile = load_profile("demo", path=ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    called, started = [], []
    monkeypatch.setattr(repro, "dvc", lambda *arguments, captured=False: called.append(arguments) or "{}")
    monkeypatch.setattr(repro, "_one", lambda name, commands: started.append(name) or (0, 1.0))
    repro.repro(profile, tables=["mai_se_net-2"], jobs=2)
    assert set(started) <= {f"data@{name}" for name in profile.data}
    assert called == [("repro", "plan"), ("repro", "--single-item", "tables@mai_se_net-2")]


def test_every_row_runs_what_the_profile_leaves_out_and_has_no_record(monkeypatch, tmp_path):
    profile = load_profile("demo", path=ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(repro, "dvc", lambda *arguments, captured=False: "{}")
    started = []
    monkeypatch.setattr(repro, "_one", lambda name, commands: started.append((name, commands)) or (0, 1.0))
    records = tmp_path / "results/demo/records"
    records.mkdir(parents=True)
    (records / "ssdd-groie_r101-0.json").touch()
    repro.repro(profile, tables=["mai_se_net-1"], every_row=True, jobs=1)
    names = [name for name, _ in started]
    assert "ssdd-cascade_mask_rcnn_r101-0" in names and len(names) == 9
    assert not {"ssdd-groie_r101-0", "ssdd-htc_r101-0"} & set(names), "has a record; is in the pipeline"
    train, evaluate = next(commands for name, commands in started if name.startswith("ssdd-sa_rcnn"))
    assert train[3:] == ["train", "ssdd-sa_rcnn_r50", "--seed", "0"] and evaluate[3] == "evaluate"


def test_a_run_whose_training_fails_is_not_evaluated(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work/logs").mkdir(parents=True)
    code = "import sys; open(sys.argv[1], 'w'); sys.exit(3)"
    commands = [[sys.executable, "-c", code, name] for name in ("trained", "evaluated")]
    assert repro._one("run", commands)[0] == 3
    assert (tmp_path / "trained").exists() and not (tmp_path / "evaluated").exists()
