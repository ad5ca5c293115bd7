"""Claims beside the rows that they are about."""

from __future__ import annotations

from collections import Counter

import pytest

from reprolib.papers import catalog
from reprolib.papers.claims import load_claims
from reprolib.params import load_profile
from reprolib.tables.claims import claims, join_claims
from reprolib.tables.join import join
from reprolib.tables.verdict import VERDICTS

TABLES = catalog.all_tables()
ABLATION = TABLES["iemask_rcnn-3"]


@pytest.fixture
def joined(root):
    def run(records, *, profile="paper"):
        path, by_id = root / "params.yaml", {record["run"]: record for record in records}
        paper = load_profile("paper", path=path)
        settings = load_profile(profile, path=path)
        tables = {name: join(table, by_id, settings, paper=paper) for name, table in TABLES.items()}
        return {claim.claim_id: claim for claim in join_claims(load_claims(), tables)}

    return run


def _records(record, values, *, profile="paper", metric="segm/AP"):
    return [
        record(ABLATION.rows[number - 1].experiment, {metric: ap}, profile=profile, seed=seed)
        for number, by_seed in values.items()
        for seed, ap in enumerate(by_seed)
    ]


def test_every_line_of_the_file_gets_a_verdict(joined):
    found = joined([], profile="demo")
    assert len(found) == len(load_claims())
    assert {claim.verdict for claim in found.values()} == {"not run", "reported only"}
    assert {claim.paper for claim in found.values()} == set(catalog.papers())
    assert all(claim.reproduced is None and claim.interval is None for claim in found.values())


def test_a_claim_names_its_rows(joined):
    claim = joined([])["IEM-004"]
    assert (claim.text, claim.metric, claim.claimed) == ("adding IEFPN improves all metrics", "segm/AP", ">0")
    assert [(one.table, one.row) for one in claim.rows] == [("iemask_rcnn-3", 4), ("iemask_rcnn-3", 1)]
    assert claim.rows[0].experiment == ABLATION.rows[3].experiment.id


def test_a_claim_about_no_rows_cannot_be_run(joined):
    claim = joined([])["IAI-025"]
    assert (claim.verdict, claim.rows, claim.reported) == ("reported only", (), None)
    assert claim.reasons


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((36.1, 36.2, 36.3), "reproduced"),
        ((34.1, 34.2, 34.3), "contradicted"),
        ((34.0, 36.2, 37.0), "inconclusive"),
    ],
)
def test_a_direction_is_judged_with_records(joined, record, values, word):
    records = _records(record, {1: (35.2, 35.3, 35.4), 4: values})
    claim = joined(records)["IEM-004"]
    assert (claim.verdict, claim.reasons, claim.reported) == (word, (), None)
    assert claim.reproduced == pytest.approx(sum(values) / 3 - 35.3)
    assert (claim.reproduced in claim.interval, claim.interval_source) == (True, "3 seeds")


def test_a_number_is_judged_by_the_digits_that_are_claimed(joined, record):
    apart = {1: (16.80, 16.81, 16.82), 2: (18.25, 18.26, 18.27)}
    claim = joined(_records(record, apart, metric="segm/APs"))["IEM-010"]  # "about 1 %"
    assert (claim.reported, claim.reproduced, claim.verdict) == (1.0, pytest.approx(1.45), "reproduced")


def test_nothing_better_than_not_comparable_under_demo(joined, record):
    records = _records(record, {1: (35.2, 35.3, 35.4), 4: (36.1, 36.2, 36.3)}, profile="demo")
    found = joined(records, profile="demo")
    assert found["IEM-004"].verdict == "not comparable"
    assert "other data (street stands in for coco)" in found["IEM-004"].reasons
    assert {claim.verdict for claim in found.values()} == {"not run", "not comparable", "reported only"}


def test_a_general_statement_is_one_family(joined, record):
    alone = _records(record, {1: (35.2, 35.3, 35.4), 4: (36.1, 36.25, 36.3)})
    both = [dict(one, metrics=one["metrics"] | {"segm/AP50": 20 + one["metrics"]["segm/AP"]}) for one in alone]
    narrow, wide = (joined(records)["IEM-004"].interval for records in (alone, both))
    assert wide.half_width > narrow.half_width


def test_from_a_profiles_records(root, record):
    record(ABLATION.rows[0].experiment, {"segm/AP": 35.0}, write=True)
    record(ABLATION.rows[3].experiment, {"segm/AP": 36.0}, write=True)
    found = claims("demo", params=root / "params.yaml")
    words = Counter(claim.verdict for claim in found)
    assert set(words) <= set(VERDICTS)
    assert words["not comparable"] >= 1
    (claim,) = [claim for claim in found if claim.claim_id == "IEM-004"]
    assert (claim.reproduced, claim.interval, claim.verdict) == (pytest.approx(1.0), None, "not comparable")
