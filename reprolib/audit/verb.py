"""`reprolib audit`: the findings on the command line."""

from __future__ import annotations

import argparse

from reprolib.audit.finding import Severity
from reprolib.files import write_atomic
from reprolib.papers import catalog

HELP = "check every reported number against its table, the other tables and what the publication says of it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("--paper", choices=catalog.papers(), metavar="KEY", help="one paper, by default all")
    parser.add_argument(
        "--severity",
        choices=[str(s) for s in Severity],
        default="warning",
        help="the lightest shown; by default warning",
    )
    parser.add_argument("--json", metavar="PATH", help="write the findings shown to a JSON file")
    parser.add_argument("--page", action="store_true", help="write results/audit.md, with all findings of all papers")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 where there is an error")


def run(options: argparse.Namespace) -> int:
    """Print the findings; exit status 1 with --strict where one of them is an error, else 0."""
    from reprolib.audit.run import all_findings  # here, so that no other verb waits for numpy
    from reprolib.audit.text import as_json, terminal, write_page

    findings = all_findings(paper=options.paper or "")
    shown = [finding for finding in findings if finding.severity.rank <= Severity(options.severity).rank]
    print(terminal(shown, hidden=len(findings) - len(shown)))
    if options.json:
        write_atomic(options.json, as_json(shown))
    if options.page:
        print(f"\n{write_page()}")
    return int(options.strict and any(finding.severity is Severity.ERROR for finding in findings))
