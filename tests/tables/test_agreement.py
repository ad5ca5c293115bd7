"""Which claims' directions the runs bear out."""

from __future__ import annotations

import dataclasses

import pytest

from reprolib.papers.claims import Claim
from reprolib.tables.agreement import agreement, direction
from reprolib.tables.claim_verdicts import ClaimVerdict, RowReference
from reprolib.tables.confidence_intervals import Interval
from reprolib.tables.verdicts import Comparison

ROWS = tuple(RowReference(table="iemask_rcnn-3", row=row, experiment="e") for row in (4, 1))
CLAIM = Claim(
    paper="iemask_rcnn",
    id="X",
    type="numeric",
    text="more is better",
    metric="segm/AP",
    minuend=None,
    subtrahend=None,
    minuend_text="",
    subtrahend_text="",
    claimed="2.60",
    table_delta="2.6",
    consistent="yes",
    note="",
)
RESULT = ClaimVerdict(
    claim=CLAIM,
    comparison=Comparison(kind="gain", reported=2.6, reproduced=1.0, interval=Interval(0.5, 1.5), obstacles=("data",)),
    rows=ROWS,
)


def changed(**changes) -> ClaimVerdict:
    """The claim's verdict with other fields; `claimed` and `text` are the claim's, `rows` the verdict's, all others the
    comparison's."""
    claim = {name: changes.pop(name) for name in ("claimed", "text") if name in changes}
    verdict = {name: changes.pop(name) for name in ("rows",) if name in changes}
    comparison = dataclasses.replace(RESULT.comparison, **changes)
    return dataclasses.replace(RESULT, claim=dataclasses.replace(CLAIM, **claim), comparison=comparison, **verdict)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "agrees"),
        ({"reproduced": -1.0, "interval": Interval(-1.5, -0.5)}, "opposes"),
        ({"interval": Interval(-0.5, 2.5)}, "agrees, within noise"),
        ({"interval": None}, "agrees, noise unknown"),
        ({"reproduced": -1.0, "interval": None}, "opposes, noise unknown"),
        ({"reproduced": 0.0, "interval": Interval(-1, 1)}, "opposes, within noise"),
        ({"claimed": ">0", "reported": None}, "agrees"),
        ({"claimed": "<0", "reported": None}, "opposes"),
        ({"claimed": "-0.3", "reported": -0.3}, "opposes"),
        ({"claimed": "0.0", "reported": 0.0}, None),
        ({"claimed": "robust", "reported": None}, None),
        ({"reproduced": None, "interval": None}, None),
        ({"rows": ROWS[:1]}, None),
    ],
)
def test_direction(changes, expected):
    assert direction(changed(**changes)) == expected


def test_the_sentence_counts_what_the_table_lists():
    against = changed(reproduced=-0.25, interval=Interval(-1.25, 0.75), text="and more")
    text = agreement([RESULT, RESULT, against, changed(reproduced=None)])
    assert text.startswith("Of 4 claims, 3 are about differences of rows that have both been run: ")
    assert "2 agree in direction beyond noise, 1 go the other way within noise." in text
    assert "| more is better | mask AP | 2.60 | +1.00 ± 0.50 | agrees |" in text
    assert "| and more | mask AP | 2.60 | −0.25 ± 1.00 | opposes, within noise |" in text


def test_without_runs_it_says_so():
    assert agreement([changed(reproduced=None)]) == (
        "Of 1 claims, none is about rows that have both been run under this profile."
    )
