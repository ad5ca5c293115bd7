"""The facts of every system: nothing missing, nothing twice, nothing invented; and the page that shows them."""

from __future__ import annotations

import ast
import csv
import json
import re
from pathlib import Path

import pytest

from reprolib.figures.systems_figure import costs_by_family
from reprolib.models.systems.inferred import INFERRED
from reprolib.papers import catalog
from reprolib.papers import systems as gathering
from reprolib.papers.reported import load_table
from reprolib.papers.reported_only import REPORTED_ONLY
from reprolib.papers.systems import COUNTS, gather_systems, read_counts, read_methods, read_references
from reprolib.pipeline import system_counts as counting
from reprolib.pipeline.system_counts import count_systems
from reprolib.tables.systems_page import PAGE, families, page

ROOT = Path(__file__).parent.parent.parent
SYSTEMS = ROOT / "reprolib" / "models" / "systems"


@pytest.fixture(scope="module")
def systems():
    return {system.name: system for system in gather_systems(ROOT)}


def lines(name: str) -> list[dict[str, str]]:
    with (ROOT / "reprolib" / "papers" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_method_of_every_row_is_there_and_no_other(systems):
    printed = {cell.method for table in catalog.all_tables().values() for cell in load_table(table.paper, table.number)}
    named = {line["system"] for line in lines("systems")}
    assert named == set(systems)
    assert {name for name in systems if systems[name].named} == printed - {""} == set(read_methods())
    assert set(systems) - printed == {"Mask2Former"}
    assert len(lines("systems")) == len(named) == 43


def test_every_module_of_a_system_is_one_that_some_row_runs(systems):
    modules = {path.parent.name for path in SYSTEMS.glob("*/model.py")}
    run = {name.split(".")[-2] for e in catalog.all_experiments().values() if (name := e.module).count("systems")}
    assert modules == run
    for experiment in catalog.all_experiments().values():
        if experiment.module.startswith("reprolib.models.systems."):
            assert experiment.system in systems


def test_a_row_stands_with_the_system_that_it_prints(systems):
    for system in systems.values():
        for place in system.places:
            cells = load_table(place.table.paper, place.table.number)
            for row in set(place.rows) - set(place.own):
                experiment = place.table.rows[row - 1].experiment
                shown = {cell.method for cell in cells if cell.row == row} | {experiment.system if experiment else ""}
                assert system.name in shown
    assert [(p.table.id, p.rows, p.own) for p in systems["MaskFormer"].places] == [
        ("location_attention-2", (7, 13), (13,))
    ]
    assert [(p.table.id, p.rows) for p in systems["Mask2Former"].places] == [("location_attention-2", (7,))]


def test_what_nothing_runs_has_a_reason_and_all_else_is_counted(systems):
    assert set(REPORTED_ONLY) <= set(systems) and set(INFERRED) <= set(systems)
    for system in systems.values():
        assert bool(system.reported_only) == (system.experiment is None) != bool(system.count), system.name


def test_publications_agree_with_the_modules(systems):
    """Year and venue, which a module's first line names too. HQ-ISNet's also builds the Cascade on HRNet."""
    experiments = catalog.all_experiments().values()
    for path in SYSTEMS.glob("*/model.py"):
        built = {e.system for e in experiments if e.module == f"reprolib.models.systems.{path.parent.name}.model"}
        (name,) = built if len(built) == 1 else built - {"Cascade Mask R-CNN"}
        first = ast.get_docstring(ast.parse(path.read_text())).partition("\n")[0]
        venue, year = re.search(r"(?:, )?([^,]*?)\s*(\d{4})$", systems[name].publication).groups()
        assert venue in first and year in first, (name, systems[name].publication, first)


def test_every_reference_has_a_licence_and_is_used(systems):
    known = read_references()
    assert {each.repository for system in systems.values() for each in system.references} == set(known)
    assert all(each.licence and re.fullmatch(r"[\w.-]+/[\w.-]+", name) for name, each in known.items())
    without = {name for name in systems if not systems[name].references and not systems[name].reported_only}
    assert without == {
        *("C-SE Mask R-CNN", "EMIN", "FL-CSE-RoIE", "SA R-CNN", "MAI-SE-Net", "SOLOv2-LocationAttention"),
        *(f"Insight ({host})" for host in ("Mask R-CNN", "Cascade Mask R-CNN", "SCNet")),
    }


@pytest.mark.parametrize(
    ("name", "experiment", "params"),
    [
        ("Mask R-CNN", "coco-mask_rcnn_r50", 44_343_216),
        ("IEMask R-CNN", "coco-iemask_rcnn_r50-cem+gim+bottomup+aff+encdechead", 140_065_042),
        ("EMIN", "ssdd-mai_se_net_r101-aspp+nlb+csab", 104_997_100),
        ("FCIS", "coco-fcis_r101-fcis", 57_892_626),
        ("MNC", "coco-mnc_r101-seanet", 88_184_302),
        ("SOTR", "coco-sotr_r50", 63_217_344),
        ("YOLACT", "coco-yolact_r50", 35_293_711),
    ],
)
def test_counted_is_the_whole_system_on_a_row_of_its_own(systems, name, experiment, params):
    """Counts of the specifications."""
    count = systems[name].count
    assert (systems[name].experiment.id, count.experiment, count.params) == (experiment, experiment, params)


def test_yolact_is_counted_on_its_square_of_550_px(systems):
    count = systems["YOLACT"].count
    assert count.input_size == (550, 550) and count.flops / 1e9 == pytest.approx(59.5, abs=0.05)
    assert systems["YOLACT"].reported == {"params_M": 140.2, "flops_G": 61.6}


def test_the_committed_page_is_that_of_the_facts_and_counts(systems):
    text = page(list(systems.values()))
    assert (ROOT / PAGE).read_text(encoding="utf-8") == text, "notebooks/systems.ipynb writes it"
    assert "name 42 systems: 36 are built, 6 are not" in text and "None" not in text
    assert all(f"**{name}**" in text for name in systems)
    assert all(text.count(why) == 1 for why in [*REPORTED_ONLY.values(), *INFERRED.values()])
    assert all(line.count("|") == 8 for line in text.splitlines() if line.startswith("| **"))


def test_only_stale_counts_are_made_again_and_others_go(tmp_path, monkeypatch):
    held = json.loads((ROOT / COUNTS).read_text())
    held["SOTR"]["fingerprint"] = "stale"
    held["A system of the past"] = held["SOTR"]
    del held["YOLACT"]
    (tmp_path / "results").mkdir()
    (tmp_path / COUNTS).write_text(json.dumps(held))
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(counting, "count_fingerprint", lambda experiment, paper: held_before(experiment))
    said, made = [], []

    def described(run):
        made.append(run.experiment.id)
        return FOUND | {"experiment": run.experiment.id}

    monkeypatch.setattr(counting, "describe", described)
    count_systems(tmp_path, say=said.append)
    assert said == ["counting SOTR", "counting YOLACT"] and made == ["coco-sotr_r50", "coco-yolact_r50"]
    counts, before = read_counts(tmp_path / COUNTS), read_counts(ROOT / COUNTS)
    assert set(counts) == set(before) and counts["YOLACT"].params == 1
    assert {name: counts[name] for name in counts if name not in ("SOTR", "YOLACT")} == {
        name: before[name] for name in before if name not in ("SOTR", "YOLACT")
    }
    written = (tmp_path / COUNTS).stat().st_mtime_ns
    count_systems(tmp_path, say=said.append)
    assert len(said) == 2 and (tmp_path / COUNTS).stat().st_mtime_ns == written


FOUND = {"backbone": "resnet50", "classes": 1, "params": 1, "flops": 2, "input_size": [3, 4]}


def held_before(experiment) -> str:
    return next(count.fingerprint for count in read_counts(ROOT / COUNTS).values() if count.experiment == experiment.id)


def test_a_damaged_file_of_counts_is_named(tmp_path):
    (tmp_path / "results").mkdir()
    for text in ("{", '{"SOTR": {"params": 1}}', "[1]"):
        (tmp_path / COUNTS).write_text(text)
        with pytest.raises(ValueError, match=r"systems\.json: no file of counts .* delete it"):
            gather_systems(tmp_path)


def test_without_counts_all_else_stands(tmp_path, systems):
    uncounted = gather_systems(tmp_path)
    assert [system.name for system in uncounted] == list(systems)
    assert not any(system.count for system in uncounted)
    assert "| – |" in page(uncounted)


def test_a_system_without_a_line_is_named(monkeypatch):
    facts = dict(gathering._by_name("systems.csv", "system"))
    del facts["SOTR"]
    other = gathering._by_name
    monkeypatch.setattr(gathering, "_by_name", lambda file, by: facts if file == "systems.csv" else other(file, by))
    with pytest.raises(ValueError, match=r"systems\.csv has no line for SOTR: add publication and code"):
        gather_systems(ROOT)


def test_the_figure_has_every_counted_system(systems):
    assert costs_by_family(list(systems.values())).png[:4] == b"\x89PNG"
    assert families([s for s in systems.values() if s.count]) == [
        "two-stage",
        "cascade",
        *("one-stage", "query"),
        "weakly supervised",
    ]
