"""matrix.yaml is what the active profile lists, and stages of another list are refused before anything runs."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from reprolib.cli import main
from reprolib.papers.addresses import profile_experiments
from reprolib.params import ParamsError, load_profile
from reprolib.pipeline.matrix import MATRIX, check_matrix, matrix_text, write_matrix

ROOT = Path(__file__).parent.parent.parent
PROFILES = list(yaml.safe_load((ROOT / "params.yaml").read_text())["profiles"])


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """The demo profile, in an empty folder."""
    profile = load_profile("demo", path=ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return profile


def test_the_committed_file_is_what_the_active_profile_lists():
    active = load_profile(path=ROOT / "params.yaml")
    assert (ROOT / MATRIX).read_text() == matrix_text(active), "run `reprolib plan`"


@pytest.mark.parametrize("name", PROFILES)
def test_it_holds_ids_and_no_addresses(name):
    profile = load_profile(name, path=ROOT / "params.yaml")
    matrix = yaml.safe_load(matrix_text(profile))["matrix"]
    assert matrix["profile"] == name
    assert matrix["experiments"] == [experiment.id for experiment in profile_experiments(profile)]
    assert all(matrix["tables"]) and "all" not in matrix["tables"] + matrix["papers"]


def test_it_is_written_where_it_is_not_up_to_date(demo):
    assert write_matrix(demo) and not write_matrix(demo)
    check_matrix(demo)
    assert write_matrix(dataclasses.replace(demo, experiments=("seanet-2:1",)))


def test_another_list_is_refused_with_the_command_to_run(demo):
    for profile in (demo, dataclasses.replace(demo, tables=("seanet-2",)), dataclasses.replace(demo, name="other")):
        with pytest.raises(ParamsError, match=r"matrix\.yaml is not what profile .* run `reprolib plan`"):
            check_matrix(profile)
        write_matrix(demo)
    assert yaml.safe_load(MATRIX.read_text())["matrix"]["profile"] == "demo"


def test_the_stage_refuses_it_before_it_writes_a_plan(demo, capsys):
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    assert main(["plan", "--check-matrix"]) == 2
    assert "run `reprolib plan`" in capsys.readouterr().err
    assert not Path("results").exists() and not MATRIX.exists()


def test_every_name_that_dvc_goes_over_is_in_it_or_in_params_yaml(demo):
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert pipeline["vars"] == [MATRIX.name]
    used = {source for stage in pipeline["stages"].values() for source in stage.get("matrix", {}).values()}
    assert used == {"${profile.data}", "${profile.seeds}", *(f"${{matrix.{name}}}" for name in lists(demo))}
    assert "--check-matrix" in pipeline["stages"]["plan"]["cmd"] and MATRIX.name in pipeline["stages"]["plan"]["deps"]


def lists(profile):
    return set(yaml.safe_load(matrix_text(profile))["matrix"]) - {"profile"}
