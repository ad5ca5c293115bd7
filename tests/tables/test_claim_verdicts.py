"""Claims beside the rows that they are about."""

from __future__ import annotations

from collections import Counter

import pytest

from reprolib.papers import catalog
from reprolib.papers.claims import load_claims
from reprolib.tables.claim_verdicts import claim_verdicts, judge_claims
from reprolib.tables.verdicts import VERDICTS

TABLES = catalog.all_tables()
ABLATION = TABLES["iemask_rcnn-3"]


@pytest.fixture
def judged(rows_of):
    """Function that judges all claims by records; by the claim's id."""

    def judge(records, *, profile="paper"):
        rows = {name: rows_of(table, records, profile=profile) for name, table in TABLES.items()}
        return {result.claim.id: result for result in judge_claims(load_claims(), rows)}

    return judge


def _records(record, values, *, profile="paper", metric="segm/AP"):
    return [
        record(ABLATION.rows[number - 1].experiment, {metric: ap}, profile=profile, seed=seed)
        for number, by_seed in values.items()
        for seed, ap in enumerate(by_seed)
    ]


def test_every_line_of_the_file_gets_a_verdict(judged):
    results = judged([], profile="demo")
    assert list(results) == [claim.id for claim in load_claims()]
    assert {result.verdict for result in results.values()} == {"not run", "reported only"}
    assert {result.claim.paper for result in results.values()} == {claim.paper for claim in load_claims()}
    assert all(result.reproduced is None and result.interval is None for result in results.values())


def test_a_claim_names_its_rows(judged):
    result = judged([])["IEM-004"]
    claim = result.claim
    assert (claim.text, claim.metric, claim.claimed) == ("adding IEFPN improves all metrics", "segm/AP", ">0")
    assert [(row.table, row.row) for row in result.rows] == [("iemask_rcnn-3", 4), ("iemask_rcnn-3", 1)]
    assert result.rows[0].experiment == ABLATION.rows[3].experiment.id


def test_a_claim_about_no_rows_cannot_be_run(judged):
    result = judged([])["IAI-025"]
    assert (result.verdict, result.rows, result.reported) == ("reported only", (), None)
    assert result.reasons


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((36.1, 36.2, 36.3), "reproduced"),
        ((34.1, 34.2, 34.3), "contradicted"),
        ((34.0, 36.2, 37.0), "inconclusive"),
    ],
)
def test_a_direction_is_judged_with_records(judged, record, values, word):
    records = _records(record, {1: (35.2, 35.3, 35.4), 4: values})
    result = judged(records)["IEM-004"]
    assert (result.verdict, result.reasons, result.reported) == (word, (), None)
    assert result.reproduced == pytest.approx(sum(values) / 3 - 35.3)
    assert (result.reproduced in result.interval, result.interval_source) == (True, "3 seeds")


def test_a_number_is_judged_by_the_digits_that_are_claimed(judged, record):
    apart = {1: (16.80, 16.81, 16.82), 2: (18.25, 18.26, 18.27)}
    result = judged(_records(record, apart, metric="segm/APs"))["IEM-010"]  # "about 1 %"
    assert (result.reported, result.reproduced, result.verdict) == (1.0, pytest.approx(1.45), "reproduced")


def test_nothing_better_than_not_comparable_under_demo(judged, record):
    records = _records(record, {1: (35.2, 35.3, 35.4), 4: (36.1, 36.2, 36.3)}, profile="demo")
    results = judged(records, profile="demo")
    assert results["IEM-004"].verdict == "not comparable"
    assert "other data (street stands in for coco)" in results["IEM-004"].reasons
    assert {result.verdict for result in results.values()} == {"not run", "not comparable", "reported only"}


def test_a_general_statement_is_one_family(judged, record):
    alone = _records(record, {1: (35.2, 35.3, 35.4), 4: (36.1, 36.25, 36.3)})
    both = [made | {"metrics": made["metrics"] | {"segm/AP50": 20 + made["metrics"]["segm/AP"]}} for made in alone]
    narrow, wide = (judged(records)["IEM-004"].interval for records in (alone, both))
    assert wide.half_width > narrow.half_width


def test_from_a_profiles_records(root, record):
    record(ABLATION.rows[0].experiment, {"segm/AP": 35.0}, write=True)
    record(ABLATION.rows[3].experiment, {"segm/AP": 36.0}, write=True)
    results = claim_verdicts("demo", params=root / "params.yaml")
    words = Counter(result.verdict for result in results)
    assert set(words) <= set(VERDICTS)
    assert words["not comparable"] >= 1
    (result,) = [result for result in results if result.claim.id == "IEM-004"]
    assert (result.reproduced, result.interval, result.verdict) == (pytest.approx(1.0), None, "not comparable")
