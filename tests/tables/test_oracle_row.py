"""Table XI's third row shows the oracle's number under the oracle's name, never the detector's."""

from __future__ import annotations

from dataclasses import replace

from reprolib.papers import catalog
from reprolib.params import load_profile
from reprolib.tables.layout import lay_out, main_metrics, metric_label

TABLE = catalog.all_tables()["insight_any_instance-11"]


def test_the_third_row_reads_the_oracles_metric_of_the_second_rows_run(root, rows_of, record):
    run = replace(TABLE.rows[0].experiment, dataset="coco", oracle_prompts=True)
    table = replace(TABLE, rows=tuple(replace(row, experiment=run) for row in TABLE.rows))
    made = record(run, {"segm/AP": 60.0, "oracle/segm/AP": 61.5})
    rows = rows_of(table, [made], profile="demo")
    assert main_metrics(rows) == ["segm/AP", "oracle/segm/AP"]
    assert rows[1].cell("segm/AP").reproduced == 60.0
    oracle = rows[2].cell("oracle/segm/AP")
    assert (oracle.reproduced, oracle.reported.value) == (61.5, 67.7)
    assert rows[2].cell("segm/AP") is None
    sheet = lay_out(table, rows, load_profile("demo", path=root / "params.yaml"))
    assert "oracle mask AP reproduced" in sheet.columns and metric_label("oracle/prompted") == "oracle prompted"


def test_a_run_without_the_oracle_leaves_the_cell_open(root, rows_of, record):
    run = replace(TABLE.rows[0].experiment, dataset="coco")
    table = replace(TABLE, rows=tuple(replace(row, experiment=run) for row in TABLE.rows))
    made = record(run, {"segm/AP": 60.0})
    rows = rows_of(table, [made], profile="demo")
    cell = rows[2].cell("oracle/segm/AP")
    assert cell.reproduced is None and cell.reasons == ("oracle/segm/AP is not measured",)
