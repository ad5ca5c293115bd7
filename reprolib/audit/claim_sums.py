"""Claims about more than two cells, checked by the rule that the paper's facts name for the claim's id."""

from __future__ import annotations

from collections.abc import Mapping

from reprolib.audit.finding import Finding, Severity
from reprolib.audit.printed import EPSILON, PrintedTable, Row, signed
from reprolib.papers.claims import Claim, Place
from reprolib.papers.facts import (
    AboutEqual,
    ClaimRule,
    CountOfMethods,
    GainAgainstGain,
    MostlyBelow,
    PromptedGain,
    SumOfShares,
)
from reprolib.papers.reported import Cell

Tables = Mapping[str, PrintedTable]
VIDEO = (25.0, 30.0)  # images per second of video and television


def claim_finding(
    claim: Claim, cells: tuple[Cell, ...], arithmetic: str, meaning: str, *, severity: Severity = Severity.ERROR
) -> Finding:
    """What a check found wrong with a claim."""
    message = f"{claim.id}: {claim.text}; {meaning}"
    return Finding(severity=severity, cells=cells, key=claim.id, arithmetic=arithmetic, message=message)


def checked_by_rule(claim: Claim, rule: ClaimRule, tables: Tables) -> Finding | None:
    """What the rule finds wrong with a claim; None where the claim holds."""
    match rule:
        case GainAgainstGain():
            return _gain_against_gain(claim, rule, tables)
        case CountOfMethods():
            return _count_of_methods(claim, rule, tables)
        case MostlyBelow():
            return _mostly_below(claim, rule, tables)
        case SumOfShares():
            return _sum_of_shares(claim, rule, tables)
        case PromptedGain():
            return _prompted_gain(claim, tables)
        case AboutEqual():
            return _about_equal(claim, rule, tables)


def _gain_against_gain(claim: Claim, rule: GainAgainstGain, tables: Tables) -> Finding | None:
    pairs = [[tables[f"{claim.paper}-{table}"].row(row) for table, row in pair] for pair in (rule.gain, rule.other)]
    gains = [first.value(claim.metric) - second.value(claim.metric) for first, second in pairs]
    difference = gains[0] - gains[1]
    if (difference > EPSILON) if claim.claimed == ">0" else (difference < -EPSILON):
        return None
    return claim_finding(
        claim,
        tuple(row.cells[claim.metric] for pair in pairs for row in pair),
        f"{signed(gains[0], 2)} against {signed(gains[1], 2)}: {signed(difference, 2)}, claimed {claim.claimed}",
        "the gains are the other way round.",
    )


def _count_of_methods(claim: Claim, rule: CountOfMethods, tables: Tables) -> Finding | None:
    rows = [row for row in tables[f"{claim.paper}-{rule.table}"].rows if row.head.row_kind == "comparison"]
    methods = {row.head.method: row for row in rows if not row.head.is_ours}
    if len(methods) == int(claim.claimed):
        return None
    return claim_finding(
        claim,
        tuple(next(iter(row.cells_of(row.cells))) for row in methods.values()),
        f"{len(methods)} methods: {', '.join(methods)}; claimed {claim.claimed}",
        "the table has another number of methods.",
    )


def _mostly_below(claim: Claim, rule: MostlyBelow, tables: Tables) -> Finding | None:
    compared = [tables[f"{claim.paper}-{rule.table}"].row(number) for number in rule.rows]
    below = [row for row in compared if row.value(claim.metric) < rule.limit]
    if len(below) > len(compared) / 2:
        return None
    return claim_finding(
        claim,
        tuple(row.cells[claim.metric] for row in compared),
        f"{len(below)} of {len(compared)} below {rule.limit:g}",
        "it is not so for most of the rows.",
    )


def _sum_of_shares(claim: Claim, rule: SumOfShares, tables: Tables) -> Finding | None:
    table, row = rule.place
    shown = tables[f"{claim.paper}-{table}"].row(row)
    metrics = [f"dataset/foreground_ratio_share/{share}" for share in rule.shares]
    total = sum(map(shown.value, metrics))
    if abs(total - float(claim.claimed)) <= 0.05 + EPSILON:
        return None
    return claim_finding(
        claim,
        shown.cells_of(metrics),
        " + ".join(shown.printed(metric) for metric in metrics) + f" = {total:.1f}, claimed {claim.claimed}",
        "the shares give another number.",
    )


def _prompted_gain(claim: Claim, tables: Tables) -> Finding | None:
    row, other = (_row(claim, place, tables) for place in (claim.minuend, claim.subtrahend))
    prompted = f"oracle/{claim.metric}"
    gain = row.value(prompted) - other.value(claim.metric)
    if abs(gain - float(claim.claimed)) <= 0.05 + EPSILON:
        return None
    return claim_finding(
        claim,
        (row.cells[prompted], other.cells[claim.metric]),
        f"{row.printed(prompted)} - {other.printed(claim.metric)} = {signed(gain, 1)}, claimed {claim.claimed}",
        f"claimed is {claim.claimed}, the cells give another number.",
    )


def _about_equal(claim: Claim, rule: AboutEqual, tables: Tables) -> Finding | None:
    row, other = (_row(claim, place, tables) for place in (claim.minuend, claim.subtrahend))
    change = row.value(claim.metric) / other.value(claim.metric) - 1
    if abs(change) <= rule.within:
        return None
    return claim_finding(
        claim,
        (row.cells[claim.metric], other.cells[claim.metric]),
        f"{row.printed(claim.metric)} / {other.printed(claim.metric)} is {signed(100 * change, 1)} %",
        f"they differ by more than {100 * rule.within:.0f} %.",
        severity=Severity.WARNING,
    )


def frame_rate(claim: Claim, tables: Tables) -> Finding | None:
    """A speed that is called real-time reaches the images per second of video; a note where it does not."""
    row = _row(claim, claim.minuend, tables)
    if row.value(claim.metric) >= VIDEO[0]:
        return None
    return claim_finding(
        claim,
        (row.cells[claim.metric],),
        f"{row.printed(claim.metric)} < {VIDEO[0]:g} and {VIDEO[1]:g}",
        "no threshold is given, and the speed is below that of video.",
        severity=Severity.NOTE,
    )


def _row(claim: Claim, place: Place, tables: Tables) -> Row:
    return tables[f"{claim.paper}-{place.table}"].row(place.row)
