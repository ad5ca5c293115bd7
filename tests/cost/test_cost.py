"""The cost of a profile: shared runs once, hours from records or published speeds, and `unknown` for all else."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from reprolib.cost.estimate import images_trained, profile_cost
from reprolib.cost.speeds import PUBLISHED, find_speeds
from reprolib.cost.text import as_json, text
from reprolib.cost.weights import ModelSize, training_bytes, weights_bytes
from reprolib.data.sizes import SplitSizes
from reprolib.files import size_text, write_json
from reprolib.papers.addresses import profile_experiments, profile_runs, resolve_address
from reprolib.params import Schedule, load_profile, resolve

ROOT = Path(__file__).parents[2]
DEMO, PAPER = (load_profile(name, path=ROOT / "params.yaml") for name in ("demo", "paper"))


@pytest.fixture(scope="module")
def records():
    """A committed record of each system of the demo, by experiment."""
    found = {}
    listed = {run.id for run in profile_runs(DEMO)}
    for path in sorted((ROOT / "results/demo/records").glob("*-0.json")):
        record = json.loads(path.read_text())
        if path.stem in listed and record["training"].get("images_per_second"):
            found.setdefault(record["system"], record)
    return {record["experiment"]: record for record in found.values()}


def sibling(name):
    """Another experiment of the demo of the same system, backbone and data set, or None."""
    one = resolve_address(name)
    for other in profile_experiments(DEMO):
        same = (other.system, other.backbone, other.dataset) == (one.system, one.backbone, one.dataset)
        if same and other.id != name:
            return other.id
    return None


@pytest.fixture(scope="module")
def partly_measured(tmp_path_factory, records):
    """The cost of four of the demo's runs: two have a record, one a record of its system, one has neither."""
    folder = tmp_path_factory.mktemp("cost")
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "results/demo/data", folder / "results/demo/data")
    first = next(name for name in records if sibling(name))
    second, without = [name for name in records if records[name]["system"] != records[first]["system"]][:2]
    kept = {f"{name}-0": records[name] for name in (first, second)}
    lines = []
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    try:
        for stem, record in kept.items():
            write_json(folder / f"results/demo/records/{stem}.json", record)
        profile = replace(DEMO, experiments=(first, second, sibling(first), without))
        yield profile_cost(profile, say=lines.append), kept, lines
    finally:
        patch.undo()


def test_a_measured_run_is_its_own_record(partly_measured):
    cost, kept, _ = partly_measured
    measured = [run for run in cost.runs if run.done]
    assert {run.run.id for run in measured} == set(kept)
    for run in measured:
        record = kept[run.run.id]
        assert run.trained == record["training"]["images_seen"] and run.speed.source == "record"
        assert run.sizes.val == record["data"]["images"] == run.run.dataset_options["val"]
        assert run.trained * run.speed.train == pytest.approx(record["training"]["seconds_total"], rel=0.05)
        assert run.speed.evaluate == pytest.approx(1 / record["speed"]["images_per_second"])


def test_without_a_record_the_speed_is_that_of_the_system_or_unknown(partly_measured):
    cost, _, _ = partly_measured
    first, _, same_system, unknown = cost.runs
    assert (same_system.speed.train, same_system.speed.evaluate) == (first.speed.train, first.speed.evaluate)
    assert same_system.speed.source == "same system" and not same_system.done
    assert unknown.speed is None and unknown.hours is None and unknown.trained


def test_experiments_that_tables_share_are_in_the_total_once(partly_measured):
    cost, _, _ = partly_measured
    assert sum(table.total.runs for table in cost.tables) > cost.total.runs == 4
    assert cost.total.hours == pytest.approx(sum(run.hours for run in cost.runs if run.hours is not None))
    assert cost.total.unknown_hours == 1 and cost.left.unknown_hours == 1
    assert cost.left.runs == 2 and cost.left.hours < cost.total.hours
    assert all(table.total.download <= cost.total.download for table in cost.tables)


def test_what_is_printed_names_hardware_sources_and_how_much_is_unknown(partly_measured):
    cost, _, lines = partly_measured
    shown = text(cost)
    assert cost.speeds.hardware in shown and "prepared data" in shown and "left out)" in shown
    assert "those of 1 of 4 runs are unknown and not in the sums" in shown and " +1?" in shown
    assert "same system" in shown and "Let one run of a system end" in shown
    assert lines[-1] == "counted 4 of 4 runs"
    values = json.loads(json.dumps(as_json(cost)))
    assert values["total"]["runs"] == 4 and values["total"]["unknown_hours"] == 1
    assert [run["speed_source"] for run in values["runs"]] == ["record", "record", "same system", None]
    assert values["runs"][3]["hours"] is None


def test_speeds_of_other_hardware_are_not_mixed(records):
    name, record = next(iter(records.items()))
    gpu = copy.deepcopy(record)
    gpu["speed"]["hardware"], gpu["training"]["device"], gpu["recipe"]["precision"] = "A GPU", "cuda", "bfloat16"
    gpu["training"]["images_per_second"] = 1000 * record["training"]["images_per_second"]
    both = {"a": record, "b": gpu, "c": record}
    run = resolve(DEMO, resolve_address(name), 0)
    on_cpu, on_gpu = find_speeds(both), find_speeds(both, hardware="a gpu")
    assert (on_cpu.hardware, on_cpu.on_gpu) == (f"{record['speed']['hardware']}, float32", False)
    assert (on_gpu.hardware, on_gpu.on_gpu) == ("A GPU, bfloat16", True)
    assert on_cpu.of(run).train == pytest.approx(1000 * on_gpu.of(run).train)


def test_published_speeds_are_per_device_and_have_a_source():
    first = PUBLISHED["NVIDIA V100, float32"]["coco-mask_rcnn_r50"]
    assert 8 / first.train == pytest.approx(61, abs=0.5)  # images per second of 8 GPUs, as MODEL_ZOO.md
    speeds = [speed for by_experiment in PUBLISHED.values() for speed in by_experiment.values()]
    assert all(speed.train > 0 and speed.evaluate > 0 and speed.source for speed in speeds)


def test_published_speeds_are_for_the_published_scale_only():
    speeds = find_speeds({})
    run = run_of("coco-mask_rcnn_r50")
    assert speeds.of(run) == PUBLISHED[speeds.hardware]["coco-mask_rcnn_r50"]
    assert speeds.of(replace(run, schedule=replace(run.schedule, test_size=400))) is None
    assert speeds.of(replace(run, scale=replace(run.scale, channels=64))) is None
    assert speeds.of(run_of("coco-mask_rcnn_r50", profile=DEMO)) is None


@pytest.fixture
def without_records(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


def test_without_a_record_a_published_gpu_is_named_with_its_source(without_records):
    profile = replace(PAPER, experiments=("coco-mask_rcnn_r50",), tables=("iemask_rcnn-4",))
    cost = profile_cost(profile, say=lambda line: None)
    assert cost.speeds.hardware == "NVIDIA V100, float32" and "detectron2 MODEL_ZOO.md" in text(cost)
    (run,) = cost.runs
    assert (run.trained, run.sizes.val) == (720_000 * 2, 5_000)
    assert run.hours == pytest.approx((1_440_000 * 0.1305 + 5_000 * 0.043) / 3600)
    archives = 19_336_861_798 + 815_585_330 + 252_907_541
    assert cost.total.download == archives + run.model.backbone_bytes
    assert run.model.backbone == "resnet50.tv_in1k" and 102e6 < run.model.backbone_bytes < 103e6
    assert cost.total.disk > archives + 21_200_000_000
    a100 = profile_cost(profile, hardware="TF32", say=lambda line: None)
    assert a100.total.hours < cost.total.hours and "NVIDIA DeepLearningExamples" in text(a100)
    for name, message in (("A100", "ambiguous"), ("abacus", "not known")):
        with pytest.raises(ValueError, match=message):
            profile_cost(profile, hardware=name, say=lambda line: None)


def test_a_table_in_place_of_experiments_counts_what_the_profile_leaves_out(without_records):
    profile = replace(PAPER, experiments=("coco-mask_rcnn_r50",), tables=("iemask_rcnn-4",))
    cost = profile_cost(profile, say=lambda line: None)
    every = profile_cost(replace(profile, experiments=("coco-mask_rcnn_r50", "iemask_rcnn-4")), say=lambda line: None)
    assert every.total.runs == cost.total.runs + cost.tables[0].absent > 1
    assert [table.absent for table in every.tables] == [0]


def run_of(name, *, options=None, profile=PAPER, **changes):
    run = resolve(profile, resolve_address(name), 0)
    options = run.dataset_options if options is None else options
    return replace(run, dataset_options=options, schedule=replace(run.schedule, **changes))


def test_images_are_steps_times_batch_or_not_known():
    unknown = SplitSizes(train=None, val=None, source="")
    by_steps = run_of("coco-mask_rcnn_r50", iterations=10, batch_size=4)
    assert images_trained(by_steps, unknown) == 40
    by_epochs = run_of("ssdd-htc_r101", epochs=2.0, iterations=0, batch_size=4)
    assert images_trained(by_epochs, SplitSizes(train=10, val=1, source="")) == 20
    assert images_trained(by_epochs, unknown) is None


def test_an_unknown_size_is_said_and_not_a_zero(without_records):
    datasets = {**PAPER.datasets, "hrsid": {"split": "scenes"}}
    profile = replace(PAPER, datasets=datasets, experiments=("hrsid-htc_r101",), tables=())
    cost = profile_cost(profile, hardware="V100", say=lambda line: None)
    (run,) = cost.runs
    assert run.trained is None and run.hours is None
    assert any("images of data set hrsid" in item for item in cost.total.unknown)
    assert "Not known, and counted as 0: images of data set hrsid" in text(cost)
    assert as_json(cost)["runs"][0]["hours"] is None


def test_bytes_of_weights_and_checkpoints():
    model = ModelSize(params=10, trainable_params=8, backbone="resnet50.tv_in1k", backbone_bytes=5)
    assert weights_bytes(model) == 3 * 4 * 10
    assert training_bytes(model, Schedule(optimizer="sgd")) == 2 * 4 * (10 + 8)
    assert training_bytes(model, Schedule(optimizer="adamw")) == 2 * 4 * (10 + 16)
    assert training_bytes(model, Schedule(optimizer="sgd", momentum=0.0)) == 2 * 4 * 10
    assert [size_text(value) for value in (0, 999, 1_500, 2_000_000_000)] == ["0 B", "999 B", "1.5 kB", "2.0 GB"]
