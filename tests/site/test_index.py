"""results/README.md."""

from __future__ import annotations

import pytest

from reprolib.papers import catalog
from reprolib.site.index import coverage, write_index
from reprolib.tables.render import render

ABLATION = catalog.all_tables()["iemask_rcnn-3"]


def test_index_lists_tables_figures_and_counts(root, record):
    record(ABLATION.rows[0].experiment, {"segm/AP": 40.0}, write=True)
    for table in ("iemask_rcnn-3", "seanet-1", "insight_any_instance-11", "insight_any_instance-2"):
        render(table, "demo", params=root / "params.yaml")
    figure = root / "results/demo/figures/iemask_rcnn/ablation_gains.png"
    figure.parent.mkdir(parents=True)
    figure.write_bytes(b"")
    path = write_index(root)
    text = path.read_text()
    assert path == root / "results" / "README.md"
    assert "> **Demo: not the paper's setting.**" in text
    assert "1 of 33 rows have a run." in text
    assert "](demo/tables/iemask_rcnn-3.md) | 1 of 14 |" in text
    assert "[iemask_rcnn/ablation_gains.png](demo/figures/iemask_rcnn/ablation_gains.png)" in text
    assert text.index("insight_any_instance-2.md") < text.index("insight_any_instance-11.md")
    for line in text.splitlines():  # every link leads somewhere
        for target in line.split("](")[1:]:
            assert (root / "results" / target.split(")")[0]).exists()
    assert write_index(root).read_text() == text


def test_coverage_counts_numbers_by_verdict(root, record):
    record(ABLATION.rows[0].experiment, {"segm/AP": 40.0}, write=True)
    render("iemask_rcnn-3", "demo", params=root / "params.yaml")
    (found,) = coverage(root / "results/demo/tables")
    assert (found.rows, found.rows_run) == (14, 1)
    assert found.verdicts == {"not comparable": 1, "not run": 83}


def test_coverage_is_of_what_is_printed(root, record):
    table = catalog.all_tables()["seanet-2"]
    record(table.rows[6].experiment, {"segm/AP": 40.0}, write=True)
    render("seanet-2", "demo", params=root / "params.yaml")
    (found,) = coverage(root / "results/demo/tables")
    assert (found.rows, found.rows_run, found.verdicts) == (6, 0, {"not run": 36})


def test_nothing_rendered_yet(root):
    text = write_index(root).read_text()
    assert "# Results" in text and "audit.md" not in text


@pytest.mark.parametrize("name", ["audit", "systems"])
def test_the_pages_over_all_papers_are_linked_where_they_are(root, name):
    (root / "results").mkdir(exist_ok=True)
    (root / "results" / f"{name}.md").write_text("# Page\n")
    text = write_index(root).read_text()
    assert f"[{name.capitalize()}]({name}.md)" in text and text.count("](") == 1
