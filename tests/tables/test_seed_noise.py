"""Noise between seeds, from records that have several."""

from __future__ import annotations

import json
import statistics

import pytest

from reprolib.papers import catalog
from reprolib.tables.seed_noise import SeedNoise, write_seed_noise

ABLATION = catalog.all_tables()["iemask_rcnn-3"]
BASE, CEM, GIM = (ABLATION.rows[index].experiment for index in (0, 1, 2))


def _by_id(records):
    return {record["run"]: record for record in records}


def test_it_is_pooled_over_experiments(record):
    records = [record(BASE, {"segm/AP": ap}, seed=seed) for seed, ap in enumerate((1.0, 2.0, 3.0))]
    records += [record(CEM, {"segm/AP": ap}, seed=seed) for seed, ap in enumerate((5.0, 9.0))]
    records += [record(GIM, {"segm/AP": 7.0})]
    noise = SeedNoise(_by_id(records)).of("segm/AP", records[-1:])
    # (2 * 1 + 1 * 8) / 3
    assert (noise.variance, noise.freedom) == (pytest.approx(10 / 3), 3)
    assert set(noise.experiments) == {BASE.id, CEM.id}
    assert SeedNoise(_by_id(records)).of("segm/APl", records[-1:]) is None
    assert SeedNoise(_by_id(records[-1:])).of("segm/AP", records[-1:]) is None


def test_the_same_data_go_before_others(record):
    records = [record(BASE, {"segm/AP": ap, "segm/APs": ap}, seed=seed) for seed, ap in enumerate((1.0, 2.0))]
    other = [record(CEM, {"segm/AP": ap, "segm/APs": None}, seed=seed) for seed, ap in enumerate((1.0, 5.0))]
    for made in other:
        made["data"]["name"] = "aerial"
    noise = SeedNoise(_by_id(records + other))
    assert noise.of("segm/AP", other[:1]).experiments == (CEM.id,)
    assert noise.of("segm/AP", records[:1]).experiments == (BASE.id,)
    assert noise.of("segm/AP", other[:1]).source == f"seed noise of {CEM.id}"
    assert noise.of("segm/APs", other[:1]).source == f"seed noise of {BASE.id} (other data)"


def test_the_file_holds_what_was_measured(record, tmp_path):
    records = [record(BASE, {"segm/AP": ap, "segm/APl": None}, seed=seed) for seed, ap in enumerate((1.0, 2.0, 4.0))]
    write_seed_noise(_by_id(records), tmp_path / "seed_noise.json")
    found = json.loads((tmp_path / "seed_noise.json").read_text())
    assert found == {
        "street": {
            "segm/AP": {
                "sd": pytest.approx(statistics.stdev((1.0, 2.0, 4.0))),
                "degrees_of_freedom": 2,
                "values": {BASE.id: {"0": 1.0, "1": 2.0, "2": 4.0}},
            }
        }
    }


def test_a_row_with_one_seed_takes_the_noise_of_the_others(rows_of, record):
    records = [record(BASE, {"segm/AP": ap}, profile="paper", seed=seed) for seed, ap in enumerate((35.2, 35.3, 35.4))]
    records += [record(CEM, {"segm/AP": 36.9}, profile="paper")]
    cell = rows_of(ABLATION, records)[1].cell("segm/AP")
    assert cell.interval_source == f"seed noise of {BASE.id}"
    # t(2) = 4.303 times 0.1
    assert (cell.interval.low, cell.interval.high) == (pytest.approx(36.9 - 0.4303), pytest.approx(36.9 + 0.4303))
    assert cell.gain_interval_source == f"3 seeds + seed noise of {BASE.id}"
    assert cell.gain_reproduced == pytest.approx(1.6)
    assert cell.gain_interval.low < 1.6 < cell.gain_interval.high
    assert cell.verdict == "same direction"  # 0.70 reported
