"""From matches on disk to intervals in a rendered table."""

from __future__ import annotations

import csv
import math
import statistics

import numpy as np
import pytest

from benchmarks.bootstrap import generate_matches
from reprolib.evaluation.bootstrap import average_precision, resample_counts
from reprolib.evaluation.matches import matches_path, write_matches
from reprolib.evaluation.record import read_records
from reprolib.papers import catalog
from reprolib.tables.bootstrap_draws import read_draws
from reprolib.tables.confidence_intervals import t_quantile
from reprolib.tables.render import read_table, render

ABLATION = catalog.all_tables()["iemask_rcnn-3"]
IMAGES = 60


@pytest.fixture
def run(root, record):
    """Write a record with matches: `run(row, quality, seed=0)`; returns the matches."""

    def make(row, quality, *, seed=0, profile="demo", shift=0.0):
        matches = generate_matches(images=IMAGES, classes=4, quality=quality, seed=1)
        if seed:  # another seed finds other objects on the same images
            other = generate_matches(images=IMAGES, classes=4, quality=quality - 0.02 * seed, seed=1)
            matches = other
        values = average_precision(matches, np.ones((IMAGES, 1)))
        metrics = {f"segm/{name}": float(value[0]) + shift for name, value in values.items()}
        made = record(ABLATION.rows[row - 1].experiment, metrics, seed=seed, profile=profile, write=True)
        write_matches(matches_path(root / "results" / profile, made["run"]), {"segm": matches})
        return matches

    return make


def _cell(root, row, metric="segm/AP", profile="demo"):
    rows, _, sheet = read_table("iemask_rcnn-3", profile, params=root / "params.yaml")
    return rows[row - 1].cell(metric), sheet


def test_one_run_has_an_interval_over_images_alone(root, run):
    matches = run(1, 0.75)
    cell, sheet = _cell(root, 1)
    drawn = average_precision(matches, resample_counts(IMAGES))["AP"]
    assert cell.interval.half_width == pytest.approx(1.959964 * drawn.std(ddof=1), rel=1e-6)
    assert cell.interval_source == "images only"
    assert "Where it is of images only" in sheet.intervals


def test_a_gain_is_paired_over_images(root, run):
    pair = [run(row, quality) for row, quality in ((1, 0.75), (2, 0.6))]
    cell, _ = _cell(root, 2)
    ours, base = (average_precision(matches, resample_counts(IMAGES))["AP"] for matches in reversed(pair))
    assert cell.gain_interval.half_width == pytest.approx(1.959964 * (ours - base).std(ddof=1), rel=1e-6)
    assert cell.gain_interval_source == "images only"
    assert cell.p_value is not None


def test_the_noise_of_a_row_with_seeds_completes_the_others(root, run):
    for seed in range(3):
        run(1, 0.75, seed=seed, profile="paper")
    run(2, 0.75, profile="paper")
    base, _ = _cell(root, 1, profile="paper")
    cell, sheet = _cell(root, 2, profile="paper")
    assert base.interval_source == "images + 3 seeds"
    assert cell.interval_source == f"images + seed noise of {ABLATION.rows[0].experiment.id}"
    assert cell.gain_interval_source == f"images + 3 seeds + seed noise of {ABLATION.rows[0].experiment.id}"
    assert "images + 3 seeds (row 1)" in sheet.intervals
    assert "images only" not in sheet.intervals


def test_seeds_that_left_no_matches_count_as_seeds(root, run):
    """Records made on request travel in git, their matches do not."""
    matches = run(1, 0.75)
    for seed in (1, 2):
        run(1, 0.75, seed=seed)
        matches_path(root / "results/demo", f"coco-mask_rcnn_r50-{seed}").unlink()
    cell, _ = _cell(root, 1)
    drawn = average_precision(matches, resample_counts(IMAGES))["AP"]
    between = statistics.variance(cell.values.values()) / 3
    error = math.sqrt(drawn.var(ddof=1) + between)
    freedom = error**4 / (between**2 / 2)
    assert cell.interval.half_width == pytest.approx(t_quantile(0.95, freedom) * error, rel=1e-6)
    assert cell.interval_source == "images + 3 seeds"


def test_many_rows_widen_the_gains(root, run):
    run(1, 0.75)
    run(2, 0.7)
    alone, _ = _cell(root, 2)
    for row in range(3, 9):
        run(row, 0.7)
    together, sheet = _cell(root, 2)
    assert together.gain_interval.half_width > alone.gain_interval.half_width
    assert together.p_value >= alone.p_value
    assert "Holm's procedure over the 7 rows" in sheet.intervals


def test_every_seed_is_listed(root, run):
    for seed in (0, 1, 2):
        run(1, 0.75, seed=seed)
    cell, sheet = _cell(root, 1)
    listed = next(entries[3].text for entries in sheet.cell_body if entries[2].text == "mask AP")
    runs = ", ".join(f"{value:.2f}" for value in cell.values.values())
    assert listed == f"{cell.reproduced:.2f} ± {cell.interval.half_width:.2f} (3 seeds: {runs})"
    assert "(3 seeds)" in [entry.text for entry in sheet.body[0]][7]


def test_the_rendered_table_shows_them(root, run):
    run(1, 0.75)
    run(2, 0.6)
    paths = render("iemask_rcnn-3", "demo", params=root / "params.yaml")
    markdown, text, latex = (path.read_text() for path in paths)
    cell, _ = _cell(root, 2)
    half = f"{cell.reproduced:.2f} ± {cell.interval.half_width:.2f}"
    assert f"| {half} |" in markdown
    assert half.replace("±", r"$\pm$") in latex
    line = next(line for line in csv.DictReader(text.splitlines()) if (line["row"], line["metric"]) == ("2", "segm/AP"))
    assert float(line["low"]) < cell.reproduced < float(line["high"])
    assert float(line["gain_low"]) < cell.gain_reproduced < float(line["gain_high"])
    assert (line["interval_source"], line["gain_interval_source"]) == ("images only", "images only")
    assert float(line["gain_p"]) == pytest.approx(cell.p_value, rel=1e-4)


def test_draws_are_made_once(root, run, monkeypatch):
    run(1, 0.75)
    results = root / "results" / "demo"
    records = list(read_records(results / "records").values())
    first = read_draws(results, records)
    assert [path.suffix for path in (root / "work" / "bootstrap").iterdir()] == [".npz"]

    def never(*_):
        raise AssertionError("drawn again")

    monkeypatch.setattr("reprolib.tables.bootstrap_draws.average_precision", never)
    again = read_draws(results, records)
    (name,) = first
    assert np.array_equal(first[name].metrics["segm/AP"], again[name].metrics["segm/AP"])
    assert first[name].images == again[name].images


def test_matches_of_another_evaluation_are_left_out_with_a_warning(root, run):
    run(1, 0.75, shift=0.5)
    with pytest.warns(UserWarning, match=r"coco-mask_rcnn_r50-0.npz is not of the record"):
        cell, sheet = _cell(root, 1)
    assert (cell.interval, cell.interval_source, sheet.intervals) == (None, "", "")


def test_a_protocol_that_keeps_no_matches_has_no_interval_over_images(root, run):
    run(1, 0.75)
    write_matches(root / "results/demo/matches/coco-mask_rcnn_r50-0.npz", {})
    cell, _ = _cell(root, 1)
    assert cell.interval is None
