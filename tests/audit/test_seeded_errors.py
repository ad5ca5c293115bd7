"""A wrong digit planted in a copy of a reported table is found, and by the check that it breaks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from reprolib.audit import ablation, additivity, averages, claim_checks, columns, ordering, same_system, speed
from reprolib.audit.printed import variants
from reprolib.papers.claims import Place


def every_cell(tables, *wanted):
    """(table id, row, metric) of all cells whose row prints each metric of `wanted`, by IoU type and class."""
    for table in tables.values():
        for row in table.rows:
            for kind, category in variants(row, wanted[0]):
                metrics = [f"{kind}/{name}{category}" for name in wanted]
                if all(metric in row.cells for metric in metrics):
                    yield table.id, row, metrics


def points(cell, more):
    """The cell's text with so many units of its last digit more."""
    return f"{cell.value + more:.{cell.decimals}f}"


@pytest.mark.parametrize(("low", "high"), ordering.PAIRS)
def test_a_metric_above_its_bound(low, high, tables, changed):
    places = list(every_cell(tables, low, high))
    assert len(places) >= 20
    for table, row, (one, other) in places:
        above = row.value(other) - row.value(one) + 2 * (row.rounding(one) + row.rounding(other))
        found = list(filter(None, ordering.ordering([changed(table, row.number, one, points(row.cells[one], above))])))
        assert any(finding.cells[0].metric == one and finding.cells[0].row == row.number for finding in found)


def test_ap_that_no_ten_thresholds_give(tables, changed):
    places = list(every_cell(tables, "AP", "AP50", "AP75"))
    assert len(places) >= 200
    for table, row, (ap, ap50, ap75) in places:
        low = (row.value(ap50) + 5 * row.value(ap75)) / 10
        high = (row.value(ap50) + row.value(ap75)) / 2
        for value in (low - 0.3, high + 0.3):
            (found,) = filter(None, ordering.threshold_mean([changed(table, row.number, ap, f"{value:.1f}")]))
            assert (found.severity, found.cells[0].row) == ("error", row.number)


def test_ap_far_outside_its_size_classes(tables, changed):
    for table, row, (ap, *sizes) in every_cell(tables, "AP", "APs", "APm", "APl"):
        for value in (max(map(row.value, sizes)) + 6, max(0.0, min(map(row.value, sizes)) - 6)):
            if min(map(row.value, sizes)) <= 6 and value == 0:
                continue
            copy = changed(table, row.number, ap, f"{value:.1f}")
            found = [f for f in averages.size_classes([copy]) if f and f.cells[0].row == row.number]
            assert "error" in [finding.severity for finding in found if finding.cells[0].metric == ap]


def test_lvis_ap_off_by_a_tenth_in_any_row(tables, changed):
    for row in tables["iemask_rcnn-7"].rows:
        for metric, more in (("segm/AP", 0.1), ("segm/AP", -0.1), ("segm/APc", 0.3), ("segm/APr", -0.5)):
            copy = changed("iemask_rcnn-7", row.number, metric, points(row.cells[metric], more))
            rows = {f.cells[0].row for f in averages.lvis_average([copy]) if f}
            assert rows == {8, row.number}, (row.number, metric)


@pytest.mark.parametrize("table", ["iemask_rcnn-6", "location_attention-3"])
def test_an_average_or_class_off_by_more_than_rounding(table, tables, changed):
    for row in tables[table].rows:
        classes = [row.value(metric) for metric in row.cells if metric.startswith("segm/AP/")]
        mean = sum(classes) / len(classes)
        average = row.cells["segm/AP"]
        cells = [("segm/AP", f"{mean + more:.1f}") for more in (0.3, -0.3)]
        cells += [(f"segm/AP/{name}", points(row.cells[f"segm/AP/{name}"], 4.0)) for name in ("car", "bus")]
        for column, printed in cells:
            if (column, printed) == ("segm/AP", average.printed):
                continue
            found = averages.class_average([changed(table, row.number, column, printed)])
            severities = {f.cells[0].row: f.severity for f in found if f and f.cells[0].metric == "segm/AP"}
            assert severities[row.number] == "error", (row.number, column)


def test_a_share_too_many(tables, changed):
    metric = "dataset/foreground_ratio_share/[0.1,0.2)"
    (found,) = filter(None, averages.shares_sum([changed("insight_any_instance-1", 2, metric, "15.8")]))
    assert found.arithmetic == "84.1 + 15.8 + 1.1 = 101.0"


def test_speed_against_time(tables, changed):
    for row in tables["location_attention-2"].rows:
        for metric, factor in (("fps", 1.1), ("time_ms", 0.9)):
            copy = changed("location_attention-2", row.number, metric, f"{row.value(metric) * factor:.1f}")
            (found,) = filter(None, speed.fps_times_time([copy]))
            assert found.cells[0].row == row.number


def test_swapped_speeds_of_one_family(changed, audited_with):
    copy = changed("iemask_rcnn-8", 2, "params_M", "41.0")  # PANet below Mask R-CNN
    (found,) = audited_with(lambda tables: speed.larger_yet_faster([copy]))
    assert found.arithmetic == "params_M 41.0 < 44.3"


def test_a_column_under_the_wrong_head(tables, changed):
    """Also while another table of the data set is wrong in the same way, as one is: two against two, each is found."""
    copy = tables["iemask_rcnn-5"]
    for row in copy.rows:  # APl in place of APs, row after row
        one = changed(copy.id, row.number, "segm/APs", row.cells["segm/APl"].printed).row(row.number)
        copy = replace(copy, rows=tuple(one if other.number == row.number else other for other in copy.rows))
    found = [f for f in columns.mislabelled(list({**tables, copy.id: copy}.values())) if f]
    right = {("iemask_rcnn-3", "segm/APs"), ("location_attention-1", "segm/APs")}
    wrong = {("iemask_rcnn-5", "segm/APs"), ("location_attention-2", "segm/APs")}
    assert {(f.cells[0].table_id, f.cells[0].metric) for f in found} == right | wrong


def test_one_run_with_another_number_in_a_second_table(changed, audited_with):
    for table, row, metric, printed in (
        ("mai_se_net-3", 6, "bbox/AP", "69.5"),
        ("mai_se_net-3", 7, "segm/APl", "47.6"),
        ("seanet-3", 4, "segm/AP75", "40.7"),
        ("iemask_rcnn-8", 11, "segm/AP", "37.38"),
        ("insight_any_instance-11", 1, "segm/AP", "58.2"),
        ("insight_any_instance-3", 4, "segm/AP50", "56.7"),
        ("iemask_rcnn-4", 6, "segm/AP", "25.16"),
    ):
        found = audited_with(same_system.same_run, changed(table, row, metric, printed))
        assert any((cell.table_id, cell.row, cell.printed) == (table, row, printed) for f in found for cell in f.cells)


def test_parameters_that_do_not_add_up(changed):
    copy = changed("insight_any_instance-2", 5, "params_M", "55.0")
    found = [f for f in additivity.additivity([copy]) if f and f.cells[0].metric == "params_M"]
    assert [f.severity for f in found] == ["warning"]


def test_a_full_method_below_its_baseline(tables, changed):
    for table, row, base in (("mai_se_net-1", 19, 11), ("iemask_rcnn-5", 8, 1), ("seanet-3", 2, 1)):
        lower = points(tables[table].row(base).cells["segm/AP"], -1.0)
        found = [f for f in ablation.below_baseline([changed(table, row, "segm/AP", lower)]) if f]
        heavy = [f for f in found if f.severity == "warning"]
        assert [f.cells[0].row for f in heavy] == [row]


def test_a_percentage_above_100_and_a_time_of_zero(changed):
    assert list(filter(None, ordering.possible([changed("seanet-5", 1, "trimap_accuracy/8", "114.7")])))
    assert list(filter(None, ordering.possible([changed("seanet-6", 1, "time_ms", "0")])))


def test_every_claimed_number_misses_when_its_cell_changes(tables, claims, changed):
    """All numeric claims that hold, one after the other."""
    tried = Counter()
    for claim in claims.values():
        place: Place | None = claim.minuend
        if not claim_checks.NUMBER.fullmatch(claim.claimed) or place is None or claim.consistent != "yes":
            continue
        table = f"{claim.paper}-{place.table}"
        cell = tables[table].row(place.row).cells.get(claim.metric)
        if cell is None or (claim.subtrahend and claim.subtrahend.table != place.table):
            continue
        copy = changed(table, place.row, claim.metric, points(cell, 2.0))
        found = list(filter(None, claim_checks.claimed_numbers([copy], [claim])))
        assert [finding.key for finding in found] == [claim.id]
        tried[claim.paper] += 1
    assert sum(tried.values()) >= 120 and len(tried) == 5


def test_every_claimed_order_fails_when_its_cells_change(tables, claims, changed):
    tried = 0
    for claim in claims.values():
        first, second = claim.minuend, claim.subtrahend
        if claim.claimed not in {">0", "<0"} or not first or not second or claim.consistent != "yes":
            continue
        other = tables[f"{claim.paper}-{second.table}"].row(second.row).cells[claim.metric]
        worse = points(other, -1.0 if claim.claimed == ">0" else 1.0)
        copy = changed(f"{claim.paper}-{first.table}", first.row, claim.metric, worse)
        others = [table for table in tables.values() if table.id != copy.id]
        found = list(filter(None, claim_checks.claimed_order([copy, *others], [claim])))
        assert [finding.key for finding in found] == [claim.id]
        tried += 1
    assert tried >= 230


def test_a_better_rival_than_the_named_one(tables, claims, changed):
    claim = claims["IEM-034"]  # ahead of the second best, Mask Transfiner 36.9
    assert list(claim_checks.named_best([tables["iemask_rcnn-5"]], [claim])) == [None]
    (found,) = claim_checks.named_best([changed("iemask_rcnn-5", 2, "segm/AP", "37.5")], [claim])
    assert found.cells[0].row == 2 and "PANet" in found.message
    assert list(claim_checks.named_best([changed("iemask_rcnn-5", 18, "segm/AP", "44.0")], [claim])) == [None]
