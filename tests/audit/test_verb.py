"""`reprolib audit`, its page, its JSON, and what a paper's notebook shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reprolib.audit.figure import findings_by_check
from reprolib.audit.finding import Severity
from reprolib.audit.reading import items
from reprolib.audit.run import audit
from reprolib.audit.text import page, paper_section, write_page
from reprolib.cli import main
from reprolib.papers import catalog
from reprolib.papers.reported import audit as audit_text

ROOT = Path(__file__).parent.parent.parent


def test_the_verb_prints_findings_and_counts(capsys):
    assert main(["audit", "--paper", "iemask_rcnn", "--severity", "error"]) == 0
    out = capsys.readouterr().out
    assert "ERROR   lvis_average      iemask_rcnn-7 row 8" in out
    assert "= 25.16, printed 25.61 (+0.45)" in out
    assert "WARNING" not in out and "lighter findings are not shown" in out


def test_strict_fails_on_errors_only(capsys, monkeypatch):
    assert main(["audit", "--strict"]) == 1
    light = [finding for one in audit() for finding in one.findings if finding.severity is not Severity.ERROR]
    monkeypatch.setattr("reprolib.audit.run.all_findings", lambda paper="": light)
    assert main(["audit", "--strict"]) == 0


def test_json_holds_the_cells_and_their_lines(tmp_path, capsys):
    path = tmp_path / "findings.json"
    assert main(["audit", "--paper", "seanet", "--severity", "note", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert {entry["severity"] for entry in found} == {"error", "warning", "note"}
    row = next(entry for entry in found if entry["check"] == "named_row")
    assert row["id"] == "named_row/SEA-007"
    cell = row["cells"][0]
    assert (cell["table"], cell["row"], cell["printed"]) == ("seanet-2", 5, "40.6")
    assert cell["anchor"] == "seanet-2-row-5"
    assert re.fullmatch(r"reprolib/papers/seanet/reported/table_2\.csv#L\d+", cell["source"])


def test_an_unknown_paper_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["audit", "--paper", "nobody"])
    assert "iemask_rcnn" in capsys.readouterr().err


def test_the_page_is_the_same_each_time_and_its_links_lead_somewhere(tmp_path):
    text = write_page(tmp_path).read_text()
    assert text == page(audit())
    links = set(re.findall(r"\]\(([^)]+)\)", text))
    assert len(links) > 100
    for link in links:
        assert (ROOT / "results" / link.partition("#")[0]).resolve().is_file(), link
    for line in text.splitlines():
        if line.startswith(("| error", "| warning", "| note")):
            assert line.count(" | ") == 4


def test_the_committed_page_is_that_of_the_tables():
    assert (ROOT / "results/audit.md").read_text() == page(audit()), "run `reprolib audit --page`"


@pytest.mark.parametrize("paper", catalog.papers())
def test_a_papers_section_keeps_what_was_read(paper):
    section = paper_section(paper)
    kept = [item for item in items(paper) if item.by_reading]
    assert all(item.text in section for item in kept)
    assert all(item.text not in section for item in items(paper) if not item.by_reading)
    assert " ".join(audit_text(paper).split()).count("[read]") == section.count("[read]")
    assert section.startswith("By computation: ")


def test_the_figure_is_drawn(tmp_path):
    path = tmp_path / "found_by_check.png"
    findings_by_check(audit(), title="What the audit found").save(path)
    assert path.read_bytes().startswith(b"\x89PNG")
