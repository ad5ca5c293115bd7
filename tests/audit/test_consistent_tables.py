"""No false alarm: what is known to be consistent has no finding, and the totals are those that were looked through."""

from __future__ import annotations

from collections import Counter

from reprolib.audit.finding import Severity
from reprolib.audit.run import audit, findings
from reprolib.papers import catalog
from reprolib.pipeline.fingerprint import PACKAGE

# Every error and warning below was read beside its table; another number here means that a table, a claim or a check
# has changed, and that the new finding must be read the same way.
BY_PAPER = {
    "iemask_rcnn": {"error": 4, "warning": 20, "note": 20},
    "insight_any_instance": {"error": 4, "warning": 14, "note": 30},
    "location_attention": {"error": 2, "warning": 4, "note": 9},
    "mai_se_net": {"error": 6, "warning": 13, "note": 39},
    "seanet": {"error": 1, "warning": 22, "note": 28},
}
BY_CHECK = {
    "size_classes": 3,
    "class_average": 3,
    "lvis_average": 1,
    "mislabelled": 1,
    "digits": 1,
    "fixed_ratio": 1,
    "equal_speed": 2,
    "larger_yet_faster": 8,
    "additivity": 8,
    "steps": 33,
    "spread": 4,
    "below_baseline": 17,
    "costs": 6,
    "stronger_backbone": 4,
    "same_run": 1,
    "equal_rows": 16,
    "across_papers": 30,
    "box_and_mask": 13,
    "repeated_value": 6,
    "claimed_numbers": 9,
    "claimed_order": 45,
    "named_row": 1,
    "claimed_sums": 1,
    "small_margin": 2,
}
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


def test_totals_per_paper_and_check(checked):
    found = findings()
    counts = {paper: Counter(str(f.severity) for f in found if f.paper == paper) for paper in catalog.papers()}
    assert counts == BY_PAPER
    assert {name: len(one.findings) for name, one in checked.items() if one.findings} == BY_CHECK


def test_clean_tables(tables):
    heavy = {t for f in findings() if f.severity != Severity.NOTE and f.check != "across_papers" for t in f.tables}
    assert set(tables) - heavy == CLEAN


def test_rows_that_are_known_to_be_consistent(checked):
    """23 rows of LVIS, 17 averages, the ladder of Insight Any Instance, and the deltas of MAI-SE-Net."""
    assert {f.cells[0].row for f in checked["lvis_average"].findings} == {8}
    assert checked["lvis_average"].compared == 24
    averages = {(f.tables[0], f.cells[0].row, f.cells[0].metric) for f in checked["class_average"].findings}
    assert checked["class_average"].compared - len(averages) == 17
    wrong = {f.key for f in (*checked["claimed_numbers"].findings, *checked["claimed_order"].findings)}
    assert not wrong & {f"IAI-{number:03d}" for number in range(1, 25)}
    assert {key for key in wrong if key.startswith("MAI")} == {
        *("MAI-016", "MAI-029", "MAI-050", "MAI-060"),
        *("MAI-089", "MAI-105"),
    }


def test_one_table_alone_is_checked_too(tables):
    for table in tables.values():
        checks = audit([table], [])
        assert sum(one.compared for one in checks) > 0
        assert all(f.tables == (table.id,) for one in checks for f in one.findings)


def test_ids_are_unique_and_stay():
    found = findings()
    assert len({finding.id for finding in found}) == len(found)
    assert [finding.id for finding in found] == [finding.id for finding in findings()]
    assert "claimed_numbers/MAI-016" in {finding.id for finding in found}
    assert any(f.id.startswith("lvis_average/iemask_rcnn-7/8/segm-AP+") for f in found)


def test_heaviest_first_and_by_paper():
    ranks = [finding.severity.rank for finding in findings()]
    assert ranks == sorted(ranks)
    across = findings(paper="seanet")
    assert all("seanet" in finding.papers for finding in across)
    assert any(len(finding.papers) == 2 for finding in across)


def test_cells_lead_to_the_line_that_prints_them(checked):
    lines = {}
    for cell in {cell for one in checked.values() for finding in one.findings for cell in finding.cells}:
        path, _, line = cell.source.partition("#L")
        if path not in lines:
            lines[path] = (PACKAGE.parent / path).read_text().splitlines()
        text = lines[path][int(line) - 1]
        assert text.startswith(f"{cell.paper},{cell.table},{cell.row},")
        assert f",{cell.metric},{cell.printed}," in text
