"""The facts of every system: nothing missing, nothing twice, nothing invented; and the page that shows them."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from reprolib.figures.systems_figure import costs_by_family
from reprolib.papers import catalog, named_systems
from reprolib.papers.reported import load_table
from reprolib.papers.systems import COUNTS, gather_systems, read_counts
from reprolib.pipeline import system_counts as counting
from reprolib.pipeline.system_counts import count_systems
from reprolib.tables.systems_page import PAGE, families, page

ROOT = Path(__file__).parent.parent.parent
SYSTEMS = ROOT / "reprolib" / "models" / "systems"


@pytest.fixture(scope="module")
def systems():
    return {system.name: system for system in gather_systems(ROOT)}


def test_every_method_of_every_row_is_there_and_no_other(systems):
    printed = {cell.method for table in catalog.all_tables().values() for cell in load_table(table.paper, table.number)}
    assert set(named_systems.cards()) == set(systems)
    assert {name for name in systems if systems[name].named} == printed - {""}
    assert set(systems) - printed <= set(named_systems.built_cards())


@pytest.mark.parametrize("paper", catalog.papers())
def test_a_papers_systems_are_those_of_its_rows(paper):
    cells = [cell for table in catalog.tables_of(paper) for cell in load_table(paper, table.number)]
    assert set(named_systems.systems_of(paper)) == {cell.method for cell in cells} - {""}
    own = {cell.method for cell in cells if cell.is_ours}
    assert {name for name, system in named_systems.systems_of(paper).items() if system.built_on} == own


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


def test_every_reference_has_one_licence_and_what_is_built_without_is_known(systems):
    """A system that is built without public code is a paper's own, or its design is inferred."""
    references = {each for system in systems.values() for each in system.references}
    assert len({each.repository for each in references}) == len(references), "one licence and note for each repository"
    own = {line.system for p in catalog.papers() for line in named_systems.systems_of(p).values() if line.built_on}
    for name, system in systems.items():
        assert system.references or system.reported_only or system.inferred or name in own


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
    named = [system for system in systems.values() if system.named]
    quoted = [system for system in named if system.reported_only]
    built = len(named) - len(quoted)
    assert f"name {len(named)} systems: {built} are built, {len(quoted)} are not" in text and "None" not in text
    assert all(f"**{name}**" in text for name in systems)
    reasons = [why for system in systems.values() for why in (system.reported_only, system.inferred) if why]
    assert all(text.count(why) == 1 for why in reasons)
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
    cards = named_systems.cards()
    del cards["SOTR"]
    monkeypatch.setattr(named_systems, "cards", lambda: cards)
    with pytest.raises(ValueError, match=r"systems\.csv: SOTR has no publication and family; add them to its line"):
        gather_systems(ROOT)


def test_the_figure_has_every_counted_system(systems):
    assert costs_by_family(list(systems.values())).png[:4] == b"\x89PNG"
    counted = [system.family for system in systems.values() if system.count]
    order = families([system for system in systems.values() if system.count])
    assert set(order) == set(counted) and order == sorted(order, key=lambda family: (-counted.count(family), family))
