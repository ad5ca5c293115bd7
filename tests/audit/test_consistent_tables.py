"""No false alarm: what is known to be consistent has no finding.

How many findings each paper and check has stands in `results/audit.md`, which test_verb.py holds against the tables.
"""

from __future__ import annotations

from reprolib.audit.finding import Severity
from reprolib.audit.run import all_findings, audit
from reprolib.pipeline.fingerprint import PACKAGE

# Tables of which no cell is in an error or a warning, apart from what other publications print for the same system.
CLEAN = {
    "iemask_rcnn-2",
    "insight_any_instance-1",
    "insight_any_instance-2",
    "insight_any_instance-5",
    "insight_any_instance-6",
    "insight_any_instance-11",
    "mai_se_net-3",
    "seanet-4",
    "seanet-5",
}


def test_clean_tables_stay_clean(tables):
    heavy = {t for f in all_findings() if f.severity != Severity.NOTE and f.check != "across_papers" for t in f.tables}
    assert set(tables) >= CLEAN and not heavy & CLEAN


def test_rows_that_are_known_to_be_consistent(checked):
    """23 rows of LVIS, 17 averages, the ladder of Insight Any Instance, and the deltas of MAI-SE-Net."""
    assert {f.cells[0].row for f in checked["lvis_average"].findings} == {8}
    assert checked["lvis_average"].compared >= 24
    averages = {(f.tables[0], f.cells[0].row, f.cells[0].metric) for f in checked["class_average"].findings}
    assert checked["class_average"].compared - len(averages) >= 17
    wrong = {f.key for f in (*checked["claimed_numbers"].findings, *checked["claimed_order"].findings)}
    assert not wrong & {f"IAI-{number:03d}" for number in range(1, 25)}
    assert {key for key in wrong if key.startswith("MAI")} == {
        *("MAI-016", "MAI-029", "MAI-050", "MAI-060"),
        *("MAI-089", "MAI-105"),
    }


def test_one_table_alone_is_checked_too(tables):
    for table in tables.values():
        checks = audit([table], [])
        assert sum(check.compared for check in checks) > 0
        assert all(f.tables == (table.id,) for check in checks for f in check.findings)


def test_ids_are_unique_and_stay():
    findings = all_findings()
    assert len({finding.id for finding in findings}) == len(findings)
    assert [finding.id for finding in findings] == [finding.id for finding in all_findings()]
    assert "claimed_numbers/MAI-016" in {finding.id for finding in findings}
    assert any(f.id.startswith("lvis_average/iemask_rcnn-7/8/segm-AP+") for f in findings)


def test_heaviest_first_and_by_paper():
    ranks = [finding.severity.rank for finding in all_findings()]
    assert ranks == sorted(ranks)
    across = all_findings(paper="seanet")
    assert all("seanet" in finding.papers for finding in across)
    assert any(len(finding.papers) == 2 for finding in across)


def test_cells_lead_to_the_line_that_prints_them(checked):
    lines = {}
    for cell in {cell for check in checked.values() for finding in check.findings for cell in finding.cells}:
        path, _, line = cell.source.partition("#L")
        if path not in lines:
            lines[path] = (PACKAGE.parent / path).read_text().splitlines()
        text = lines[path][int(line) - 1]
        assert text.startswith(f"{cell.paper},{cell.table},{cell.row},")
        assert f",{cell.metric},{cell.printed}," in text
