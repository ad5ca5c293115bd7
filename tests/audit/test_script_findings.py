"""Every item of the papers' audit.md that a script found is found by the checks, with the cells that it names."""

from __future__ import annotations

import pytest

from reprolib.audit.reading import items
from reprolib.papers import catalog
from reprolib.papers.reported import audit as audit_text

MAI, SEA, IAI, IEM, LOC = "mai_se_net", "seanet", "insight_any_instance", "iemask_rcnn", "location_attention"

# (paper, item) -> the findings that it needs: check, severity, and cells as "table row metric printed".
EXPECTED = {
    (MAI, 1): [("claimed_numbers", "error", "1 7 bbox/APs 70.7, 1 1 bbox/APs 65.2")],
    (MAI, 2): [("claimed_numbers", "error", "1 19 bbox/APm 70.9, 1 11 bbox/APm 68.4")],
    (MAI, 3): [("claimed_numbers", "error", "2 19 bbox/AP50 91.9, 2 18 bbox/AP50 88.3")],
    (MAI, 4): [("claimed_numbers", "error", "2 19 segm/APl 24.4, 2 14 segm/APl 19.7")],
    (MAI, 5): [
        ("claimed_order", "error", "1 19 fps 8.29, 1 15 fps 8.59"),
        ("claimed_order", "error", "2 19 fps 5.30, 2 15 fps 5.50"),
    ],
    (MAI, 6): [
        ("fixed_ratio", "warning", "1 1 fps 11.60, 2 1 fps 7.42, 1 19 fps 8.29, 2 19 fps 5.30"),
        ("equal_speed", "warning", "1 3 fps 10.55, 1 10 fps 10.55, 2 3 fps 6.75, 2 10 fps 6.75"),
        ("equal_speed", "warning", "1 12 fps 13.65, 1 18 fps 13.65, 2 12 fps 8.74, 2 18 fps 8.74"),
        ("larger_yet_faster", "warning", "1 11 fps 11.60, 1 8 fps 11.05"),
        ("larger_yet_faster", "warning", "1 12 fps 13.65, 1 8 fps 11.05"),
    ],
    (MAI, 9): [
        ("spread", "note", "1 1 bbox/APl 27.5, 1 4 bbox/APl 46.2, 1 6 bbox/APl 13.3, 1 7 bbox/APl 37.7"),
        ("spread", "note", "3 1 bbox/APl 68.3, 3 6 bbox/APl 13.3"),
        ("below_baseline", "note", "2 19 segm/APm 63.0, 2 11 segm/APm 63.8"),
    ],
    (MAI, 10): [
        ("equal_rows", "note", "1 6 bbox/AP 69.4, 3 6 bbox/AP 69.4, 1 6 fps 8.92, 3 6 fps 8.92"),
        ("equal_rows", "note", "1 1 bbox/AP 65.6, 1 11 bbox/AP 65.6"),
        ("equal_rows", "note", "2 1 bbox/AP 66.6, 2 11 bbox/AP 66.6"),
        ("equal_rows", "note", "1 7 bbox/AP 70.3, 1 19 bbox/AP 70.3"),
        ("equal_rows", "note", "2 7 bbox/AP 69.7, 2 19 bbox/AP 69.7"),
    ],
    (SEA, 1): [("claimed_numbers", "note", "2 6 bbox/AP 41.7, 2 1 bbox/AP 40.3")],
    (SEA, 2): [("named_row", "error", "2 5 segm/AP75 40.6, 2 6 segm/AP75 40.8, 2 3 segm/AP75 39.5")],
    (SEA, 3): [
        *(
            ("claimed_order", "warning", f"{table} {ours} bbox/AP50 {mine}, {table} {base} bbox/AP50 {theirs}")
            for table, ours, mine, base, theirs in (
                (1, 8, "59.6", 4, "61.9"),
                (1, 9, "62.5", 5, "63.8"),
                (1, 10, "60.4", 6, "62.0"),
                (1, 11, "62.9", 7, "63.9"),
                (3, 2, "57.7", 1, "58.9"),
                (3, 4, "60.0", 3, "61.5"),
                (3, 6, "62.6", 5, "63.1"),
                (3, 8, "58.2", 7, "59.2"),
                (3, 10, "59.6", 9, "61.1"),
                (3, 12, "62.3", 11, "63.1"),
            )
        ),
        *(
            ("claimed_order", "warning", f"{table} {ours} segm/AP50 {mine}, {table} {base} segm/AP50 {theirs}")
            for table, ours, mine, base, theirs in (
                (1, 8, "57.6", 4, "58.7"),
                (1, 9, "60.4", 5, "60.9"),
                (1, 10, "57.8", 6, "58.5"),
                (1, 11, "60.1", 7, "60.3"),
                (3, 2, "55.4", 1, "55.8"),
                (3, 4, "57.8", 3, "58.1"),
                (3, 8, "55.5", 7, "55.8"),
                (3, 10, "57.0", 9, "58.0"),
                (3, 12, "59.3", 11, "59.5"),
            )
        ),
    ],
    (SEA, 4): [
        ("additivity", "warning", "6 5 params_M 64.89, 6 1 params_M 63.17, 6 3 params_M 58.04, 6 4 params_M 71.32"),
        ("additivity", "note", "6 5 time_ms 464, 6 1 time_ms 405, 6 3 time_ms 450, 6 4 time_ms 428"),
    ],
    (IAI, 1): [
        ("size_classes", "error", "8 4 bbox/AP 84.5, 8 4 bbox/APs 71.0, 8 4 bbox/APm 61.5, 8 4 bbox/APl 7.9"),
        ("box_and_mask", "warning", "8 4 bbox/AP 84.5, 7 6 segm/AP 64.6"),
    ],
    (IAI, 2): [("claimed_order", "error", "4 10 bbox/AP 44.8, 4 7 bbox/AP 46.6")],
    (IAI, 3): [
        ("claimed_order", "error", "3 12 segm/APm 44.0, 3 10 segm/APm 47.7"),
        ("below_baseline", "note", "3 12 segm/APm 44.0, 3 7 segm/APm 44.3"),
    ],
    (IAI, 4): [("claimed_order", "error", "8 8 bbox/APl 42.7, 8 5 bbox/APl 72.0")],
    (IAI, 5): [
        ("size_classes", "note", "5 4 segm/AP 57.0, 5 4 segm/APs 46.7, 5 4 segm/APm 56.9, 5 4 segm/APl 55.8"),
        ("size_classes", "note", "6 1 bbox/AP 52.7, 6 1 bbox/APs 51.8, 6 1 bbox/APm 52.4, 6 1 bbox/APl 50.8"),
    ],
    (IAI, 6): [
        ("box_and_mask", "note", "6 2 bbox/APs 66.3, 5 2 segm/APs 33.7"),
        ("box_and_mask", "note", "6 1 bbox/APs 51.8, 5 1 segm/APs 18.9"),
        ("box_and_mask", "note", "8 2 bbox/APl 8.9, 7 3 segm/APl 27.6"),
        ("box_and_mask", "note", "8 6 bbox/APl 9.2, 7 7 segm/APl 38.7"),
        ("box_and_mask", "warning", "10 1 bbox/AP 53.2, 9 1 segm/AP 31.8"),
    ],
    (IAI, 7): [
        ("additivity", "note", "2 5 params_M 51.3, 2 1 params_M 44.1, 2 2 params_M 46.4, 2 3 params_M 49.2"),
        ("steps", "note", "2 5 segm/AP75 39.9, 2 3 segm/AP75 40.0"),
        ("costs", "note", "2 5 params_M 51.3, 2 5 fps 13.1, 2 1 params_M 44.1, 2 1 fps 16.8"),
    ],
    (IAI, 8): [
        ("below_baseline", "note", "3 12 segm/APm 44.0, 3 7 segm/APm 44.3"),
        ("below_baseline", "note", "7 11 segm/APl 33.6, 7 7 segm/APl 38.7"),
    ],
    (IAI, 10): [("small_margin", "note", "5 8 segm/AP 66.9, 5 7 segm/AP 66.5")],
    (IAI, 12): [
        ("equal_rows", "note", "11 1 segm/AP 58.1, 5 5 segm/AP 58.1"),
        ("equal_rows", "note", "11 2 segm/AP 66.9, 5 8 segm/AP 66.9"),
    ],
    (IEM, 1): [
        ("lvis_average", "error", "7 8 segm/AP 25.61, 7 8 segm/APr 14.30, 7 8 segm/APc 24.00, 7 8 segm/APf 31.24")
    ],
    (IEM, 2): [("same_run", "warning", "4 5 segm/AP 36.24, 6 8 segm/AP 36.7")],
    (IEM, 3): [("claimed_numbers", "error", "8 11 segm/AP 37.83, 8 9 segm/AP 36.49")],
    (IEM, 4): [
        ("claimed_order", "warning", f"8 10 params_M 75.0, 8 {row} params_M {theirs}")
        for row, theirs in ((1, "44.3"), (6, "47.1"), (9, "52.9"), (5, "60.2"), (8, "63.2"), (2, "68.1"))
    ],
    (IEM, 5): [("claimed_order", "warning", "8 11 params_M 140.0, 8 3 params_M 140.2")],
    (IEM, 6): [("claimed_order", "warning", "7 24 segm/APf 33.90, 7 23 segm/APf 33.99")],
    (IEM, 7): [
        ("claimed_order", "warning", "5 16 segm/AR1 32.4, 5 15 segm/AR1 32.5"),
        ("claimed_order", "warning", "5 24 segm/APm 43.8, 5 23 segm/APm 44.0"),
        ("claimed_order", "warning", "5 24 segm/AR1 33.3, 5 23 segm/AR1 33.4"),
        ("claimed_order", "warning", "5 24 segm/ARm 57.6, 5 22 segm/ARm 57.9"),
        ("claimed_order", "warning", "5 24 segm/ARl 69.6, 5 20 segm/ARl 69.8"),
    ],
    (IEM, 8): [
        ("class_average", "error", "6 6 segm/AP50 61.7, 6 6 segm/AP50/bicycle 61.7"),
        ("class_average", "note", "6 8 segm/AP50 62.3"),
        ("below_baseline", "note", "6 8 segm/AP/train 34.1, 6 1 segm/AP/train 35.8, 6 8 segm/AP50/train 57.9"),
        ("claimed_order", "warning", "6 8 segm/AP/truck 31.6, 6 6 segm/AP/truck 35.8"),
    ],
    (IEM, 9): [("claimed_numbers", "error", "3 6 segm/AP 35.64, 3 1 segm/AP 35.27")],
    (IEM, 10): [("claimed_numbers", "warning", "3 2 segm/APl 51.83, 3 1 segm/APl 50.00")],
    (IEM, 12): [("stronger_backbone", "warning", "7 20 segm/AP 23.91, 7 4 segm/AP 23.98, 7 12 segm/AP 25.64")],
    (LOC, 1): [
        (
            "mislabelled",
            "error",
            ", ".join(f"2 {row} segm/APs {value}" for row, value in ((1, "52.3"), (5, "73.0"), (10, "42.8"))),
        )
    ],
    (LOC, 2): [("claimed_order", "error", "2 12 time_ms 42.1, 2 8 time_ms 26.2")],
    (LOC, 3): [
        ("claimed_sums", "note", "2 12 fps 23.8"),
        ("costs", "note", "2 12 fps 23.8, 2 11 fps 33.5"),
    ],
    (LOC, 4): [
        ("claimed_order", "warning", "1 6 segm/AP 34.3, 1 3 segm/AP 34.6"),
        ("claimed_order", "warning", "1 6 segm/APs 14.3, 1 3 segm/APs 14.5"),
        (
            "additivity",
            "note",
            "1 8 segm/AP 35.6, 1 1 segm/AP 32.6, 1 2 segm/AP 34.2, 1 3 segm/AP 34.6, 1 4 segm/AP 33.2",
        ),
    ],
    (LOC, 6): [
        ("class_average", "warning", "3 4 segm/AP 31.5, 3 4 segm/AP/car 38.5"),
        ("claimed_order", "warning", "3 4 segm/AP/person 16.0, 3 1 segm/AP/person 16.5"),
        ("small_margin", "note", "3 4 segm/AP/rider 15.8, 3 1 segm/AP/rider 15.7"),
    ],
    (LOC, 8): [],  # what holds: see below
}
# The same system under two papers; the sections "Beside other papers" of the papers' audit.md.
ACROSS = [
    (f"{IAI}-8 {row} bbox/AP {theirs}", f"{MAI}-1 {other} bbox/AP {ours}")
    for row, theirs, other, ours in (
        (2, "68.6", 8, "62.0"),
        (4, "84.5", 9, "62.4"),
        (6, "69.1", 10, "63.0"),
        (1, "60.4", 13, "54.0"),
    )
]
ACROSS += [
    (f"{IAI}-7 {row} segm/AP {theirs}", f"{MAI}-1 {other} segm/AP {ours}")
    for row, theirs, other, ours in (
        (3, "64.2", 8, "57.8"),
        (6, "64.6", 9, "58.6"),
        (7, "64.9", 10, "56.6"),
        (1, "56.3", 13, "48.4"),
    )
]
ACROSS += [
    (f"{IAI}-10 {row} bbox/AP {theirs}", f"{MAI}-2 {other} bbox/AP {ours}")
    for row, theirs, other, ours in (
        (2, "60.9", 8, "65.1"),
        (4, "60.1", 9, "65.2"),
        (6, "64.4", 10, "65.1"),
        (1, "53.2", 13, "47.9"),
    )
]
ACROSS += [
    (f"{IAI}-9 {row} segm/AP {theirs}", f"{MAI}-2 {other} segm/AP {ours}")
    for row, theirs, other, ours in (
        (2, "53.4", 8, "54.8"),
        (4, "53.5", 9, "54.9"),
        (5, "54.2", 10, "52.8"),
        (1, "31.8", 13, "39.6"),
    )
]
ACROSS += [
    (f"{IAI}-7 4 segm/APl 47.7", f"{MAI}-1 7 segm/APl 47.7"),
    (f"{IEM}-3 1 segm/AP 35.27", f"{SEA}-3 1 segm/AP 34.5"),
    (f"{IEM}-5 9 segm/AP 37.1", f"{SEA}-1 4 segm/AP 36.6"),
    (f"{IEM}-5 9 segm/AP 37.1", f"{LOC}-2 1 segm/AP 35.3"),
    (f"{IEM}-5 17 segm/AP 39.6", f"{SEA}-1 5 segm/AP 38.2"),
    (f"{IEM}-5 11 segm/AP 37.2", f"{LOC}-2 3 segm/AP 38.3"),
    (f"{IEM}-5 10 segm/AP 38.0", f"{LOC}-2 2 segm/AP 36.6"),
    (f"{IEM}-6 1 segm/AP/truck 28.1", f"{LOC}-3 1 segm/AP/truck 41.3"),
]


def by_script():
    return [(item.paper, item.number) for paper in catalog.papers() for item in items(paper) if "script" in item.marks]


def cells_of(finding):
    return {(cell.table_id, cell.row, cell.metric, cell.printed) for cell in finding.cells}


def parsed(paper, text):
    cells = [cell.split(" ") for cell in text.split(", ")]
    return {(f"{paper}-{table}", int(row), metric, printed) for table, row, metric, printed in cells}


def test_every_item_of_a_script_is_transcribed():
    assert sorted(by_script()) == sorted(EXPECTED)
    assert audit_text(MAI).count("[script]") == 8


@pytest.mark.parametrize(("paper", "number"), list(EXPECTED), ids=lambda value: str(value))
def test_it_is_found(paper, number, checked):
    for check, severity, text in EXPECTED[paper, number]:
        wanted = parsed(paper, text)
        found = [finding for finding in checked[check].findings if wanted <= cells_of(finding)]
        assert [str(finding.severity) for finding in found] == [severity], (check, text)


@pytest.mark.parametrize(("one", "other"), ACROSS)
def test_two_papers_numbers_of_one_system_are_found(one, other, checked):
    wanted = set()
    for text in (one, other):
        table, row, metric, printed = text.split(" ")
        wanted.add((table, int(row), metric, printed))
    assert len([f for f in checked["across_papers"].findings if wanted <= cells_of(f)]) == 1


def test_what_audit_md_says_holds_is_compared_and_holds(checked):
    for name, least in (("ordering", 500), ("fps_times_time", 12), ("shares_sum", 3), ("named_best", 100)):
        assert checked[name].compared >= least and checked[name].findings == ()
    deltas = [claim for claim in checked["claimed_numbers"].findings if claim.paper == MAI]
    assert len(deltas) == 4  # 44 of 48 cells of the delta rows agree, and all deltas of abstract and text


def test_its_numbers_are_those_of_audit_md(checked):
    (lvis,) = checked["lvis_average"].findings
    assert "0.172 x 14.30 + 0.438 x 24.00 + 0.391 x 31.24 = 25.16" in lvis.arithmetic
    assert "the other 23 rows within 0.008" in lvis.arithmetic
    (ratio,) = checked["fixed_ratio"].findings
    assert "14 of 19 rows" in ratio.arithmetic and "rows 2, 4, 5, 6, 13" in ratio.arithmetic
    average = next(f for f in checked["class_average"].findings if f.severity == "error")
    assert "= 62.26, printed 61.7" in average.arithmetic and "57.2 there would fit" in average.message
    sums = {f.cells[0].metric: f.arithmetic for f in checked["additivity"].findings if f.tables == ("seanet-6",)}
    assert "= 66.19, printed 64.89" in sums["params_M"] and "= 473, printed 464" in sums["time_ms"]
    (label,) = checked["mislabelled"].findings
    assert "APs / AP 1.33 to 1.82 here, 0.37 to 0.60 in 3 of 3 other tables" in label.arithmetic
    assert "AP50 / AP 1.48 to 1.80 elsewhere" in label.arithmetic and len(label.rows) == 12
    ladder = {f.key: f.message for f in checked["claimed_numbers"].findings}
    assert "HQ-ISNet HRNetV2-W18 (table 1 row 15) 66.6" in ladder["MAI-029"]
    assert "PANet ResNet-101 (table 2 row 12) 88.0" in ladder["MAI-050"]
    assert "HTC ResNet-101 (table 2 row 11) 19.2" in ladder["MAI-060"]
    assert "(table 3 row 5) +0.34" in ladder["IEM-012"]
    insight = next(f for f in checked["costs"].findings if f.tables == ("insight_any_instance-2",))
    assert "(+16 %)" in insight.arithmetic and "(-22 %), 59.5 to 76.3 ms" in insight.arithmetic
