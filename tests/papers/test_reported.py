"""The reported numbers that ship with the package, and the experiments wired to their rows."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from reprolib.papers import catalog
from reprolib.papers.folders import paper_folder
from reprolib.papers.reported import (
    COLUMNS,
    ReportedError,
    audit,
    load_table,
    parse_table,
    table_numbers,
)

BACKBONES = {
    "": {"resnet50"},  # Insight Any Instance names it in two tables only
    "ResNet-50": {"resnet50"},
    "ResNet-50-FPN": {"resnet50"},
    "ResNet-50-GCB-FPN": {"resnet50"},
    "CSPAM-50-TWFPN": {"resnet50"},  # the ResNet that CSPAM stands in the place of
    "ResNet-101": {"resnet101"},
    "ResNet-101-FPN": {"resnet101"},
    "ResNeXt-101-FPN": {"resnext101_32x8d", "resnext101_64x4d"},
    "HRNetV2-W18": {"hrnet_w18"},
    "HRNetV2-W32": {"hrnet_w32"},
    "HRNetV2-W40": {"hrnet_w40"},
    "HRNetV2p-W32": {"hrnet_w32"},
}
DATASETS = {
    "COCO": "coco",
    "COCO2017": "coco",
    "Cityscapes": "cityscapes",
    "Cityscapes-5cls": "cityscapes_5",
    "LVIS1.0": "lvis",
    "SSDD": "ssdd",
    "HRSID": "hrsid",
    "iSAID": "isaid",
    "NWPU-VHR-10": "nwpu_vhr10",
}


def systems():
    """The modules in `reprolib/models/systems` that build a detector."""
    folder = resources.files("reprolib.models.systems")
    names = sorted(path.parent.name for path in Path(str(folder)).glob("*/model.py"))
    return [importlib.import_module(f"reprolib.models.systems.{name}.model") for name in names]


TABLES = [(paper, number) for paper in catalog.papers() for number in table_numbers(paper)]


def test_every_table_has_its_reported_numbers_and_every_file_its_table():
    assert [(table.paper, table.number) for table in catalog.all_tables().values()] == TABLES


@pytest.mark.parametrize(("paper", "number"), TABLES)
def test_every_line_is_loaded(paper, number):
    cells = load_table(paper, number)
    file = paper_folder(paper) / "reported" / f"table_{number}.csv"
    lines = list(csv.DictReader(file.read_text().splitlines()))
    assert [cell.printed for cell in cells] == [line["value"] for line in lines]
    assert {cell.row for cell in cells} == set(range(1, cells[-1].row + 1))
    assert len({(cell.row, cell.metric) for cell in cells}) == len(cells)
    assert all(float(cell.printed) == cell.value for cell in cells)


def test_known_cells():
    cells = {(cell.row, cell.metric): cell for cell in load_table("iemask_rcnn", 3)}
    assert cells[1, "segm/AP"].value == 35.27
    assert cells[14, "segm/APl"].printed == "53.97"
    assert cells[14, "segm/AP"].components == ("CEM", "GIM", "BottomUp", "AFF", "EncDecHead")
    assert cells[8, "segm/AP"].components is None
    assert cells[8, "segm/AP"].confidence == "unknown"
    assert cells[1, "segm/AP"].rounding == pytest.approx(0.005)


HEADER = ",".join(COLUMNS)
GOOD = "p,1,1,Mask R-CNN,ResNet-50-FPN,COCO2017,val,,0,segm/AP,35.2,%,ablation,x,certain,certain,"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,value\n1,2\n", "t.csv, line 1: the columns must be"),
        (HEADER + "\n", "t.csv: no numbers"),
        (f"{HEADER}\n{GOOD},extra\n", "line 2: 18 fields"),
        (f"{HEADER}\n{GOOD.replace('35.2', '-')}\n", "line 2: value must be a number, not '-'"),
        (f"{HEADER}\n{GOOD.replace('35.2', 'nan')}\n", "line 2: value must be a number, not 'nan'"),
        (f"{HEADER}\n{GOOD.replace('%', 'percent')}\n", "line 2: unit must be one of"),
        (f"{HEADER}\n{GOOD.replace('p,1,1', 'p,1,0')}\n", "line 2: row must be a number from 1, not '0'"),
        (f"{HEADER}\n{GOOD}\n{GOOD}\n", "line 3: row 1 segm/AP stands in line 2 already"),
        (f"{HEADER}\n{GOOD.replace('ablation', 'guess')}\n", "line 2: row_kind must be one of"),
    ],
)
def test_a_bad_line_is_named(text, message):
    with pytest.raises(ReportedError, match=r"t\.csv") as error:
        parse_table(text, name="t.csv")
    assert message in str(error.value)


def test_unknown_table_and_paper():
    with pytest.raises(ReportedError, match=r"table_1.csv does not exist; iemask_rcnn has tables \[2, 3"):
        load_table("iemask_rcnn", 1)
    with pytest.raises(KeyError, match="no paper 'nobody'; there are"):
        table_numbers("nobody")


def test_every_paper_has_an_audit_of_its_own():
    assert "Table 7: AP is the category-weighted mean" in audit("iemask_rcnn")
    assert "Published files" not in audit("iemask_rcnn")
    texts = [audit(paper) for paper in catalog.papers()]
    assert len(set(texts)) == len(texts)


# Rows whose run goes by another name than the printed one; a footnote of the table says why.
OTHER_SYSTEM = {("insight_any_instance-5", 6): "Cascade Mask R-CNN", ("seanet-6", 2): "HTC"}
OTHER_SYSTEM |= {("location_attention-2", 7): "Mask2Former", ("insight_any_instance-7", 9): "MAI-SE-Net"}
# How SEANet's components and designs are printed, and on which framework: "SEANet (Mask R-CNN)".
COMPONENTS = {"FCBoxHead+B-IoU": "biou", "L_edge": "edge", "PAreaLoss": "parea"}
DESIGNS = {"fuse=sum": {}, "fuse=concat": {"edge_fuse": "concat"}, "BoxPrompt": {}}  # the last is the evaluation's
HOSTS = {"Mask R-CNN": {}, "Mask Scoring R-CNN": {"host": "mask_scoring_rcnn"}}
HOSTS |= {"Cascade Mask R-CNN": {"host": "cascade_mask_rcnn"}, "SCNet": {"host": "scnet"}}
# Tables whose data set is divided otherwise than that of the same name in other papers.
OTHER_SPLIT = {"insight_any_instance-7": "ssdd_7_3", "insight_any_instance-8": "ssdd_7_3"}
# Rows quoted from publications outside the suite: split and backbone are theirs.
QUOTED_UNREAD = {("insight_any_instance-7", row): ("ssdd", "resnet101") for row in (2, 8)}
# Rows quoted from a publication that is itself in the suite: they show its run, of which they print no details.
QUOTED = {("insight_any_instance-7", 4): ("mai_se_net-1", 7), ("insight_any_instance-7", 9): ("mai_se_net-1", 4)}


def own_components(experiment) -> set[str]:
    """The components of a paper's own system; none of any other."""
    switches = experiment.module.rpartition(".")[0] + ".switches"
    found = importlib.util.find_spec(switches)
    return set(importlib.import_module(switches).COMPONENTS) if found else set()


@pytest.mark.parametrize("table", catalog.all_tables().values(), ids=lambda table: table.id)
def test_experiments_fit_the_printed_rows(table):
    heads = {cell.row: cell for cell in load_table(table.paper, table.number)}
    printed = [row for row in table.rows if row.extra is None]
    assert [row.number for row in printed] == sorted(heads)
    for row in printed:
        head, place = heads[row.number], (table.id, row.number)
        if row.experiment is None:
            continue
        system, _, host = OTHER_SYSTEM.get(place, head.method).removesuffix(")").partition(" (")
        noted = (table.number, row.number, None) in catalog.facts(table.paper).cell_notes
        assert row.experiment.system == system or (noted and place not in OTHER_SYSTEM)
        if place in QUOTED:
            source, number = QUOTED[place]
            assert row.experiment == catalog.all_tables()[source].rows[number - 1].experiment
            assert row.experiment.dataset == DATASETS[head.dataset]
            continue
        if place in QUOTED_UNREAD:
            assert (row.experiment.dataset, row.experiment.backbone) == QUOTED_UNREAD[place]
            continue
        assert row.experiment.dataset == OTHER_SPLIT.get(table.id, DATASETS.get(head.dataset, row.experiment.dataset))
        assert row.experiment.backbone in BACKBONES.get(head.backbone, {row.experiment.backbone})
        if head.components is not None:
            parts = [name for name in head.components if name not in DESIGNS]
            names = tuple(COMPONENTS.get(name, name.lower()) for name in parts)
            assert row.experiment.components == names or not set(names) <= own_components(row.experiment)
            assert len(row.experiment.components) == len(names)
        if host in HOSTS:
            designs = [DESIGNS[name] for name in head.components if name in DESIGNS] or [{}]
            assert dict(row.experiment.switches) == HOSTS[host] | designs[0]


def test_a_system_that_is_built_runs_wherever_it_is_printed():
    built = {experiment.system for experiment in catalog.all_experiments().values()}
    own = {e.system for e in catalog.all_experiments().values() if e.module.startswith("reprolib.papers.")}
    assert built == own | {module.NAME for module in systems()}
    for table in catalog.all_tables().values():
        methods = {cell.row: cell.method.partition(" (")[0] for cell in load_table(table.paper, table.number)}
        left_out = {row.number: methods[row.number] for row in table.rows if row.experiment is None}
        assert not built & set(left_out.values()), (table.id, left_out)


def test_rows_under_another_name_and_quoted_rows_have_a_footnote():
    for table, row in [*OTHER_SYSTEM, *QUOTED, *QUOTED_UNREAD]:
        paper, _, number = table.rpartition("-")
        assert (int(number), row, None) in catalog.facts(paper).cell_notes


def test_what_is_said_of_a_row_goes_before_what_is_said_of_its_table():
    whole = catalog.other_protocol("insight_any_instance", 7, 3)
    assert "7:3" in whole and whole == catalog.other_protocol("insight_any_instance", 7, 5)
    assert "quoted" in catalog.other_protocol("insight_any_instance", 7, 4)
    assert "foreign" in catalog.other_protocol("iemask_rcnn", 8, 4)
    assert catalog.other_protocol("iemask_rcnn", 8, 5) == ""


def test_tables_that_show_the_same_run_share_it():
    tables = {table.number: table for table in catalog.tables_of("iemask_rcnn")}
    run = {number: {row.number: row.experiment for row in table.rows} for number, table in tables.items()}
    assert run[3][10] == run[4][1]
    assert run[3][14] == run[4][4] == run[8][11] == run[5][8]
    assert run[3][1] == run[8][1] == run[5][1]
    assert len({experiment.id for experiment in run[3].values()}) == 14


def test_cell_notes_point_at_printed_cells():
    for paper in catalog.papers():
        for table, row, metric in catalog.facts(paper).cell_notes:
            cells = load_table(paper, table)
            assert any((row in (None, c.row)) and (metric in (None, c.metric)) for c in cells), (paper, table, row)


def test_cards_have_a_title_and_the_ambiguities():
    assert catalog.title("mai_se_net") == "MAI-SE-Net"
    card = (paper_folder("iemask_rcnn") / "card.md").read_text()
    from reprolib.papers.iemask_rcnn.switches import Switches

    missing = [name for name in Switches.__dataclass_fields__ if f"`{name}`" not in card]
    assert not missing, f"card.md does not explain {missing}"


def test_listing_imports_no_torch():
    code = (
        "import sys; from reprolib.papers.catalog import all_experiments, all_tables;"
        "all_tables(); all_experiments(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
