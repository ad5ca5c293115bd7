"""Rendered tables: what a reader sees, and that a machine reads the same."""

from __future__ import annotations

import csv
import dataclasses
import re
import subprocess
import sys

import pytest

from reprolib.evaluation.record import RecordError
from reprolib.files import write_json
from reprolib.papers import catalog
from reprolib.papers.reported import load_table
from reprolib.params import load_profile
from reprolib.tables.formats import latex, markdown
from reprolib.tables.layout import lay_out, metric_label
from reprolib.tables.number_text import number_text
from reprolib.tables.recipe import Recipe
from reprolib.tables.render import read_table, render

ABLATION = catalog.all_tables()["iemask_rcnn-3"]
WITH_EXTRA = catalog.all_tables()["seanet-2"]
PRINTED = load_table("iemask_rcnn", 3)
METRICS = {f"segm/{name}": 40.0 for name in ("AP", "AP50", "AP75", "APs", "APm")} | {"segm/APl": None}


@pytest.fixture
def rendered(root, record):
    """Table 3 with two of its rows run under the demo profile, as text by suffix."""
    record(ABLATION.rows[0].experiment, METRICS, write=True)
    record(ABLATION.rows[13].experiment, METRICS | {"segm/AP": 41.234}, write=True)
    paths = render("iemask_rcnn-3", "demo", params=root / "params.yaml")
    assert paths == [root / f"results/demo/tables/iemask_rcnn-3.{suffix}" for suffix in ("md", "csv", "tex")]
    return {path.suffix[1:]: path.read_text() for path in paths}


def grid(text: str, start: str) -> list[list[str]]:
    """The cells of the first Markdown table whose head begins with `start`."""
    lines = text.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith(f"| {start}"))
    body = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        body.append([re.sub(r"<sup>.*?</sup>", "", cell).strip() for cell in line.strip("|").split("|")])
    return [body[0], *body[2:]]


def test_markdown_shows_every_row_with_its_components(rendered):
    head, *body = grid(rendered["md"], "row | system | CEM")
    assert head[2:7] == ["CEM", "GIM", "BottomUp", "AFF", "EncDecHead"]
    assert head[7:] == [
        "mask AP reproduced",
        "reported",
        "difference",
        "gain reproduced",
        "gain reported",
        "verdict",
    ]
    assert len(body) == len(ABLATION.rows)
    assert body[0] == ["1", "Mask R-CNN", *[""] * 5, "40.00", "35.27", "+4.73", "–", "–", "not comparable"]
    assert body[13][2:] == [*"✓✓✓✓✓", "41.23", "37.83", "+3.40", "+1.23", "+2.56", "not comparable"]
    assert body[7][2:7] == ["(✓)", "", "(✓)", "(✓)", ""]
    assert body[6][7:] == ["–", "36.85", "–", "–", "+1.58", "not run"]


def test_markdown_has_reproduced_reported_difference_verdict_of_every_number(rendered):
    head, *body = grid(rendered["md"], "row | system | metric")
    assert head[3:] == ["reproduced", "reported", "difference", "gain reproduced", "verdict"]
    assert len(body) == len(PRINTED)
    assert body[5] == ["1", "Mask R-CNN", "mask APl", "n/a", "50.00", "–", "–", "not comparable"]


def test_markdown_says_that_it_is_a_demo_and_why_nothing_compares(rendered):
    text = rendered["md"]
    assert text.splitlines()[2] == "> **Demo: not the paper's setting.**"
    assert "14 rows: 2 run, 12 not run." in text
    assert "not comparable, rows 1, 14: other data (street stands in for coco)" in text
    assert "Components unknown; run as CEM + bottom-up path + AFF" in text


def test_markdown_sets_the_recipes_side_by_side(rendered):
    lines = {cells[0]: cells[1:] for cells in grid(rendered["md"], " | publication")}
    assert lines["**data**"] == ["coco", "**street in place of coco**"]
    assert lines["**total batch**"] == ["2 images", "**4 images**"]
    assert lines["**images seen**"] == ["1,440,000", "**40**"]
    assert lines["**initialisation**"] == ["ImageNet backbone", "**from scratch**"]
    assert lines["precision"] == ["float32", "float32"]
    assert lines["runs per row"] == ["not stated", "1"]


def test_a_data_set_with_two_recipes_says_which_rows_each_is_for(root):
    _, _, sheet = read_table("iemask_rcnn-3", "demo", params=root / "params.yaml")
    kinds = (("ssdd", (1, 2, 3, 5)), ("ssdd", (4, 6)), ("hrsid", (7,)))
    recipes = tuple(Recipe(dataset=name, rows=rows, ran=True, lines=()) for name, rows in kinds)
    text = markdown(dataclasses.replace(sheet, recipes=recipes))
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## Recipe for ssdd, rows 1 to 3, 5", "## Recipe for ssdd, rows 4, 6", "## Recipe for hrsid"]


def test_csv_holds_unrounded_numbers_and_their_source(rendered):
    lines = list(csv.DictReader(rendered["csv"].splitlines()))
    assert len(lines) == len(PRINTED)
    full = next(line for line in lines if line["row"] == "14" and line["metric"] == "segm/AP")
    assert (full["reproduced"], full["reported"], full["verdict"]) == ("41.234", "37.83", "not comparable")
    assert full["experiment"] == ABLATION.rows[13].experiment.id
    assert float(full["difference"]) == pytest.approx(3.404)
    assert (full["seeds"], full["values"], full["profile"]) == ("0", "41.234", "demo")
    unknown = next(line for line in lines if line["row"] == "8")
    assert (unknown["row_confidence"], unknown["reproduced"], unknown["verdict"]) == ("unknown", "", "not run")
    missing = next(line for line in lines if line["row"] == "1" and line["metric"] == "segm/APl")
    assert (missing["reproduced"], missing["values"]) == ("", "n/a")


def test_latex_is_balanced_and_escaped(rendered):
    text = rendered["tex"]
    for environment in ("tabular", "longtable"):
        assert text.count(f"\\begin{{{environment}}}") == text.count(f"\\end{{{environment}}}") == 1
        columns = len(re.search(rf"\\begin{{{environment}}}{{(\w+)}}", text)[1])
        block = text.split(f"\\begin{{{environment}}}")[1].split(f"\\end{{{environment}}}")[0]
        rows = [line for line in block.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {columns}
        assert text.count("{") == text.count("}")
    assert r"$\checkmark$" in text
    assert not re.search(r"[^\x00-\x7f]", text), "a character that LaTeX may not know"


@pytest.mark.parametrize("table_id", catalog.all_tables())
def test_every_table_renders_without_records(root, table_id):
    for path in render(table_id, "demo", params=root / "params.yaml"):
        text = path.read_text()
        assert text.strip()
        if path.suffix == ".tex":
            assert not re.search(r"[^\x00-\x7f]", text)
    table = catalog.all_tables()[table_id]
    numbers = list(csv.DictReader(path.with_suffix(".csv").read_text().splitlines()))
    assert {int(line["row"]) for line in numbers} == {row.number for row in table.rows}
    assert {line["verdict"] for line in numbers} <= {"not run", "reported only"}


def test_same_records_same_bytes(root, record):
    record(ABLATION.rows[0].experiment, METRICS, write=True)
    first = [path.read_bytes() for path in render("iemask_rcnn-3", "demo", params=root / "params.yaml")]
    again = [path.read_bytes() for path in render("iemask_rcnn-3", "demo", params=root / "params.yaml")]
    assert first == again
    assert not list((root / "results").rglob("*.part"))


def test_a_row_that_is_not_printed_is_marked_and_has_no_reported_numbers(root, record):
    for row, value in ((WITH_EXTRA.rows[0], 30.0), (WITH_EXTRA.rows[6], 31.5)):
        record(row.experiment, {"segm/AP": value, "bbox/AP": value}, write=True)
    markdown_path, csv_path, _ = render("seanet-2", "demo", params=root / "params.yaml")
    text = markdown_path.read_text()
    assert "8 rows, 2 of them not printed: 2 run, 6 not run." in text
    _, *body = grid(text, "row | system | FCBoxHead")
    fusion, coded = body[6:]
    assert fusion[:2] == ["7", "Mask R-CNN + fusion"] and fusion[2:5] == ["", "", ""] and coded[2:5] == ["✓"] * 3
    assert fusion[5:10] == ["31.5", "–", "–", "+1.5", "–"] and fusion[-1] == "not reported"
    assert coded[-1] == "not run"
    assert re.search(r"^\| 7<sup>(\d)</sup>.*\n(?s:.*)<sup>\1</sup> Not printed in the publication\. The", text, re.M)
    lines = [line for line in csv.DictReader(csv_path.read_text().splitlines()) if line["row"] == "7"]
    assert {(line["reported"], line["difference"], line["gain_reported"]) for line in lines} == {("", "", "")}
    assert lines[0]["reproduced"] == "31.5" and lines[0]["experiment"] == WITH_EXTRA.rows[6].experiment.id


def test_several_seeds_are_all_kept(root, record):
    for seed, value in enumerate((39.0, 40.0, 42.0)):
        record(ABLATION.rows[0].experiment, METRICS | {"segm/AP": value}, seed=seed, write=True)
    text = render("iemask_rcnn-3", "demo", params=root / "params.yaml")[1].read_text()
    line = next(csv.DictReader(text.splitlines()))
    assert (line["values"], line["seeds"], line["reproduced"]) == ("39;40;42", "0;1;2", "40.3333")


def test_unknown_table_and_broken_record(root):
    with pytest.raises(KeyError, match="no table 'iemask_rcnn-1'"):
        render("iemask_rcnn-1", "demo", params=root / "params.yaml")
    records = root / "results/demo/records"
    records.mkdir(parents=True)
    (records / "coco-mask_rcnn_r50-0.json").write_text("{")
    with pytest.raises(RecordError, match=r"coco-mask_rcnn_r50-0\.json is not JSON"):
        render("iemask_rcnn-3", "demo", params=root / "params.yaml")


def test_rows_without_a_published_recipe_say_so(root):
    # this params.yaml has no Cityscapes under the profile `paper`
    _, _, sheet = read_table("iemask_rcnn-6", "demo", params=root / "params.yaml")
    assert {line.published for line in sheet.recipes[0].lines} == {"?"}
    assert "this profile (not run)" in markdown(sheet)


def test_special_characters_are_escaped(root, rows_of):
    profile = load_profile("demo", path=root / "params.yaml")
    sheet = dataclasses.replace(lay_out(ABLATION, rows_of(ABLATION), profile), banner="50% of a_b & c | d")
    assert r"50\% of a\_b \& c" in latex(sheet)


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("segm/AP", "mask AP"),
        ("bbox/AP50", "box AP50"),
        ("segm/AP/car", "mask AP car"),
        ("params_M", "parameters (M)"),
        ("trimap_accuracy/8", "trimap accuracy 8 px"),
        ("boundary/AP75", "boundary AP75"),
        ("dataset/train_images", "train images"),
    ],
)
def test_metric_names(metric, label):
    assert metric_label(metric) == label


def test_numbers_as_text():
    assert number_text(None, 2) == "–"
    assert number_text(-0.004, 2, signed=True) == "+0.00"
    assert number_text(-1.25, 1, signed=True) == "−1.2"


def test_rendering_loads_no_torch_and_no_matplotlib(root):
    code = (
        "import sys, time; start = time.perf_counter();"
        "from reprolib.tables.render import render;"
        f"render('iemask_rcnn-3', 'demo', params={str(root / 'params.yaml')!r});"
        "print(sorted({'torch', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_inferred_design_has_a_footnote(root):
    _, _, sheet = read_table("mai_se_net-1", "demo", params=root / "params.yaml")
    line = next(line for line in sheet.body if line[0].text == "18")
    assert line[1].text.startswith("SA R-CNN")
    assert any(sheet.notes[number - 1].startswith("Design inferred: only ResNet-50") for number in line[0].notes)
    others = [line for line in sheet.body if line[0].text == "8"]
    assert not others[0][0].notes


def test_a_row_printed_as_an_inferred_system_has_its_footnote_whatever_ran(root):
    """EMIN is shown by a run of MAI-SE-Net, which is inferred in no other row."""
    _, _, sheet = read_table("insight_any_instance-7", "demo", params=root / "params.yaml")
    lines = {line[0].text: line for line in sheet.body}
    footnotes = {row: [sheet.notes[number - 1] for number in line[0].notes] for row, line in lines.items()}
    assert lines["9"][1].text.startswith("EMIN") and lines["4"][1].text.startswith("MAI-SE-Net")
    inferred = {row for row, notes in footnotes.items() if any(note.startswith("Design inferred") for note in notes)}
    assert inferred == {"2", "8", "9", "12"}


def test_a_row_that_describes_data_shows_what_the_report_says(root):
    name = "foreground_ratio_share"
    shares = {"[0.0,0.1)": 50.0, "[0.1,0.2)": 24.6789, "[0.2,1.0]": 25.3211}
    write_json(root / "results" / "demo" / "data" / "street.json", {"name": "street", name: shares})
    paths = render("insight_any_instance-1", "demo", params=root / "params.yaml")
    assert "| 1 | COCO | 50.0 | 24.5 | +25.5 | 24.7 | 20.1 | +4.6 | 25.3 | 55.4 | −30.1 | not comparable |" in (
        paths[0].read_text()
    )
    lines = list(csv.DictReader(paths[1].read_text().splitlines()))
    assert [(line["reproduced"], line["seeds"], line["experiment"]) for line in lines[:2]] == [
        ("50", "", ""),
        ("24.6789", "", ""),
    ]
    assert {line["verdict"] for line in lines if line["row"] != "1"} == {"not run"}
    (root / "results" / "demo" / "data" / "street.json").write_text("{")
    with pytest.raises(ValueError, match=r"data/street\.json: not valid JSON"):
        render("insight_any_instance-1", "demo", params=root / "params.yaml")
