"""What a stage depends on besides code: the data that a table describes, the facts of papers, records before any."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from reprolib.files import write_json
from reprolib.papers.addresses import table_by_id
from reprolib.params import ParamsError, load_profile
from reprolib.pipeline import page_dependencies
from reprolib.pipeline.page_dependencies import audit_plan, paper_plan, report_plan, systems_plan, table_plan
from reprolib.pipeline.plan import write_plan

PARAMS = Path(__file__).parent.parent.parent / "params.yaml"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Function that makes the plan of a table of the demo in an empty folder."""
    demo, paper = (load_profile(name, path=PARAMS) for name in ("demo", "paper"))
    monkeypatch.chdir(tmp_path)
    return lambda table: table_plan(demo, paper, table_by_id(table))


def test_a_table_that_describes_data_follows_their_reports_and_no_other_table_does(plan):
    describing, other = plan("insight_any_instance-1"), plan("insight_any_instance-5")
    assert describing["data"] == {"aerial": None, "sar_ships": None, "street": None} and other["data"] == {}
    seen = {describing["fingerprint"]}
    for share in (24.5, 24.6):
        write_json(Path("results/demo/data/street.json"), {"foreground_ratio_share": {"[0.0,0.1)": share}})
        describing = plan("insight_any_instance-1")
        assert describing["data"]["street"] and describing["data"]["aerial"] is None
        assert describing["fingerprint"] not in seen
        seen.add(describing["fingerprint"])
    assert plan("insight_any_instance-5") == other


def test_the_folder_of_the_records_is_there_before_any_run(tmp_path, monkeypatch):
    shutil.copy(PARAMS, tmp_path)
    monkeypatch.chdir(tmp_path)
    none = dataclasses.replace(load_profile("demo"), experiments=(), tables=("insight_any_instance-1",), papers=())
    assert [path.name for path in write_plan(none).files] == [
        "insight_any_instance-1.json",
        *("audit.json", "systems.json", "report.json"),
    ]
    assert Path("results/demo/records").is_dir()


def test_the_facts_of_a_paper_change_its_own_tables_and_what_is_over_all_papers(plan, monkeypatch):
    def plans():
        demo = load_profile("demo", path=PARAMS)
        tables = {name: plan(name) for name in ("seanet-4", "iemask_rcnn-3")}
        notebooks = {paper: paper_plan(demo, paper) for paper in ("seanet", "iemask_rcnn")}
        return tables | notebooks | {"audit": audit_plan()}

    shutil.copytree(PARAMS.parent / "notebooks", "notebooks")
    before = plans()
    for file in ("claims.csv", "audit.md", "systems.csv"):
        with monkeypatch.context() as patch:
            changed_file(patch, f"papers/seanet/{file}")
            after = plans()
        assert {name for name in before if before[name] != after[name]} == {"seanet", "audit"}
    with monkeypatch.context() as patch:
        changed_file(patch, "papers/seanet/reported/table_4.csv")
        after = plans()
    over_all_papers = {"seanet", "iemask_rcnn", "audit"}  # a paper's notebook has its numbers beside the others'
    assert {name for name in before if before[name] != after[name]} == {"seanet-4", *over_all_papers}
    monkeypatch.setattr(page_dependencies, "inferred", lambda *systems: "assumed" if "SEANet" in systems else "")
    assert {name for name in before if before[name] != plans()[name]} == {"seanet-4"}


def test_the_report_and_the_page_of_systems_follow_every_reported_number(tmp_path, monkeypatch):
    paper = load_profile("paper", path=PARAMS)
    demo = dataclasses.replace(load_profile("demo", path=PARAMS), papers=())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page_dependencies, "count_fingerprint", lambda *of: "counted")
    before = [report_plan(demo, paper)["fingerprint"], systems_plan(paper)["fingerprint"]]
    changed_file(monkeypatch, "papers/mai_se_net/reported/table_2.csv")
    after = [report_plan(demo, paper)["fingerprint"], systems_plan(paper)["fingerprint"]]
    assert before[0] != after[0] and before[1] != after[1]


def test_a_table_has_the_experiments_of_its_profile_by_id(plan):
    assert plan("seanet-2")["profiles"][0]["experiments"][0] == "coco-mask_rcnn_r50", "by id, since rows may change"


@pytest.fixture
def part(tmp_path, monkeypatch):
    """The demo with the experiments of two rows on two data sets, of which one is prepared."""
    shutil.copy(PARAMS, tmp_path)
    monkeypatch.chdir(tmp_path)
    prepared = Path("results/demo/data/street.json")
    prepared.parent.mkdir(parents=True)
    shutil.copy(PARAMS.parent / prepared, prepared)
    addresses = ("seanet-2:1", "insight_any_instance-2:1")
    return dataclasses.replace(load_profile("demo"), experiments=addresses, tables=("seanet-2",), papers=())


def runs_planned(written):
    return {path.relative_to("results/demo/runs").as_posix() for path in written.files if path.parent.name != "runs"}


def test_runs_whose_data_is_not_prepared_are_told_and_left_out(part):
    written = write_plan(part)
    name = "coco-mask_rcnn_r101-seanet~background_channels.True~dialect.mm-0"
    assert runs_planned(written) == {f"train/{name}.json", f"evaluate/{name}.json", "tables/seanet-2.json"}
    assert written.unprepared == ("aerial",)
    assert all(path.is_file() for path in written.files)


def test_plans_of_what_is_no_longer_listed_are_deleted(part):
    before = write_plan(part).files
    after = write_plan(dataclasses.replace(part, experiments=(), tables=("seanet-4",))).files
    there = set(Path("results/demo/runs").rglob("*.json"))
    assert there == set(after) and not there.issuperset(before)


def test_a_data_set_that_nothing_prepares_is_an_error(part):
    with pytest.raises(ParamsError, match=r"'demo' in params\.yaml: runs read data set 'aerial'; list it under `data`"):
        write_plan(dataclasses.replace(part, data=("street",)))


def changed_file(monkeypatch, changed: str) -> None:
    """As if one of the hashed files had other contents."""
    known = page_dependencies.file_hash
    monkeypatch.setattr(
        page_dependencies, "file_hash", lambda path: "changed" if path.as_posix().endswith(changed) else known(path)
    )
