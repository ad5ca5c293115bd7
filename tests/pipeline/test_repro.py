"""Runs side by side: as many as the cores hold, and a failure is told with the end of its log."""

import dataclasses
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from reprolib.papers.addresses import profile_experiments, table_by_id
from reprolib.params import load_profile
from reprolib.pipeline import dvc, repro, side_by_side, verbs

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """Stages that print their run's name and fail where it is `bad`."""
    monkeypatch.chdir(tmp_path)
    code = "import sys; print(sys.argv[-1]); sys.exit('it broke' if 'bad' in sys.argv[-1] else 0)"
    monkeypatch.setattr(dvc, "dvc_command", lambda *arguments: [sys.executable, "-c", code, *arguments])
    return tmp_path


def test_every_run_has_its_log(commands, capsys):
    side_by_side.side_by_side(["one", "two", "three"], dvc.repro_commands, jobs=2)
    assert "evaluate@two" in (commands / "work/logs/two.log").read_text()
    assert "3/3" in capsys.readouterr().out


def test_a_failure_names_the_run_and_shows_the_end_of_its_log(commands):
    with pytest.raises(dvc.ReproError, match=r"bad failed.*\n(?s:.*)it broke"):
        side_by_side.side_by_side(["bad", "one"], dvc.repro_commands, jobs=1)


def test_nothing_to_run_prints_nothing(commands, capsys):
    side_by_side.side_by_side([], dvc.repro_commands, jobs=2)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("cores", "threads", "jobs"), [(2, 1, 2), (16, 1, 8), (16, 4, 4), (1, 1, 1), (2, 4, 1), (8, 0, 1)]
)
def test_jobs_follow_cores_and_threads(monkeypatch, cores, threads, jobs):
    monkeypatch.setenv("REPROLIB_DEVICE", "cpu")
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    profile = load_profile("demo", path=ROOT / "params.yaml")
    schedule = dataclasses.replace(profile.schedules["default"], cpu_threads=threads)
    assert side_by_side.default_jobs(dataclasses.replace(profile, schedules={"default": schedule})) == jobs


def test_what_runs_side_by_side_shares_the_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with side_by_side.shared_cores(3):
        assert dvc.environment()["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in dvc.environment()
    monkeypatch.setenv("OMP_NUM_THREADS", "5")  # the user's own
    with side_by_side.shared_cores(3):
        assert dvc.environment()["OMP_NUM_THREADS"] == "5"


@pytest.fixture
def demo(monkeypatch, tmp_path):
    """The demo profile in an empty folder, where dvc is only noted; and what was started, by name."""
    profile = load_profile("demo", path=ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    called, started = [], {}
    monkeypatch.setattr(repro, "dvc", lambda *arguments: called.append(arguments))
    monkeypatch.setattr(repro, "stale", lambda *stages: [stage for stage in stages if stage.startswith("train@")])
    monkeypatch.setattr(side_by_side, "execute", lambda name, cmds: started.update({name: cmds}) or (0, 1.0))
    return profile, called, started


def test_a_table_without_runs_starts_none(demo):
    """`dvc repro` without a target would run the whole pipeline."""
    profile, called, started = demo
    repro.repro(profile, addresses=["mai_se_net-2"], listed=True, jobs=2)
    assert started == {}, "no data set either: none of its experiments is listed"
    assert called == [("repro", "--single-item", "plan"), ("repro", "--single-item", "tables@mai_se_net-2")]


def test_a_row_takes_its_run_its_data_and_its_table(demo):
    profile, called, started = demo
    repro.repro(profile, addresses=["seanet-2:1"], jobs=1)
    stages = ("train", "evaluate")
    run = "coco-mask_rcnn_r101-seanet~background_channels.True~dialect.mm-0"
    assert called == [
        ("repro", "--single-item", "data@street", "plan"),
        ("repro", "--single-item", *(f"{stage}@{run}" for stage in stages)),
        ("repro", "--single-item", "tables@seanet-2"),
    ]
    assert started == {}


@pytest.mark.parametrize(("address", "place"), [([], "report/index.html"), (["seanet-2:1"], "`reprolib report`")])
def test_what_is_said_at_the_end_names_what_was_written(demo, monkeypatch, capsys, address, place):
    monkeypatch.setattr(verbs, "load_profile", lambda: demo[0])
    monkeypatch.setattr(repro, "repro", lambda *_, **__: None)
    verbs.bring_up_to_date(Namespace(address=address, listed=False, jobs=1))
    said = capsys.readouterr().out
    assert place in said and ("index.html" in said) == (not address)


def test_an_id_renders_no_table(demo):
    profile, called, _ = demo
    repro.repro(profile, addresses=["coco-mask_rcnn_r50"], jobs=1)
    assert called[-1] == ("repro", "--single-item", "train@coco-mask_rcnn_r50-0", "evaluate@coco-mask_rcnn_r50-0")


def test_a_table_that_describes_data_prepares_them(demo):
    profile, called, _ = demo
    repro.repro(profile, addresses=["insight_any_instance-1"], jobs=1)
    assert called == [
        ("repro", "--single-item", *(f"data@{name}" for name in profile.data), "plan"),
        ("repro", "--single-item", "tables@insight_any_instance-1"),
    ]


def test_a_table_runs_also_what_the_profile_leaves_out_and_has_no_record(demo):
    profile, _, started = demo
    records = Path("results/demo/records")
    records.mkdir(parents=True)
    (records / "ssdd-groie_r101-0.json").touch()
    repro.repro(profile, addresses=["mai_se_net-1"], jobs=2)
    verbs = {name: commands for name, commands in started.items() if commands[0][3] == "train"}
    unlisted = {row.experiment.id for row in table_by_id("mai_se_net-1").rows if row.experiment} - set(
        experiment.id for experiment in profile_experiments(profile)
    )
    assert set(verbs) == {f"{name}-0" for name in unlisted - {"ssdd-groie_r101"}}, "has a record"
    train, evaluate = verbs["ssdd-sa_rcnn_r50-0"]
    assert train[3:] == ["train", "ssdd-sa_rcnn_r50", "--seed", "0"] and evaluate[3] == "evaluate"
    assert "ssdd-htc_r101-0" in started, "in the pipeline"


def test_matrix_yaml_is_written_before_dvc_reads_it(demo):
    profile, called, _ = demo
    repro.repro(profile, jobs=1)
    assert Path("matrix.yaml").is_file() and called == []


def test_a_run_whose_training_fails_is_not_evaluated(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work/logs").mkdir(parents=True)
    code = "import sys; open(sys.argv[1], 'w'); sys.exit(3)"
    commands = [[sys.executable, "-c", code, name] for name in ("trained", "evaluated")]
    assert side_by_side.execute("run", commands)[0] == 3
    assert (tmp_path / "trained").exists() and not (tmp_path / "evaluated").exists()
