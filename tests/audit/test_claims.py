"""claims.csv: read strictly, every claim compared, and what its authors judged by hand found by the checks."""

from __future__ import annotations

import pytest

from reprolib.audit import claim_checks
from reprolib.audit.run import CLAIM_CHECKS
from reprolib.papers import catalog
from reprolib.papers.claims import COLUMNS, ClaimsError, Place, load_claims, parse_claims

HEADER = ",".join(COLUMNS)
GOOD = "P-1,numeric,a gain,1,segm/AP,T1 row 2: Ours,second best = T1 row 1: Theirs,1.0,1.0,yes,"


def test_all_are_read():
    claims = load_claims()
    assert {claim.paper for claim in claims} <= set(catalog.papers())
    assert len({claim.id for claim in claims}) == len(claims)
    by_id = {claim.id: claim for claim in claims}
    assert by_id["MAI-029"].minuend == Place(rank="", table=1, row=19)
    assert by_id["MAI-029"].subtrahend == Place(rank="second best", table=1, row=11)
    assert by_id["SEA-075"].minuend is None and by_id["IEM-028"].subtrahend is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", "c.csv, line 1: the columns must be claim_id,"),
        (f"{HEADER}\n{GOOD}x,y\n", "line 2: 12 fields instead of 11"),
        (f"{HEADER}\n{GOOD.replace('numeric', 'guess')}\n", "line 2: claim_type must be one of"),
        (f"{HEADER}\n{GOOD.replace(',yes,', ',maybe,')}\n", "line 2: consistent must be one of"),
        (f"{HEADER}\n{GOOD}\n{GOOD}\n", "claim_id must be unique, P-1 is not"),
    ],
)
def test_a_bad_line_is_named(text, message):
    with pytest.raises(ClaimsError, match=r"c\.csv") as error:
        parse_claims(text, paper="p", name="c.csv")
    assert message in str(error.value)


def test_every_claim_that_a_table_can_check_is_compared(tables, claims):
    without = [
        claim.id
        for claim in claims.values()
        if not any(list(check(list(tables.values()), [claim])) for check in CLAIM_CHECKS)
    ]
    assert without == [
        claim.id for claim in claims.values() if claim.consistent == "not checkable" and claim.id != "LOC-040"
    ]


def test_those_judged_inconsistent_are_found_and_no_other(checked, claims):
    names = ("claimed_numbers", "claimed_order")
    found = {finding.key for name in names for finding in checked[name].findings}
    assert found == {claim.id for claim in claims.values() if claim.consistent == "no"}


def test_the_differences_written_down_by_hand_are_those_of_the_tables(tables, claims):
    """`table_delta` of claims.csv, which the audit does not use, against the cells."""
    compared = 0
    for claim, row, other in claim_checks._of_rows(list(tables.values()), list(claims.values())):
        if other is None or claim.metric not in row.cells or not claim_checks.NUMBER.fullmatch(claim.table_delta):
            continue
        gap = row.value(claim.metric) - other.value(claim.metric)
        assert gap == pytest.approx(float(claim.table_delta), abs=0.006), claim.id
        compared += 1
    assert compared > 0.8 * len(claims)


def test_rounding_of_all_three_numbers_is_allowed_for(changed, claims):
    """70.3 - 65.6 = 4.7; a claimed 4.7 can come from 4.65 to 4.75 and, before rounding, from 4.55 to 4.85."""
    claim = claims["MAI-013"]
    severities = {}
    for printed in ("70.2", "70.3", "70.4", "70.5", "70.1"):
        copies = [changed("mai_se_net-1", 7, "bbox/AP", printed)] if printed != "70.3" else []
        tables = copies or [changed("mai_se_net-1", 19, "fps", "8.30")]
        (found,) = claim_checks.claimed_numbers(tables, [claim])
        severities[printed] = str(found.severity) if found else ""
    assert severities == {"70.2": "note", "70.3": "", "70.4": "note", "70.5": "error", "70.1": "error"}
