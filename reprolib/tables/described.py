"""Rows of tables that describe data sets: their numbers come from the reports on a profile's prepared data sets.

Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from reprolib.papers import catalog
from reprolib.papers.reported import Cell
from reprolib.params import Profile
from reprolib.tables.verdict import Case, verdict


def prepared_name(profile: Profile, dataset: str) -> str:
    """The prepared data set that a profile reads for a published one."""
    return profile.stands_in.get(dataset, dataset)


def read_reports(folder: str | Path) -> dict[str, Mapping]:
    """The reports of `results/<profile>/data/`, as `reprolib.data.report.data_report` makes them, by prepared data set;
    empty where there is no such folder. Raises ValueError naming a file that is no report."""
    reports = {}
    for path in sorted(Path(folder).glob("*.json")):
        try:
            report = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path}: not valid JSON ({error}); prepare the data set again") from None
        if not isinstance(report, dict):
            raise ValueError(f"{path}: not the report of a data set; prepare the data set again")
        reports[path.stem] = report
    return reports


def judge(
    cell: Cell, dataset: str, profile: Profile, reports: Mapping[str, Mapping]
) -> tuple[float | None, str, tuple[str, ...]]:
    """What was found of a printed number that describes a published data set, the verdict, and why it is no judgement.

    reports: by prepared data set. Nothing is left to chance here, so a number is reproduced where it rounds to the
    printed one, and contradicted otherwise.
    """
    name = prepared_name(profile, dataset)
    unmeasured = Case(kind="count", reported=cell.value, measured=False)
    if name not in reports:
        return None, verdict(unmeasured), (f"{name} is not prepared",)
    found = _value(reports[name], cell.metric)
    if found is None:
        return None, verdict(unmeasured), (f"the report on {name} does not have it",)
    reasons = [f"other data ({name} stands in for {dataset})"] if name != dataset else []
    if protocol := catalog.other_protocol(cell.paper, cell.table, cell.row):
        reasons.append(protocol)
    case = Case(kind="count", reported=cell.value, rounding=cell.rounding, reproduced=found, obstacles=tuple(reasons))
    return found, verdict(case), case.obstacles


def _value(report: Mapping, metric: str) -> float | None:
    """A number of a report by its metric `dataset/<field>/<key>`, None where the report does not have it."""
    _, field, key = metric.split("/", 2)
    found = report.get(field)
    return found.get(key) if isinstance(found, dict) else None
