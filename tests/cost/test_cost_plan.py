"""The cost of a profile: shared runs once, data by its source, and hours that come out as measured."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from reprolib.cost import storage
from reprolib.cost.plan import cost_plan
from reprolib.cost.text import as_json, size, text
from reprolib.cost.work import Counts, SplitSizes, count, images_trained, split_sizes
from reprolib.files import write_json
from reprolib.models.input_transform import InputTransform
from reprolib.params import Schedule, load_profile, resolve
from reprolib.pipeline.describe import describe, input_size
from reprolib.pipeline.plan import experiment_by_id

ROOT = Path(__file__).parents[2]
DEMO, PAPER = (load_profile(name, path=ROOT / "params.yaml") for name in ("demo", "paper"))


FIXED, SLOPE = 0.02, 3e-11  # seconds of an image, and of each of its multiply-adds, on the machine of the records


def timed_by_law(path, counts):
    """The record at `path`, as from a machine whose times follow from multiply-adds alone: real ones hold noise too."""
    record = json.loads(path.read_text())
    record["training"]["images_per_second"] = 1 / (FIXED + SLOPE * counts.train_flops)
    record["training"]["seconds_total"] = record["training"]["images_seen"] * (FIXED + SLOPE * counts.train_flops)
    record["speed"]["images_per_second"] = 1 / (FIXED + SLOPE * (record["cost"]["flops"] or counts.test_flops))
    return record


@pytest.fixture(scope="module")
def half_measured(tmp_path_factory):
    """The demo's plan where every second record of six is gone, these and those that stayed, and lines of progress."""
    folder = tmp_path_factory.mktemp("plan")
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "results/demo/data", folder / "results/demo/data")
    committed = {path.stem: path for path in sorted((ROOT / "results/demo/records").glob("*.json"))}
    names = [name for name in DEMO.experiments if f"{name}-0" in committed][::5][:6]
    gone, kept, lines = {}, {}, []
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    try:
        for number, name in enumerate(names):
            path = committed[f"{name}-0"]
            seen = json.loads(path.read_text())["cost"]["flops_input"]
            counts = count(resolve(DEMO, experiment_by_id(name), 0), aspect=seen[1] / seen[0])
            (gone if number % 2 else kept)[path.stem] = timed_by_law(path, counts)
        for stem, record in kept.items():
            write_json(folder / f"results/demo/records/{stem}.json", record)
        profile = replace(DEMO, experiments=tuple(names))
        yield cost_plan(profile, say=lines.append), gone, kept, lines
    finally:
        patch.undo()


def test_what_was_not_measured_is_estimated_from_what_was(half_measured):
    plan, gone, _, _ = half_measured
    estimated = {cost.run.id: cost for cost in plan.runs if not cost.measured}
    assert set(estimated) == set(gone) and len(gone) == 3
    for name, cost in estimated.items():
        assert cost.train_hours * 3600 == pytest.approx(gone[name]["training"]["seconds_total"], rel=1e-6)


def test_a_measured_run_is_its_own_record(half_measured):
    plan, _, kept, _ = half_measured
    measured = [cost for cost in plan.runs if cost.measured]
    assert {cost.run.id for cost in measured} == set(kept)
    for cost in measured:
        record = kept[cost.run.id]
        assert cost.done and cost.trained == record["training"]["images_seen"]
        assert cost.train_hours * 3600 == pytest.approx(record["training"]["seconds_total"])
        assert cost.evaluated == record["data"]["images"] == cost.run.dataset_options["val"]


def test_experiments_that_tables_share_are_in_the_total_once(half_measured):
    plan, *_ = half_measured
    shown = sum(table.alone.runs for table in plan.tables)
    assert shown > plan.total.runs == 6
    added = [table.adds for table in plan.tables] + [plan.others]
    for name in ("runs", "images", "disk", "download"):
        assert sum(getattr(one, name) for one in added) == getattr(plan.total, name)
    assert sum(one.hours for one in added) == pytest.approx(plan.total.hours)
    assert plan.total.hours == pytest.approx(sum(cost.hours for cost in plan.runs))
    assert plan.left.runs == 3 and plan.left.hours < plan.total.hours


def test_what_is_printed_names_hardware_error_and_sources(half_measured):
    plan, *_, lines = half_measured
    shown = text(plan)
    assert plan.speeds.hardware in shown and "3 runs measured, 3 runs from multiply-adds" in shown
    assert "left out of the fit" in shown and "prepared data" in shown and "not in the profile" in shown
    assert lines[-1] == "counted 6 of 6 runs"
    found = json.loads(json.dumps(as_json(plan)))
    assert found["total"]["runs"] == 6 and len(found["runs"]) == 6
    assert found["throughput"]["train"]["points"] == 3 and found["throughput"]["train"]["left_out_worst_factor"] > 1


@pytest.fixture
def without_records(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


def test_without_a_record_a_published_gpu_is_named_with_the_error_of_another(without_records):
    profile = replace(PAPER, experiments=("coco-mask_rcnn_r50",), tables=("iemask_rcnn-4",))
    plan = cost_plan(profile, say=lambda line: None)
    assert plan.speeds.hardware == "NVIDIA A100 80GB, TF32"
    assert "NVIDIA V100" in plan.speeds.elsewhere and "Speeds of those code bases" in text(plan)
    (cost,) = plan.runs
    assert (cost.trained, cost.evaluated) == (720_000 * 2, 5_000)
    # 23 images per second at short sides of 800; here they are drawn from 640 to 800.
    assert 1_440_000 / 23 / 3600 * 0.7 < cost.train_hours < 1_440_000 / 23 / 3600
    archives = 19_336_861_798 + 815_585_330 + 252_907_541
    assert plan.total.download == archives + cost.counts.backbone_bytes
    assert cost.counts.backbone == "resnet50.tv_in1k" and 102e6 < cost.counts.backbone_bytes < 103e6
    assert plan.total.disk > archives + 21_200_000_000
    again = cost_plan(profile, hardware="v100", say=lambda line: None)
    assert again.total.hours > plan.total.hours and again.speeds.elsewhere == ""
    for name, message in (("A100", "ambiguous"), ("abacus", "not known")):
        with pytest.raises(ValueError, match=message):
            cost_plan(profile, hardware=name, say=lambda line: None)


def run_of(name, *, options=None, profile=PAPER, **changes):
    run = resolve(profile, experiment_by_id(name), 0)
    options = run.dataset_options if options is None else options
    return replace(run, dataset_options=options, schedule=replace(run.schedule, **changes))


@pytest.mark.parametrize(
    ("experiment", "options", "sizes"),
    [
        ("coco-mask_rcnn_r50", {}, (118_287, 5_000)),
        ("ssdd-htc_r101", {"split": "official"}, (928, 232)),
        ("ssdd-htc_r101", {"split": "own"}, (812, 348)),
        ("hrsid-htc_r101", {"split": "official"}, (3_642, 1_962)),
        ("hrsid-htc_r101", {"split": "scenes"}, (None, None)),
        ("nwpu_vhr10-cascade_mask_rcnn_r50", {"split": "own"}, (455, 195)),
        ("nwpu_vhr10-cascade_mask_rcnn_r50", {"split": "public"}, (520, 130)),
        ("isaid-insight_r50-lpm", {}, (28_029, 9_512)),
    ],
)
def test_sizes_of_data_sets_that_are_not_prepared(experiment, options, sizes):
    found = split_sizes(run_of(experiment, options=options))
    assert (found.train, found.val) == sizes


def test_bbbc038_is_split_by_the_suite_and_a_report_comes_first():
    run = replace(run_of("coco-mask_rcnn_r50", options={}), dataset="bbbc038")
    found = split_sizes(run)
    assert found.train + found.val == 664 and 120 < found.val < 140
    report = {
        "splits": {"train": {"images": 70, "lint": {"counts": {"images without annotation": 6}}}, "val": {"images": 9}}
    }
    assert split_sizes(run, report) == SplitSizes(train=64, val=9, source="prepared data")


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
    plan = cost_plan(profile, hardware="V100", say=lambda line: None)
    (cost,) = plan.runs
    assert cost.trained is None and cost.train_hours is None
    assert any("images of data set hrsid" in item for item in plan.total.unknown)
    assert "Not known, and counted as 0: images of data set hrsid" in text(plan)
    assert as_json(plan)["runs"][0]["train_hours"] is None


@pytest.mark.parametrize(
    "short_sides, max_size, aspect, keep_ratio, expected",
    [
        ([800], 1333, 1.36, True, (800, 1088)),
        ([512], 512, 1.0, True, (512, 512)),
        ([1024], 2048, 2.0, True, (1024, 2048)),
        ([512], 512, 2.0, True, (256, 512)),
        ([300, 500], 2000, 1.0, True, (416, 416)),  # sqrt((300**2 + 500**2) / 2) = 412.3
        ([544], 300, 2.0, False, (544, 544)),  # a square whatever the image
    ],
)
def test_input_sizes(short_sides, max_size, aspect, keep_ratio, expected):
    transform = InputTransform(
        min_sizes=short_sides,
        test_size=short_sides[0],
        max_size=max_size,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        bgr=False,
        keep_ratio=keep_ratio,
    )
    assert input_size(transform, short_sides, aspect=aspect) == expected


def test_yolact_is_counted_on_the_square_that_it_sees(tmp_path):
    run = resolve(PAPER, experiment_by_id("coco-yolact_r50"), 0)
    counted = count(run, cache=tmp_path).test_flops
    assert counted == describe(run)["flops"]
    assert describe(run)["input_size"] == [550, 550]


def test_bytes_of_shared_sources_are_counted_once():
    coco, lvis = storage.data_parts("coco", {}), storage.data_parts("lvis", {})
    both, unknown = storage.download_bytes([*coco, *lvis])
    assert unknown == [] and both == storage.download_bytes(lvis)[0]
    assert both - storage.download_bytes(coco)[0] == 350_264_821 + 64_026_968
    cities = [*storage.data_parts("cityscapes", {}), *storage.data_parts("cityscapes_5", {})]
    assert storage.unpacked_bytes(cities) == (12_500_000_000, [])
    assert storage.download_bytes(storage.data_parts("ssdd", {}))[0] == 1_040_000_000
    assert storage.download_bytes(storage.data_parts("bbbc038", {}))[0] == 84_000_000
    assert storage.unpacked_bytes(storage.data_parts("mine", {"kind": "coco_folder"})) == (0, ["mine"])
    scenes = storage.data_parts("street", {"train": 3, "val": 1, "size": 256})
    assert storage.unpacked_bytes(scenes) == (4 * 4 * 20_000, [])


def test_bytes_of_weights_and_checkpoints():
    counts = Counts(
        train_flops=1, test_flops=1, params=10, trainable_params=8, backbone="resnet50.tv_in1k", backbone_bytes=5
    )
    assert storage.weights_bytes(counts) == 3 * 4 * 10
    assert storage.training_bytes(counts, Schedule(optimizer="sgd")) == 2 * 4 * (10 + 8)
    assert storage.training_bytes(counts, Schedule(optimizer="adamw")) == 2 * 4 * (10 + 16)
    assert storage.training_bytes(counts, Schedule(optimizer="sgd", momentum=0.0)) == 2 * 4 * 10
    assert [size(value) for value in (0, 999, 1_500, 2_000_000_000)] == ["0 B", "999 B", "1.5 kB", "2.0 GB"]
