"""All checks over all reported tables and claims."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reprolib.audit import ablation, additivity, averages, claim_checks, columns, ordering, same_system, speed
from reprolib.audit.finding import Finding
from reprolib.audit.printed import PrintedTable, load_tables
from reprolib.papers.claims import Claim, load_claims

TABLE_CHECKS = (
    ordering.ordering,
    ordering.threshold_mean,
    ordering.possible,
    averages.size_classes,
    averages.class_average,
    averages.lvis_average,
    averages.shares_sum,
    columns.mislabelled,
    columns.digits,
    speed.fps_times_time,
    speed.fixed_ratio,
    speed.equal_speed,
    speed.larger_yet_faster,
    additivity.additivity,
    ablation.steps,
    ablation.spread,
    ablation.below_baseline,
    ablation.costs,
    ablation.stronger_backbone,
    same_system.same_run,
    same_system.equal_rows,
    same_system.across_papers,
    same_system.box_and_mask,
    same_system.repeated_value,
)
CLAIM_CHECKS = (
    claim_checks.claimed_numbers,
    claim_checks.claimed_order,
    claim_checks.named_best,
    claim_checks.named_row,
    claim_checks.claimed_sums,
    claim_checks.small_margin,
)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What one check did. subject: of the checks that it stands with. title: its first sentence. explained: the rest of
    what it says about itself.

    compared: how many comparisons it made; those without a finding hold.
    """

    name: str
    subject: str
    title: str
    explained: str
    compared: int
    findings: tuple[Finding, ...]


def audit(tables: Sequence[PrintedTable] | None = None, claims: Sequence[Claim] | None = None) -> tuple[Checked, ...]:
    """Run every check; by default over the reported tables and claims that ship with the package.

    Other tables than these are checked the same way, claims about tables that are not among them are passed over.
    """
    tables = load_tables() if tables is None else tables
    claims = load_claims() if claims is None else claims
    return (
        *(_checked(check, tables) for check in TABLE_CHECKS),
        *(_checked(check, tables, claims) for check in CLAIM_CHECKS),
    )


def all_findings(
    tables: Sequence[PrintedTable] | None = None, claims: Sequence[Claim] | None = None, *, paper: str = ""
) -> list[Finding]:
    """All findings, the heaviest first, then by paper, table and row; with `paper` those that involve it."""
    findings = [finding for checked in audit(tables, claims) for finding in checked.findings]
    return in_order(finding for finding in findings if not paper or paper in finding.papers)


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """The heaviest first, then by paper, table, row and id."""
    return sorted(findings, key=lambda f: (f.severity.rank, f.paper, f.cells[0].table, f.cells[0].row, f.id))


def _checked(check: Callable, *data: Sequence) -> Checked:
    title, _, explained = inspect.getdoc(check).partition("\n\n")
    results = list(check(*data))
    return Checked(
        name=check.__name__,
        subject=inspect.getdoc(inspect.getmodule(check)).partition("\n")[0],
        title=" ".join(title.split()),
        explained=" ".join(explained.split()),
        compared=len(results),
        findings=tuple(replace(result, check=check.__name__) for result in results if result is not None),
    )
