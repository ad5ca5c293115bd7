"""params.yaml: what it says is what runs, and what it cannot say is refused by file and field."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from reprolib.data.cards import CARDS
from reprolib.experiment import Experiment, rows
from reprolib.papers.addresses import (
    profile_experiments,
    profile_papers,
    profile_runs,
    profile_tables,
    resolve_address,
    run_by_id,
    table_by_id,
)
from reprolib.papers.catalog import all_experiments, all_tables, papers
from reprolib.papers.insight_any_instance.tables import ABLATION
from reprolib.params import ParamsError, Schedule, load_profile, resolve
from reprolib.pipeline.run_dependencies import evaluate_plan, train_plan

ROOT = Path(__file__).parent.parent
PARAMS = ROOT / "params.yaml"


def changed(tmp_path, change):
    document = yaml.safe_load(PARAMS.read_text())
    change(document)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize("name", ["demo", "reference", "paper"])
def test_every_profile_resolves_all_it_runs(name):
    profile = load_profile(name, path=PARAMS)
    for run in profile_runs(profile):
        assert run.dataset in profile.data, f"{run.id} reads {run.dataset}, which `data` does not prepare"
    assert profile_tables(profile) == list(all_tables())
    assert profile_papers(profile) == papers()


def test_the_reference_reads_nwpu_vhr10_itself():
    for name in ("reference", "reference_cpu"):
        profile = load_profile(name, path=PARAMS)
        run = resolve(profile, resolve_address("nwpu_vhr10-cascade_mask_rcnn_r50"), 0)
        assert run.exact_data and run.dataset in profile.data and not run.scale.pretrained
        assert run.schedule.batch_size * run.schedule.iterations > 2 * 455  # some epochs


def test_the_reference_on_a_cpu_is_one_papers_tables_of_one_data_set():
    profile = load_profile("reference_cpu", path=PARAMS)
    assert profile.data == ("nwpu_vhr10",)
    for run in profile_runs(profile):
        assert run.exact_data and run.schedule.cpu_threads == 1
    shown = {row.experiment.id for name in profile.tables for row in all_tables()[name].rows if row.experiment}
    assert {experiment.id for experiment in profile_experiments(profile)} <= shown
    assert {table_by_id(name).paper for name in profile.tables} == set(profile.papers)
    for experiment in ABLATION.values():  # the notebook draws their networks, data and training
        assert resolve(profile, experiment, 0).dataset in profile.data
    assert str(run.schedule.iterations) in profile.note.replace(",", "")


def test_every_experiment_of_every_paper_has_a_published_recipe():
    profile = load_profile("paper", path=PARAMS)
    for experiment in all_experiments().values():
        run = resolve(profile, experiment, 0)
        assert run.exact_data
        assert run.schedule.iterations or run.schedule.epochs


def test_isaid_is_scored_as_its_publication_scores_it():
    paper, demo = (load_profile(name, path=PARAMS) for name in ("paper", "demo"))
    experiment = resolve_address("isaid-insight_r50-lpm")
    assert resolve(paper, experiment, 0).protocol == "coco" != CARDS["isaid"].protocol
    assert resolve(demo, experiment, 0).protocol == ""  # generated scenes: their card's


def test_the_active_profile_is_the_demo():
    assert load_profile(path=PARAMS).name == "demo"


def test_iemask_is_trained_as_published():
    """Specification, section 5: 720,000 iterations of batch 2, and 300 detections on LVIS."""
    profile = load_profile("paper", path=PARAMS)
    coco = run_by_id(profile, "coco-mask_rcnn_r50-0")
    assert (coco.schedule.iterations, coco.schedule.batch_size, coco.schedule.lr) == (720_000, 2, 0.0025)
    assert coco.scale.detections == 100
    lvis = run_by_id(profile, "lvis-mask_rcnn_r50-0")
    assert (lvis.scale.detections, lvis.scale.score_threshold) == (300, 1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["profiles"]["demo"].update(seed=[0]), r"profiles\.demo: unknown field 'seed'"),
        (lambda d: d["profiles"]["demo"].pop("seeds"), r"profiles\.demo: field 'seeds' is missing"),
        (lambda d: d["profiles"]["demo"]["scale"].update(channels="64"), r"scale\.channels must be int"),
        (lambda d: d["profiles"]["demo"]["scale"].update(channels=True), r"scale\.channels must be int"),
        (lambda d: d["profiles"]["demo"]["schedules"]["default"].update(lr="1e-4"), r"write 1\.0e-4"),
        (lambda d: d["profiles"]["demo"]["scale"].update(rpn_pre_nms=[1]), "must have 2 entries"),
        (lambda d: d["profiles"]["demo"].update(seeds=0), r"seeds must be a list"),
        (lambda d: d["profiles"]["demo"].update(name="dmo"), r"profiles\.demo\.name must be 'demo'"),
        (lambda d: d.update(profile="demo"), r"`profile: \*demo`"),
        (lambda d: d.update(extra=1), "nothing else"),
    ],
)
def test_mistakes_are_named(tmp_path, change, message):
    with pytest.raises(ParamsError, match=message):
        load_profile(path=changed(tmp_path, change))


def test_a_row_in_brackets_without_quotes_is_refused_since_dvc_cannot_read_it(tmp_path):
    text = PARAMS.read_text()
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("data: [street, sar_ships, aerial]", "data: [street, seanet-2:1]"))
    with pytest.raises(ParamsError, match='write "seanet-2:1" with its quotes'):
        load_profile(path=path)


def test_unknown_profile_names_the_known_ones():
    with pytest.raises(ParamsError, match="there are demo, reference, reference_cpu, paper"):
        load_profile("papr", path=PARAMS)


def test_a_profile_without_the_data_set_says_what_to_add():
    profile = load_profile("demo", path=PARAMS)
    elsewhere = Experiment(system="Mask R-CNN", module="m", backbone="resnet50", dataset="ade20k")
    with pytest.raises(ParamsError, match=r"needs data set 'ade20k'"):
        resolve(profile, elsewhere, 0)


def test_changes_of_scale_for_a_schedule_go_before_those_for_its_data_set(tmp_path):
    changes = {"coco": {"channels": 40, "box_hidden": 100}, "seanet": {"channels": 24}}
    path = changed(tmp_path, lambda d: d["profiles"]["demo"].update(scale_for=changes))
    scales = [
        resolve(load_profile("demo", path=path), resolve_address(name), 0).scale
        for name in ("coco-mask_rcnn_r50", "coco-seanet_r101-seanet", "isaid-insight_r50-lpm")
    ]
    assert [(scale.channels, scale.box_hidden) for scale in scales] == [(40, 100), (24, 100), (48, 128)]
    wrong = changed(tmp_path, lambda d: d["profiles"]["demo"].update(scale_for={"seanet": {"chanels": 1}}))
    with pytest.raises(ParamsError, match=r"scale_for\.seanet has unknown fields \['chanels'\]"):
        resolve(load_profile("demo", path=wrong), resolve_address("coco-seanet_r101-seanet"), 0)


def test_whose_area_is_json_or_mask_and_evaluation_alone_depends_on_it():
    demo = load_profile("demo", path=PARAMS)
    experiment = profile_experiments(demo)[0]
    plans = {}
    for area in ("json", "mask"):
        run = resolve(dataclasses.replace(demo, area=area), experiment, 0)
        plans[area] = [plan(run, data_fingerprint="x")["fingerprint"] for plan in (train_plan, evaluate_plan)]
    assert plans["json"][0] == plans["mask"][0] and plans["json"][1] != plans["mask"][1]
    assert resolve(demo, experiment, 0).area == "json"
    with pytest.raises(ParamsError, match="area must be json or mask, not 'box'"):
        resolve(dataclasses.replace(demo, area="box"), experiment, 0)


def test_rows_outside_the_table_are_refused():
    with pytest.raises(ValueError, match="rows 1 to 3"):
        rows(3, {4: next(iter(all_experiments().values()))})


def test_published_values_are_the_defaults():
    assert Schedule().warmup_factor == 0.001 and Schedule().momentum == 0.9
