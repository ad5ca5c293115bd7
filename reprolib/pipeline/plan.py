"""The plan of a profile: for each run, table and page a file that says what its numbers depend on.

`results/<profile>/runs/` holds, per run, `train/<run>.json` and `evaluate/<run>.json`, per table
`tables/<table>.json`, per paper `papers/<paper>.json`, and `audit.json`, `systems.json` and `report.json` over all
papers. DVC stages depend on these files: they change exactly when what they stand for changes, and comparing two of
them shows why something runs again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reprolib.files import write_json
from reprolib.papers.addresses import profile_papers, profile_runs, profile_tables, table_by_id
from reprolib.params import ParamsError, Profile, Run, load_profile
from reprolib.pipeline.page_dependencies import audit_plan, paper_plan, report_plan, systems_plan, table_plan
from reprolib.pipeline.run_dependencies import data_fingerprint, data_report, evaluate_plan, train_plan


@dataclass(frozen=True, kw_only=True)
class Written:
    """files: of the plan. unprepared: data sets of the profile that are not prepared; their runs are not planned."""

    files: tuple[Path, ...]
    unprepared: tuple[str, ...]


def write_plan(profile: Profile) -> Written:
    """Write all files of a profile's plan and delete those of runs, tables and papers that it no longer lists.

    Runs whose data set is yet to be prepared are left out, so that a part of a profile needs the data of that part
    only. Raises ParamsError for anything that cannot run.
    """
    folder = profile.results / "runs"
    runs = profile_runs(profile)
    unprepared = _unprepared(profile, runs)
    plans: dict[Path, Mapping[str, object]] = {}
    for run in runs:
        if run.dataset in unprepared:
            continue
        fingerprint = data_fingerprint(profile, run.dataset)
        plans[folder / "train" / f"{run.id}.json"] = train_plan(run, data_fingerprint=fingerprint)
        plans[folder / "evaluate" / f"{run.id}.json"] = evaluate_plan(run, data_fingerprint=fingerprint)
    paper_profile = load_profile("paper")
    for name in profile_tables(profile):
        plans[folder / "tables" / f"{name}.json"] = table_plan(profile, paper_profile, table_by_id(name))
    for paper in profile_papers(profile):
        plans[folder / "papers" / f"{paper}.json"] = paper_plan(profile, paper)
    plans[folder / "audit.json"] = audit_plan()
    plans[folder / "systems.json"] = systems_plan(paper_profile)
    plans[folder / "report.json"] = report_plan(profile, paper_profile)
    # The stages of tables depend on these folders: there too before any run, for tables that describe data.
    for name in ("records", "matches"):
        (profile.results / name).mkdir(parents=True, exist_ok=True)
    for path, plan in plans.items():
        write_json(path, plan)
    for path in set(folder.rglob("*.json")) - set(plans):
        path.unlink()
    return Written(files=tuple(plans), unprepared=unprepared)


def _unprepared(profile: Profile, runs: list[Run]) -> tuple[str, ...]:
    datasets = dict.fromkeys(run.dataset for run in runs)
    for name in datasets:
        if name not in profile.data:
            raise ParamsError(
                f"profile {profile.name!r} in params.yaml: runs read data set {name!r}; list it under `data`"
            )
    return tuple(name for name in datasets if not data_report(profile, name).is_file())
