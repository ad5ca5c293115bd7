"""Reported numbers beside records: joined, and judged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reprolib.experiment import Extra, Row
from reprolib.papers import catalog
from reprolib.tables.layout import main_metrics

TABLES = catalog.all_tables()
ABLATION = TABLES["iemask_rcnn-3"]
BASE, CEM, FULL = (ABLATION.rows[index].experiment for index in (0, 1, 13))


def test_without_records_nothing_is_compared(rows_of):
    rows = rows_of(ABLATION, [], profile="demo")
    assert {row.status for row in rows} == {"not run"}
    assert {cell.verdict for row in rows for cell in row.cells} == {"not run"}
    assert rows[0].cell("segm/AP").reproduced is None
    assert rows[0].cell("segm/AP").reasons == ()
    assert rows[1].cell("segm/AP").reasons == ("not among the experiments of profile demo",)
    assert rows[1].cell("segm/AP").gain_reported == pytest.approx(0.70)


def test_stand_in_data_are_never_comparable_even_when_the_numbers_agree(rows_of, record):
    records = [record(BASE, {"segm/AP": 35.27}, seed=seed) for seed in range(4)]
    cell = rows_of(ABLATION, records, profile="demo")[0].cell("segm/AP")
    assert cell.reproduced == pytest.approx(35.27)
    assert cell.verdict == "not comparable"
    assert "other data (street stands in for coco)" in cell.reasons
    assert "other backbone (resnet10t stands in for resnet50)" in cell.reasons


def test_published_scale_is_judged_with_all_seeds(rows_of, record):
    records = [record(BASE, {"segm/AP": ap}, profile="paper", seed=seed) for seed, ap in enumerate((35.2, 35.3, 35.4))]
    records += [record(CEM, {"segm/AP": ap}, profile="paper", seed=seed) for seed, ap in enumerate((35.9, 36.0, 36.1))]
    rows = rows_of(ABLATION, records)
    base, cem = rows[0].cell("segm/AP"), rows[1].cell("segm/AP")
    assert base.values == {0: 35.2, 1: 35.3, 2: 35.4}
    assert (base.verdict, base.reproduced, base.difference) == (
        "reproduced",
        pytest.approx(35.3),
        pytest.approx(0.03),
    )
    assert (cem.verdict, cem.gain_reproduced) == ("reproduced", pytest.approx(0.7))
    assert rows[0].is_baseline and not rows[1].is_baseline


def test_one_seed_is_inconclusive(rows_of, record):
    rows = rows_of(ABLATION, [record(BASE, {"segm/AP": 35.27}, profile="paper")])
    assert rows[0].cell("segm/AP").verdict == "inconclusive"


def test_a_shorter_training_is_not_comparable(rows_of, record):
    one = record(BASE, {"segm/AP": 20.0}, profile="paper")
    one["recipe"]["iterations"] = 90_000
    cell = rows_of(ABLATION, [one])[0].cell("segm/AP")
    assert cell.verdict == "not comparable"
    assert cell.reasons == ("shorter training (180,000 of 1,440,000 images)",)


def test_a_missing_size_class_is_not_available_and_not_averaged(rows_of, record):
    records = [record(BASE, {"segm/APl": value}, profile="paper", seed=seed) for seed, value in enumerate((None, 50.0))]
    cell = rows_of(ABLATION, records)[0].cell("segm/APl")
    assert cell.values == {0: None, 1: 50.0}
    assert cell.reproduced == 50.0
    nothing = rows_of(ABLATION, records[:1])[0].cell("segm/APl")
    assert (nothing.reproduced, nothing.verdict) == (None, "not comparable")


def test_test_dev_is_another_split(rows_of, record):
    records = [record(BASE, {"segm/AP": 35.5}, profile="paper", seed=seed) for seed in range(2)]
    cell = rows_of(TABLES["iemask_rcnn-5"], records)[0].cell("segm/AP")
    assert (cell.verdict, cell.reasons) == ("not comparable", ("reported on test-dev, run on val",))


def test_counts_and_times(rows_of, record):
    rows = rows_of(TABLES["iemask_rcnn-8"], [record(BASE, {"segm/AP": 35.27}, profile="paper")])
    assert rows[0].cell("params_M").verdict == "reproduced"
    assert rows[0].cell("params_M").reproduced == pytest.approx(44.343216)
    assert rows[0].cell("flops_G").verdict == "reproduced"
    time = rows[0].cell("time_ms")
    assert (time.reproduced, time.verdict) == (100.0, "not comparable")
    assert main_metrics(rows) == ["segm/AP", "params_M", "flops_G", "time_ms"]


def test_each_paper_counts_parameters_its_own_way(rows_of, record):
    experiment = TABLES["seanet-6"].rows[0].experiment
    counts = {"params": 70_000_000, "trainable_params": 63_170_000, "params_frozen_norm_excluded": 69_000_000}
    rows = rows_of(TABLES["seanet-6"], [record(experiment, {}, profile="paper", cost=counts)])
    assert rows[0].cell("params_M").reproduced == pytest.approx(63.17)


def test_what_cannot_run_and_what_is_not_built(rows_of):
    wired = TABLES["seanet-1"]
    rows = rows_of(replace(wired, rows=(*wired.rows[:5], Row(number=6))), [])
    assert [row.status for row in rows] == ["not run"] * 2 + ["reported only"] + ["not run"] * 2 + ["not built yet"]
    assert {cell.verdict for cell in rows[2].cells} == {"reported only"}
    assert {cell.verdict for cell in rows[5].cells} == {"not run"}
    data = rows_of(TABLES["iemask_rcnn-2"], [])
    assert {cell.verdict for row in data for cell in row.cells} == {"reported only"}


def test_removals_are_compared_with_the_whole_model(rows_of):
    rows = rows_of(TABLES["mai_se_net-3"], [])
    assert [row.number for row in rows if row.is_baseline] == [7]
    assert rows[6].cell("segm/AP").gain_reported is None
    assert rows[0].cell("segm/AP").gain_reported < 0


def test_a_row_that_is_not_printed_is_measured_and_not_judged(rows_of, record):
    own = Row(number=15, experiment=CEM, extra=Extra(name="Mask R-CNN + something", why="To tell it apart.", like=14))
    table = replace(ABLATION, rows=(*ABLATION.rows, own))
    records = [record(one, {"segm/AP": ap}, profile="paper") for one, ap in ((BASE, 35.0), (CEM, 36.5))]
    rows = rows_of(table, records)
    extra = rows[14]
    assert (extra.extra, extra.status, extra.is_baseline) == (True, "run", False)
    assert (extra.head.method, extra.head.components) == ("Mask R-CNN + something", rows[13].head.components)
    assert [cell.reported.metric for cell in extra.cells] == [cell.reported.metric for cell in rows[13].cells]
    cell = extra.cell("segm/AP")
    assert (cell.reported.value, cell.reported.printed, cell.reported.decimals) == (None, "", 2)
    assert (cell.reproduced, cell.verdict, cell.reasons) == (36.5, "not reported", ())
    assert (cell.difference, cell.gain_reported, cell.gain_reproduced) == (None, None, pytest.approx(1.5))
    assert extra.cell("segm/AP50").verdict == "not run"
    assert rows_of(table, [], profile="demo")[14].cell("segm/AP").verdict == "not run"
    # It is nobody's baseline, though without components it looks like one.
    plain = replace(own, number=1, extra=replace(own.extra, like=1))
    first = rows_of(replace(ABLATION, rows=(plain, *ABLATION.rows[1:])), records)
    assert not first[0].is_baseline


def test_a_foreign_row_is_never_comparable_and_its_neighbours_are(rows_of, record):
    table = TABLES["iemask_rcnn-8"]
    runs = [record(table.rows[index].experiment, {"segm/AP": 35.9}, profile="paper") for index in (0, 3)]
    rows = rows_of(table, runs)
    assert {cell.verdict for cell in rows[3].cells} == {"not comparable"}
    assert "foreign" in rows[3].cell("params_M").reasons[0]
    assert rows[0].cell("params_M").verdict == "reproduced"


def test_another_split_of_the_same_data_is_never_comparable(rows_of, record):
    experiment = TABLES["insight_any_instance-7"].rows[2].experiment
    one = record(experiment, {"segm/AP": 64.2}, profile="paper")
    cell = rows_of(TABLES["insight_any_instance-7"], [one])[2].cell("segm/AP")
    assert cell.verdict == "not comparable"
    assert any("7:3" in reason for reason in cell.reasons)


def test_a_design_that_is_partly_inferred_is_labelled_and_never_called_reproduced(rows_of, record):
    table = TABLES["mai_se_net-1"]
    assumed = next(row for row in table.rows if row.number == 18).experiment
    made = record(assumed, {"segm/AP": 59.4}, profile="paper")
    assert made["inferred"].startswith("Design inferred")
    assert "inferred" not in record(BASE, {}, profile="paper")
    cell = next(row for row in rows_of(table, [made]) if row.number == 18).cell("segm/AP")
    assert cell.difference == pytest.approx(0)
    assert cell.verdict == "not comparable" and "the system's design is partly inferred" in cell.reasons

    # As a gain it shows a direction at most. CEM's numbers agree with the reported gain of 0.70.
    other = replace(CEM, system="SA R-CNN")
    ladder = replace(ABLATION, rows=(ABLATION.rows[0], Row(number=2, experiment=other), *ABLATION.rows[2:]))
    records = [record(BASE, {"segm/AP": ap}, profile="paper", seed=seed) for seed, ap in enumerate((35.2, 35.3, 35.4))]
    for experiment, word in ((CEM, "reproduced"), (other, "same direction")):
        gains = [
            record(experiment, {"segm/AP": ap}, profile="paper", seed=seed)
            for seed, ap in enumerate((35.9, 36.0, 36.1))
        ]
        rows = rows_of(ABLATION if experiment is CEM else ladder, records + gains)
        assert rows[1].cell("segm/AP").verdict == word


def report(*shares: float) -> dict:
    return {"foreground_ratio_share": dict(zip(("[0.0,0.1)", "[0.1,0.2)", "[0.2,1.0]"), shares, strict=True))}


def test_a_row_that_describes_data_reads_the_report(rows_of):
    """Prints 84.1, 14.8 and 1.1 of NWPU VHR-10 (row 2); a number is the same where it rounds to the printed one."""
    rows = rows_of(TABLES["insight_any_instance-1"], reports={"nwpu_vhr10": report(84.14, 14.86, 1.0)})
    assert [row.status for row in rows] == ["not run", "run", "not run"]
    cells = rows[1].cells
    assert [cell.verdict for cell in cells] == ["reproduced", "contradicted", "contradicted"]
    assert [cell.reproduced for cell in cells] == [84.14, 14.86, 1.0] and cells[0].difference == pytest.approx(0.04)
    assert {cell.reasons for cell in cells} == {()} and not any(cell.values for cell in cells)
    assert {(cell.verdict, cell.reasons) for cell in rows[0].cells} == {("not run", ("coco is not prepared",))}


def test_a_row_that_describes_data_is_not_comparable_where_other_data_are_read(rows_of):
    reports = {"street": report(24.5, 20.1, 55.4), "nwpu_vhr10": {"name": "made before there were shares"}}
    coco, nwpu, _ = rows_of(TABLES["insight_any_instance-1"], profile="demo", reports=reports)
    assert coco.status == "run" and coco.cells[0].reproduced == 24.5
    found = {(cell.verdict, cell.reasons) for cell in coco.cells}
    assert found == {("not comparable", ("other data (street stands in for coco)",))}
    assert nwpu.status == "not run"
    assert {cell.reasons for cell in nwpu.cells} == {("the report on nwpu_vhr10 does not have it",)}


def test_a_row_that_describes_data_of_another_protocol_is_not_comparable(rows_of, monkeypatch):
    monkeypatch.setattr(catalog, "other_protocol", lambda paper, number, row: "the test split only" * (row == 2))
    row = rows_of(TABLES["insight_any_instance-1"], reports={"nwpu_vhr10": report(84.1, 14.8, 1.1)})[1]
    assert {(cell.verdict, cell.reasons) for cell in row.cells} == {("not comparable", ("the test split only",))}
