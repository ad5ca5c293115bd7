from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from reprolib.evaluation.record import (
    SCHEMA,
    RecordError,
    make_record,
    read_record,
    read_records,
    validate_record,
    write_record,
)
from reprolib.experiment import Experiment
from reprolib.params import Run, Scale, Schedule


@dataclass(frozen=True, kw_only=True)
class Summary:
    iterations: int
    images_seen: int
    seconds: float
    final_losses: dict
    device: str


@pytest.fixture(scope="module")
def made():
    run = Run(
        experiment=Experiment(
            system="HTC",
            module="x",
            backbone="resnet50",
            dataset="ssdd",
            components=("cem", "gim"),
        ),
        seed=3,
        profile="demo",
        dataset="street",
        dataset_options=MappingProxyType({}),
        scale=Scale(backbones=MappingProxyType({"resnet50": "resnet10t"}), pretrained=False, norm="batch"),
        schedule=Schedule(lr=0.002, iterations=200),
    )
    return make_record(
        run,
        data={"split": "val", "images": 40, "instances": 222, "fingerprint": "ab"},
        metrics={"segm/AP": 41.25, "segm/APl": None},
        precision_recall={"recall": [0.0, 1.0], "segm/50": [1.0, 0.5]},
        cost={"params": 10, "trainable_params": 9, "params_frozen_norm_excluded": 8},
        speed={
            "images_per_second": 4.5,
            "batch_size": 1,
            "hardware": "a CPU, 2 threads",
            "device": "cpu",
            "includes": "resize, network, paste, RLE",
        },
        training=Summary(iterations=200, images_seen=800, seconds=20.5, final_losses={"loss_mask": 0.5}, device="cpu"),
        fingerprint="cd",
    )


@pytest.fixture
def record(made):
    return copy.deepcopy(made)


def test_identity_and_recipe_come_from_the_run(record):
    assert record["run"] == "ssdd-htc_r50-cem+gim~module.x-3"
    assert record["experiment"] == "ssdd-htc_r50-cem+gim~module.x"
    assert (record["data"]["name"], record["data"]["exact"], record["dataset"]) == ("street", False, "ssdd")
    recipe = record["recipe"]
    assert recipe["initialisation"] == "from scratch"
    assert (recipe["norm"], recipe["lr"], recipe["iterations"]) == ("batch", 0.002, 200)
    assert recipe["backbones"] == {"resnet50": "resnet10t"}
    assert record["cost"]["flops"] is None
    assert record["environment"]["threads"] >= 1


def test_round_trip(record, tmp_path):
    path = tmp_path / "records" / f"{record['run']}.json"
    write_record(path, record)
    assert read_record(path) == record
    assert read_records(path.parent) == {record["run"]: record}
    assert read_records(tmp_path / "none yet") == {}


def test_how_it_was_scored_is_said_where_known(record):
    assert "protocol" not in record  # records from before there were protocols stay valid
    validate_record(record)
    said = {"name": "lvis", "version": "hotcoco 1", "area": "json", "max_detections": 300}
    validate_record(record | {"protocol": said})
    with pytest.raises(RecordError, match=r"'protocol\.area' is missing"):
        validate_record(record | {"protocol": {"name": "lvis", "version": "hotcoco 1"}})


def set_in(record, dotted, value):
    *parents, last = dotted.split(".")
    for key in parents:
        record = record[key]
    if value is KeyError:
        del record[last]
    else:
        record[last] = value


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("fingerprint", KeyError, "'fingerprint' is missing"),
        ("training.seconds", KeyError, "'training.seconds' is missing"),
        ("note", "hello", "'note' is unknown"),
        ("speed.fps", 3.0, "'speed.fps' is unknown; remove it, known are images_per_second"),
        ("seed", "3", "'seed' must be integer"),
        ("seed", True, "'seed' must be integer"),
        ("seed", 3.0, "'seed' must be integer"),
        ("metrics.segm/AP", float("nan"), "'metrics.segm/AP' is not finite"),
        ("recipe.backbones", {"resnet50": [float("nan")]}, r"'recipe.backbones.resnet50\[0\]' is not finite"),
        ("metrics.segm/AP", "41", "'metrics.segm/AP' must be number or null"),
        ("recipe.lr", float("inf"), "'recipe.lr' is not finite"),
        ("recipe.gamma", float("nan"), "'recipe.gamma' is not finite"),
        ("precision_recall.recall", [0.0, None], r"'precision_recall.recall\[1\]' must be number"),
        ("cost.params", -1, "'cost.params' must be at least 0"),
        ("cost", None, "'cost' must be object"),
        ("schema", 0, "schema is 0.*reads 1; evaluate the run again"),
    ],
)
def test_wrong_fields_are_refused_by_name_and_nothing_is_written(record, tmp_path, field, value, message):
    path = tmp_path / "run.json"
    path.write_text("the older record")
    set_in(record, field, value)
    with pytest.raises(RecordError, match=rf"run\.json.*{message}"):
        write_record(path, record)
    assert path.read_text() == "the older record"


def test_fields_that_a_later_schedule_adds_are_readable(record):
    record["recipe"]["a_field_of_tomorrow"] = [1, 2]
    validate_record(record)


def test_a_write_that_dies_leaves_the_older_record(record, tmp_path, monkeypatch):
    path = tmp_path / f"{record['run']}.json"
    write_record(path, record)
    older = path.read_bytes()

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        write_record(path, record | {"fingerprint": "other"})
    assert path.read_bytes() == older
    assert list(tmp_path.iterdir()) == [path]


def test_unreadable_files_are_named_with_the_mend(record, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.json.*not been evaluated"):
        read_record(tmp_path / "absent.json")
    path = tmp_path / "half.json"
    path.write_text('{"schema": 1,')
    with pytest.raises(RecordError, match=r"half\.json is not JSON.*evaluate the run again"):
        read_records(tmp_path)
    path.write_text("[]")
    with pytest.raises(RecordError, match=r"half\.json: the record must be object"):
        read_record(path)
    path.write_text(json.dumps(record))
    with pytest.raises(RecordError, match=r"half\.json: field 'run' is 'ssdd-htc"):
        read_records(tmp_path)


def test_every_field_says_what_it_is():
    def walk(schema, name):
        assert schema["description"], name
        for key, value in schema.get("properties", {}).items():
            walk(value, f"{name}.{key}")

    walk(json.loads(SCHEMA.read_text(encoding="utf-8")), "record")


def test_committed_records_are_valid():
    folders = sorted((Path(__file__).parents[2] / "results").glob("*/records"))
    assert any(read_records(folder) for folder in folders)


def test_reading_records_does_not_load_torch():
    code = "import sys, reprolib.evaluation.record; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
