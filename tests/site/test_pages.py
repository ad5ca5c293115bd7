"""The report as files: links, numbers, what is missing, and that it is replaced whole."""

from __future__ import annotations

import csv
import html
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from reprolib.papers import catalog
from reprolib.papers.folders import paper_folder
from reprolib.site import build as building
from reprolib.site.content import gather, slug
from reprolib.site.notebooks import notebook_html

ROOT = Path(__file__).parent.parent.parent


class Page(HTMLParser):
    """What a page refers to, its ids, and the cells of its tables by row id."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.links, self.loaded, self.ids, self.tags = path, [], [], [], Counter()
        self.rows: dict[str, list[str]] = {}
        self._row, self._cell = None, False
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags[tag] += 1
        if "id" in found:
            self.ids.append(found["id"])
        links = self.links if tag == "a" else self.loaded
        links += [found[name] for name in ("href", "xlink:href", "src") if name in found]
        if tag == "tr":
            self._row = self.rows.setdefault(found.get("id") or f"unnamed {len(self.rows)}", [])
        elif tag in ("td", "th") and self._row is not None:
            self._row.append("")
            self._cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data):
        if self._cell:
            self._row[-1] += data


@pytest.fixture(scope="module")
def parsed(report) -> dict[Path, Page]:
    return {path.resolve(): Page(path.resolve()) for path in report.rglob("*.html")}


def test_there_is_a_page_for_all(content, report, parsed):
    names = {path.relative_to(report.resolve()).as_posix() for path in parsed}
    assert {"index.html", "claims.html", "tables.html", "systems.html", "audit.html"} <= names
    assert {f"tables/{name}.html" for name in catalog.all_tables()} <= names
    assert {f"papers/{paper}.html" for paper in catalog.papers()} <= names
    methods = {row.head.method for table in content.tables.values() for row in table.rows} - {""}
    assert {f"systems/{slug(name)}.html" for name in methods} <= names
    assert len({slug(name) for name in methods}) == len(methods)


def test_every_link_leads_to_a_file_and_to_a_place_in_it(parsed):
    broken = []
    for path, page in parsed.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            assert not parts.scheme and not parts.netloc, f"{path.name}: {link[:80]} needs a network"
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file() or (parts.fragment and parts.fragment not in parsed[target].ids):
                broken.append(f"{path.name}: {link}")
    assert broken == []


def test_ids_are_unique(parsed):
    for path, page in parsed.items():
        assert [name for name, count in Counter(page.ids).items() if count > 1] == [], path.name


def test_only_the_reports_own_script_and_style_are_loaded(parsed):
    for path, page in parsed.items():
        text = path.read_text()
        assert page.tags["script"] == 1, path.name
        assert {Path(link).name for link in page.loaded if not link.startswith(("data:", "#"))} == {
            "report.css",
            "report.js",
        }
        assert "@import" not in text and "fetch(" not in text and 'type="module"' not in text


def test_the_numbers_of_a_table_are_those_of_record_and_publication(content, parsed, report):
    page = parsed[(report / "tables/iemask_rcnn-3.html").resolve()]
    record = json.loads((content.results / "records" / "coco-iemask_rcnn_r50-cem-0.json").read_text())
    base = json.loads((content.results / "records" / "coco-mask_rcnn_r50-0.json").read_text())
    ours = record["metrics"]["segm/AP"]
    row = page.rows["row-2"]
    printed = next(c.reported for c in content.tables["iemask_rcnn-3"].rows[1].cells if c.reported.metric == "segm/AP")
    reported, reproduced, _, difference, gain_reported, gain, verdict = row[7:14]
    assert (reported, reproduced) == (printed.printed, f"{ours:.2f}")
    assert difference == f"{ours - printed.value:+.2f}".replace("-", "−")
    assert gain == f"{ours - base['metrics']['segm/AP']:+.2f}".replace("-", "−")
    assert gain_reported.startswith("+0.70") and "not comparable" in verdict
    assert row[-1].startswith("record")


def test_what_did_not_run_says_so_and_links_nothing(parsed, report):
    rows = parsed[(report / "tables/iemask_rcnn-3.html").resolve()].rows
    assert "evaluation" in rows["row-1"][-1] and "evaluation" not in rows["row-2"][-1]
    assert rows["row-4"][-1] == "no record" and "not run" in rows["row-4"][13]
    assert "has not been executed" in (report / "papers/seanet.html").read_text()
    assert "has not been executed" not in (report / "papers/iemask_rcnn.html").read_text()


def test_systems_are_listed_with_publication_cost_and_code(content, parsed, report):
    rows = {row[0]: row for row in parsed[(report / "systems.html").resolve()].rows.values() if row}
    mask_rcnn = rows["Mask R-CNN"]
    assert mask_rcnn[1:3] == ["two-stage", "He et al., ICCV 2017"]
    (shown,) = [system for system in content.systems if system.name == "Mask R-CNN"]
    run = sum(bool(place.row.records) for place in shown.places)
    assert mask_rcnn[4] == f"{run} of {len(shown.places)}" and run
    assert mask_rcnn[5:9] == ["44.1 to 63.2", "44.3", "203.7", "204.0"]
    assert "pytorch/vision (BSD-3-Clause)" in mask_rcnn[9]
    assert rows["SA R-CNN inferred"][9] == "no public code found"
    assert rows["DAL reported only"][5:] == ["–"] * 5
    known = [system for system in content.systems if system.facts]
    assert len(rows) - 1 == len(content.systems) == len(known) + len({row.name for row in own_rows(content)})


def own_rows(content) -> list:
    """The extra rows of all tables that have a name of their own."""
    extras = [row.extra for table in catalog.all_tables().values() for row in table.rows if row.extra]
    return [extra for extra in extras if not (system := content.system(extra.name)) or system.facts is None]


def test_a_system_that_nothing_runs_says_why(content, report):
    text = (report / "systems.html").read_text()
    reasons = {system.name: system.facts.reported_only for system in content.systems if system.facts}
    for name, why in reasons.items():
        if not why:
            continue
        page = (report / f"systems/{slug(name)}.html").read_text()
        assert html.escape(why) in text.replace("&#39;", "&#x27;") and html.escape(why) in page.replace(
            "&#39;", "&#x27;"
        )
        assert "Checked against" not in page


def test_a_system_that_stands_in_for_another_has_its_row(content, report):
    (place,) = content.system("Mask2Former").places
    assert (place.content.table.id, place.row.number, place.row.head.method) == (
        "location_attention-2",
        7,
        "MaskFormer",
    )
    assert [place.row.number for place in content.system("MaskFormer").places] == [7, 13]
    assert "systems/mask2former.html" not in re.findall(r'xlink:href="([^"]*)"', (report / "systems.html").read_text())


def test_the_matrix_counts_every_claim(parsed, report):
    printed = []
    for paper in catalog.papers():
        with (paper_folder(paper) / "claims.csv").open(newline="") as file:
            printed += [line | {"paper": paper} for line in csv.DictReader(file)]
    page = parsed[(report / "index.html").resolve()]
    lines = [row for row in page.rows.values() if row and row[0] in {catalog.title(p) for p in catalog.papers()}]
    claims, odd = Counter(line["paper"] for line in printed), Counter()
    odd.update(line["paper"] for line in printed if line["consistent"] == "no")
    assert sorted(int(row[1]) for row in lines) == sorted(claims[paper] for paper in catalog.papers())
    for row in lines:
        assert sum(int(text) for text in row[3:] if text != "–") == int(row[1])
    assert sorted(int(row[2]) for row in lines if row[2] != "–") == sorted(odd.values())
    ids = parsed[(report / "claims.html").resolve()].ids
    assert {line["claim_id"] for line in printed} <= set(ids)


def test_every_finding_stands_on_the_audit_page_and_on_its_tables(content, parsed, report):
    assert content.findings
    ids = set(parsed[(report / "audit.html").resolve()].ids)
    for finding in content.findings:
        anchor = building.pages.finding_anchor(finding)
        assert anchor in ids
        for table in finding.tables:
            assert f"audit.html#{anchor}" in (report / f"tables/{table}.html").read_text()


def test_a_verdict_is_a_word_and_a_mark_not_a_colour_alone(report):
    text = (report / "tables/iemask_rcnn-3.html").read_text()
    shown = re.findall(
        r'<span class="verdict ([\w-]+)"><span class="mark" aria-hidden="true">(.)</span>([\w ]+)</span>', text
    )
    assert len(shown) == text.count('class="verdict ')
    assert {(style.replace("-", " "), word) for style, _, word in shown} == {(word, word) for _, _, word in shown}
    assert len(set(building.MARKS.values())) == len(building.MARKS)


def test_a_failed_build_leaves_the_last_report(content, report, monkeypatch):
    before = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
    monkeypatch.setattr(building, "notebook_html", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        building.build(content)
    assert {path: path.read_bytes() for path in report.rglob("*") if path.is_file()} == before
    assert list(report.parent.glob("*.part")) == []


def test_a_notebooks_scripts_stay_out_and_its_headings_go_below_the_pages(content):
    body = notebook_html(content.results / "notebooks" / "iemask_rcnn.ipynb")
    assert "<script" not in body and "example.org" not in body and "shown" in body
    assert re.search(r"<h2[^>]*>A method", body) and re.search(r"<h3[^>]*>A part", body)
    assert body.count('<details class="code">') == 1 and "data:image/png;base64" in body


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    path = tmp_path / "seanet.ipynb"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"seanet\.ipynb: not a notebook .* execute it again"):
        notebook_html(path)


def test_nothing_has_run(tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    content = gather("demo", params=tmp_path / "params.yaml")
    text = dict(building._files(content))["index.html"]
    printed = sum(row.extra is None for table in catalog.all_tables().values() for row in table.rows)
    assert f"0 of {printed} printed rows have a run" in text and "<svg" not in text
