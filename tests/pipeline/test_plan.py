"""What a stage depends on besides code: the data that a table describes, the facts of papers, records before any."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from reprolib.files import write_json
from reprolib.papers.addresses import table_by_id
from reprolib.params import load_profile
from reprolib.pipeline import page_dependencies
from reprolib.pipeline.page_dependencies import audit_plan, paper_plan, table_plan
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
    monkeypatch.setattr(page_dependencies, "inferred", lambda *systems: "assumed" if "SEANet" in systems else "")
    assert {name for name in before if before[name] != plans()[name]} == {"seanet-4"}


def changed_file(monkeypatch, changed: str) -> None:
    """As if one of the hashed files had other contents."""
    known = page_dependencies.file_hash
    monkeypatch.setattr(
        page_dependencies, "file_hash", lambda path: "changed" if path.as_posix().endswith(changed) else known(path)
    )
