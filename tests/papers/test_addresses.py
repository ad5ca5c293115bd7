"""Ids say all that changes an experiment's numbers, and addresses find experiments by id, row and table."""

import dataclasses
from pathlib import Path

import pytest

from reprolib.experiment import Experiment, Table, rows
from reprolib.papers import catalog
from reprolib.papers.addresses import (
    profile_experiments,
    profile_lists,
    profile_papers,
    profile_tables,
    resolve_address,
    resolve_addresses,
    run_by_id,
    table_by_id,
    table_of_address,
)
from reprolib.papers.catalog import all_experiments, all_tables, papers
from reprolib.params import ParamsError, load_profile

PARAMS = Path(__file__).parent.parent.parent / "params.yaml"
DEMO = load_profile("demo", path=PARAMS)
MASK_RCNN = Experiment(
    system="Mask R-CNN", module="reprolib.models.systems.mask_rcnn.model", backbone="resnet50", dataset="coco"
)
# What `profile: *demo` ran when its experiments were still listed by id.
DEMO_EXPERIMENTS = [
    "coco-mask_rcnn_r50",
    "coco-iemask_rcnn_r50-cem",
    "coco-iemask_rcnn_r50-gim",
    "coco-iemask_rcnn_r50-cem+gim",
    "coco-iemask_rcnn_r50-bottomup",
    "coco-iemask_rcnn_r50-bottomup+aff",
    "coco-iemask_rcnn_r50-encdechead",
    "coco-iemask_rcnn_r50-cem+bottomup+aff",
    "coco-iemask_rcnn_r50-cem+gim+bottomup+aff",
    "coco-iemask_rcnn_r50-cem+gim+bottomup+encdechead",
    "coco-iemask_rcnn_r50-bottomup+aff+encdechead",
    "coco-iemask_rcnn_r50-cem+bottomup+aff+encdechead",
    "coco-iemask_rcnn_r50-gim+bottomup+aff+encdechead",
    "coco-iemask_rcnn_r50-cem+gim+bottomup+aff+encdechead",
    "ssdd-htc_r101",
    "ssdd-mai_se_net_r101-aspp",
    "ssdd-mai_se_net_r101-aspp+nlb",
    "ssdd-mai_se_net_r101-aspp+nlb+csab",
    "ssdd-mai_se_net_r101-aspp+nlb+csab+carafeb",
    "ssdd-mai_se_net_r101-aspp+nlb+csab+carafeb+fbo",
    "ssdd-mai_se_net_r101-aspp+nlb+csab+carafeb+fbo+gcb",
    "coco-mask_rcnn_r101-seanet~background_channels.True~dialect.mm",
    "coco-seanet_r101-seanet",
    "coco-seanet_r101-biou-seanet",
    "coco-seanet_r101-attention-seanet",
    "coco-seanet_r101-biou+attention-seanet",
    "coco-seanet_r101-attention+edge-seanet",
    "coco-seanet_r101-biou+attention+edge-seanet",
    "isaid-mask_rcnn_r50~dialect.mm",
    "isaid-insight_r50-lpm",
    "isaid-insight_r50-gpm",
    "isaid-insight_r50-parea",
    "isaid-insight_r50-lpm+gpm+parea",
    "coco-solov2_r50-location_attention",
    "coco-solov2_locationattention_r50-cspam-location_attention",
    "coco-solov2_locationattention_r50-twfpn+csmf-location_attention",
    "coco-solov2_locationattention_r50-aml-location_attention",
    "coco-solov2_locationattention_r50-cspam+twfpn+csmf-location_attention",
    "coco-solov2_locationattention_r50-twfpn+csmf+aml-location_attention",
    "coco-solov2_locationattention_r50-cspam+aml-location_attention",
    "coco-solov2_locationattention_r50-cspam+twfpn+csmf+aml-location_attention",
]


def ids(experiments):
    return [experiment.id for experiment in experiments]


@pytest.mark.parametrize(
    "change",
    [
        {"system": "Mask Scoring R-CNN"},
        {"module": "reprolib.models.systems.cascade_mask_rcnn.model"},
        {"module": "reprolib.papers.iemask_rcnn.baseline"},
        {"backbone": "resnet101"},
        {"dataset": "lvis"},
        {"components": ("cem",)},
        {"switches": {"dialect": "mm"}},
        {"schedule": "seanet"},
        {"oracle_prompts": True},
    ],
)
def test_every_field_that_changes_the_numbers_changes_the_id(change):
    assert dataclasses.replace(MASK_RCNN, **change).id != MASK_RCNN.id


def test_no_field_of_an_experiment_is_forgotten_above():
    tried = {"system", "module", "backbone", "dataset", "components", "switches", "schedule", "oracle_prompts"}
    assert tried == {field.name for field in dataclasses.fields(Experiment)}


def test_ids_are_readable():
    assert MASK_RCNN.id == "coco-mask_rcnn_r50"
    assert {
        "coco-iemask_rcnn_r50-cem+gim",
        "coco-mask_rcnn_r101-seanet~background_channels.True~dialect.mm",
        "nwpu_vhr10-cascade_mask_rcnn_hrnet_w32~hqis_head.cascade_mm~module.hq_isnet",
        "nwpu_vhr10-insight_r50-lpm+gpm+parea~host.cascade_mask_rcnn~oracle_prompts.True",
    } <= set(all_experiments())


def test_equal_ids_are_equal_experiments_in_all_papers():
    for table in all_tables().values():
        for row in table.rows:
            assert row.experiment is None or row.experiment == all_experiments()[row.experiment.id]


def test_two_different_experiments_with_one_id_are_an_error_that_names_both(monkeypatch):
    other = dataclasses.replace(MASK_RCNN, module="elsewhere.mask_rcnn.model")
    assert other.id == MASK_RCNN.id
    tables = {
        name: Table(paper="made", number=number, title="", rows=rows(2, {number: experiment}))
        for number, (name, experiment) in enumerate({"made-1": MASK_RCNN, "made-2": other}.items(), start=1)
    }
    monkeypatch.setattr(catalog, "all_tables", lambda: tables)
    with pytest.raises(ValueError, match=r"coco-mask_rcnn_r50.*row made-1:1 .*elsewhere.*row made-2:2"):
        all_experiments()


def test_ids_rows_and_tables_name_experiments():
    baseline = table_by_id("seanet-2").rows[0].experiment
    assert resolve_addresses([baseline.id]) == resolve_addresses(["seanet-2:1"]) == [baseline]
    of_the_table = [row.experiment for row in table_by_id("seanet-2").rows if row.experiment]
    assert resolve_addresses(["seanet-2"]) == of_the_table
    assert resolve_addresses(["seanet-2:1", "seanet-2", baseline.id]) == of_the_table, "each once"
    assert ids(resolve_addresses(["all"])) == list(all_experiments())
    assert run_by_id(DEMO, "seanet-2:1-3").id == f"{baseline.id}-3"


def test_rows_without_an_experiment_are_left_out_of_their_table():
    table = table_by_id("insight_any_instance-3")
    assert not all(row.experiment for row in table.rows)
    assert set(ids(resolve_addresses([table.id]))) == {row.experiment.id for row in table.rows if row.experiment}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("coco-maskrcnn_r50", r"did you mean .*coco-mask_rcnn_r50"),
        ("seanet-22", r"no experiment 'seanet-22'; did you mean seanet-2"),
        ("seenet-2:1", r"no table 'seenet-2'; did you mean seanet-2"),
        ("seanet-2:0", r"table seanet-2 has rows 1 to \d, no '0'"),
        ("seanet-2:one", r"no 'one'"),
        ("insight_any_instance-1", r"nothing there can be run; `reprolib list --table insight_any_instance-1`"),
        ("insight_any_instance-1:1", r"nothing there can be run"),
    ],
)
def test_an_address_that_names_nothing_says_so(address, message):
    with pytest.raises(ParamsError, match=message):
        resolve_addresses([address])


def test_where_one_is_taken_a_table_says_its_rows():
    assert resolve_address("seanet-2:2") == resolve_addresses(["seanet-2:2"])[0]
    with pytest.raises(ParamsError, match=r"names \d experiments where one is taken; choose from seanet-2:1, "):
        resolve_address("seanet-2")


def test_lookups_suggest_the_nearest_name():
    with pytest.raises(ParamsError, match=r"did you mean .*iemask_rcnn-3"):
        table_by_id("iemask-3")
    with pytest.raises(ParamsError, match="must end in its seed"):
        run_by_id(DEMO, "coco-mask_rcnn_r50")


def test_the_table_of_an_address():
    addresses = ("seanet-2", "seanet-2:1", "coco-mask_rcnn_r50", "all")
    assert [table_of_address(address) for address in addresses] == ["seanet-2", "seanet-2", "", ""]


def test_the_demo_runs_what_it_ran_when_its_experiments_were_listed_by_id():
    experiments = ids(profile_experiments(DEMO))
    assert len(experiments) == len(set(experiments)) and set(experiments) == set(DEMO_EXPERIMENTS)
    assert all(
        profile_lists(DEMO, experiment) == (experiment.id in experiments) for experiment in all_experiments().values()
    )


def test_the_profile_paper_runs_every_row():
    assert ids(profile_experiments(load_profile("paper", path=PARAMS))) == list(all_experiments())


def test_all_stands_for_every_table_and_paper():
    assert DEMO.tables == DEMO.papers == ("all",)
    assert profile_tables(DEMO) == list(all_tables()) and profile_papers(DEMO) == papers()
    some = dataclasses.replace(DEMO, tables=("seanet-2", "seanet-1", "seanet-2"), papers=("seanet",))
    assert profile_tables(some) == ["seanet-2", "seanet-1"] and profile_papers(some) == ["seanet"]


@pytest.mark.parametrize(
    ("field", "names", "function", "message"),
    [
        ("experiments", ("seenet-2",), profile_experiments, r"`experiments`: no experiment 'seenet-2'; did you mean"),
        ("tables", ("seanet-22",), profile_tables, r"`tables`: no table 'seanet-22'; did you mean seanet-2"),
        ("papers", ("seenet",), profile_papers, r"`papers`: no paper 'seenet'; did you mean seanet"),
    ],
)
def test_a_wrong_name_in_a_profile_is_told_by_file_and_field(field, names, function, message):
    with pytest.raises(ParamsError, match=r"profile 'demo' in params\.yaml, " + message):
        function(dataclasses.replace(DEMO, **{field: names}))
