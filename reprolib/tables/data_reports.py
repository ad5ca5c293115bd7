"""Reports on prepared data sets, from which rows that describe data take their numbers. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from reprolib.params import Profile


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


def report_value(report: Mapping, metric: str) -> float | None:
    """A number of a report by its metric `dataset/<field>/<key>`, None where the report does not have it."""
    _, field, key = metric.split("/", 2)
    values = report.get(field)
    return values.get(key) if isinstance(values, dict) else None
