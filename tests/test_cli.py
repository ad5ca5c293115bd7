"""The command line: what it prints, and one line that helps where something is wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reprolib.cli import main

ROOT = Path(__file__).parent.parent
FULL = "coco-iemask_rcnn_r50-cem+gim+bottomup+aff+encdechead"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def printed(capsys, *arguments):
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_list_as_json_names_the_rows_that_show_an_experiment(capsys):
    entries = {entry["id"]: entry for entry in json.loads(printed(capsys, "list", "--json"))}
    shown = entries[FULL]
    assert (shown["system"], shown["backbone"], shown["dataset"]) == ("IEMask R-CNN", "resnet50", "coco")
    assert shown["components"] == ["cem", "gim", "bottomup", "aff", "encdechead"]
    assert {(place["table"], place["row"]) for place in shown["tables"]} >= {
        ("iemask_rcnn-3", 14),
        ("iemask_rcnn-4", 4),
        ("iemask_rcnn-8", 11),
    }


def test_list_says_where_an_experiment_is_shown(capsys):
    line = next(line for line in printed(capsys, "list").splitlines() if line.startswith(f"{FULL} "))
    assert {"iemask_rcnn-3:14", "iemask_rcnn-4:4"} <= set(line.replace(",", "").split())


def test_list_of_a_table_prints_its_rows_as_readers_know_them(capsys):
    title, head, first, *others = printed(capsys, "list", "--table", "seanet-2").splitlines()
    assert title.startswith("SEANet, table 2: ") and head.split()[0] == "row" and "mask AP" in head
    name = "coco-mask_rcnn_r101-seanet~background_channels.True~dialect.mm"
    assert first.split() == ["seanet-2:1", "Mask", "R-CNN", "36.5", "40.3", "run", name]
    assert "SEANet (Mask R-CNN) + FCBoxHead+B-IoU + Attention" in others[2]
    assert "(not printed)" in others[-1]


def test_list_of_a_table_as_json_tells_what_the_profile_has(capsys):
    entries = {e["address"]: e for e in json.loads(printed(capsys, "list", "--table", "mai_se_net-1", "--json"))}
    assert entries["mai_se_net-1:1"] == {
        "address": "mai_se_net-1:1",
        "name": "HTC, ResNet-101-FPN",
        "printed": True,
        "reported": {"mask AP": "59.3", "box AP": "65.6"},
        "experiment": "ssdd-htc_r101",
        "state": "run",
    }
    assert entries["mai_se_net-1:13"]["state"] == "not listed", "and has no record"


def test_list_of_a_table_that_describes_data_has_no_experiments(capsys):
    entries = json.loads(printed(capsys, "list", "--table", "insight_any_instance-1", "--json"))
    assert {entry["experiment"] for entry in entries} == {None} and entries[0]["name"] == "COCO"


def test_a_verb_takes_ids_rows_and_tables(capsys):
    options = ("--input", "64x64", "--json")
    by_id = json.loads(printed(capsys, "describe", "coco-mask_rcnn_r50", *options))
    assert json.loads(printed(capsys, "describe", "iemask_rcnn-3:1", *options)) == by_id
    both = json.loads(printed(capsys, "describe", "iemask_rcnn-3:1", "mai_se_net-1:1", *options))
    assert list(both) == ["coco-mask_rcnn_r50", "ssdd-htc_r101"] and both["coco-mask_rcnn_r50"] == by_id


def test_the_cost_of_a_row_is_that_of_its_runs(capsys):
    cost = json.loads(printed(capsys, "cost", "iemask_rcnn-3:1", "seanet-5", "--json"))
    rows = {"coco-mask_rcnn_r50-0", "coco-mask_rcnn_r101-seanet~background_channels.True~dialect.mm-0"}
    assert rows <= {run["run"] for run in cost["runs"]}
    assert [table["table"] for table in cost["tables"]] == ["iemask_rcnn-3", "seanet-5"]


@pytest.mark.parametrize(
    ("experiment", "switches", "params", "trainable"),
    [
        ("coco-mask_rcnn_r50", [], 44_343_216, 44_120_816),
        (FULL, ["--switch", "keep_dead_params=true"], 140_655_634, 140_433_234),
        ("coco-mask_rcnn_r101-seanet~background_channels.True~dialect.mm", [], 63_392_821, 63_167_477),
        ("isaid-mask_rcnn_r50~dialect.mm", [], 44_046_506, 43_821_162),
    ],
)
def test_describe_at_the_published_scale(capsys, experiment, switches, params, trainable):
    """IEMask Table 8, SEANet Table 6 (63.17 M trainable), Insight Table II (44.1 M)."""
    found = json.loads(printed(capsys, "describe", experiment, "--profile", "paper", "--json", *switches))
    assert (found["params"], found["trainable_params"]) == (params, trainable)
    assert found["input_size"] == [800, 1088]
    assert found["flops"] > 100e9


def test_every_published_data_set_has_its_number_of_classes(capsys):
    counts = {"coco": 80, "cityscapes": 8, "lvis": 1203, "isaid": 15, "nwpu_vhr10": 10}
    counts |= dict.fromkeys(("ssdd", "ssdd_7_3", "hrsid"), 1)
    experiments = [entry["id"] for entry in json.loads(printed(capsys, "list", "--json"))]
    for dataset, count in counts.items():
        experiment = next(name for name in experiments if name.startswith(f"{dataset}-mask_rcnn"))
        options = ("--profile", "paper", "--input", "64x64", "--json")
        assert json.loads(printed(capsys, "describe", experiment, *options))["classes"] == count


def test_describe_counts_at_the_size_that_the_model_makes_of_an_image(capsys):
    found = json.loads(printed(capsys, "describe", "coco-yolact_r50", "--profile", "paper", "--json"))
    assert found["input_size"] == [550, 550] and found["flops"] / 1e9 == pytest.approx(59.5, abs=0.05)


def test_describe_takes_an_input_size(capsys):
    options = ("--profile", "paper", "--input", "800x1152", "--detections", "25", "--json")
    found = json.loads(printed(capsys, "describe", "coco-mask_rcnn_r50", *options))
    assert found["input_size"] == [800, 1152] and found["flops"] / 1e9 == pytest.approx(200.4, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe", "coco-maskrcnn_r50"], "did you mean coco-mask_rcnn_r50"),
        (["describe", "coco-mask_rcnn_r50", "--input", "800"], "HEIGHTxWIDTH"),
        (["describe", FULL, "--switch", "gim=1"], "no switch 'gim'"),
        (["describe", "coco-mask_rcnn_r50", "--profile", "big"], "there are demo, reference, reference_cpu, paper"),
        (["tables", "iemask-3"], "iemask_rcnn"),
        (["list", "--table", "iemask-3"], "did you mean iemask_rcnn-3"),
        (["export", "seanet-2-0"], "names 8 experiments where one is taken"),
        (["train", "seanet-2:9"], "table seanet-2 has rows 1 to 8, no '9'"),
        (["repro", "seenet-2:1"], "no table 'seenet-2'; did you mean seanet-2"),
        (["notebook", "notebooks/no.ipynb", "out.ipynb"], "not found"),
        (["notebook", "notebooks/train.ipynb", "out.ipynb", "profile"], "name=value"),
        (["notebook", "notebooks/train.ipynb", "out.ipynb", "prifile=demo"], "no parameter 'prifile'"),
        (["data", "coco", "--profile", "paper", "--from-dir", "nowhere"], "nowhere is no folder"),
        (["data", "cityscapes", "--profile", "paper"], "csDownload gtFine_trainvaltest.zip"),
        (["data", "voc", "--card"], "no card of 'voc'"),
    ],
)
def test_mistakes_end_in_one_helpful_line(capsys, arguments, message):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_outside_the_repository_it_says_where_to_go(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["describe", "coco-mask_rcnn_r50"]) == 2
    assert "run reprolib from the repository's root" in capsys.readouterr().err


def test_evaluating_what_was_not_trained_says_so(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    assert main(["evaluate", "coco-mask_rcnn_r50"]) == 2
    assert "reprolib data street" in capsys.readouterr().err


def test_doctor_finds_this_environment_sound_and_missing_data_mendable(capsys):
    found = json.loads(printed(capsys, "doctor", "--json"))
    assert found["versions"]["torch"].startswith("2.11.0") and found["problems"] == []
    assert main(["doctor", "--profile", "paper"]) == 1
    assert "`reprolib data coco --profile paper` fetches it (20.4 GB" in capsys.readouterr().out


def test_data_lists_every_set_and_shows_a_card(capsys):
    listed = printed(capsys, "data")
    assert all(any(line.startswith(name) for line in listed.splitlines()) for name in ("coco", "hrsid", "custom"))
    card = printed(capsys, "data", "hrsid", "--card")
    assert "unverified: no checksum is published" in card and "train: 3,642 images, 11,047 instances" in card


def test_listing_and_writing_the_plan_need_no_torch(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "results/demo/data", tmp_path / "results/demo/data")
    code = (
        "import sys; from reprolib.cli import main; main(['list']); main(['plan']);"
        "heavy = {'torch', 'matplotlib', 'papermill'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
