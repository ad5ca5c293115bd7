"""What the pages depend on: tables, papers' notebooks, the audit, the systems' page and the report.

The pipeline writes it down below `results/<profile>/runs/` (`reprolib.pipeline.plan`).
"""

from __future__ import annotations

from pathlib import Path

from reprolib.experiment import Table
from reprolib.papers.addresses import profile_experiments, profile_papers
from reprolib.papers.catalog import all_tables, fact_files, papers
from reprolib.papers.folders import notebook_of, paper_folder, paper_folders, shown
from reprolib.papers.named_systems import inferred, reported_only
from reprolib.papers.reported import load_table
from reprolib.papers.systems import gather_systems
from reprolib.params import ParamsError, Profile
from reprolib.pipeline.fingerprint import PACKAGE, as_plain, code_hashes, digest, file_hash, with_fingerprint
from reprolib.pipeline.run_dependencies import count_fingerprint
from reprolib.tables.data_reports import prepared_name, read_reports

TABLE_ENTRIES = ("reprolib.tables.render",)
PAPER_ENTRIES = (
    "reprolib.tables.render",
    *(
        f"reprolib.figures.{name}"
        for name in (
            *("ablation_gains", "detection_errors", "explain", "feature_maps", "latency"),
            *("network", "precision_recall", "predictions", "training_curves"),
        )
    ),
)
AUDIT_ENTRIES = ("reprolib.audit.figure", "reprolib.audit.text")
REPORT_ENTRIES = ("reprolib.site.index", "reprolib.site.build", "reprolib.site.content")
FACTS = ("tables", "facts")  # modules of a paper
SYSTEMS_ENTRIES = ("reprolib.pipeline.system_counts", "reprolib.figures.systems_figure", "reprolib.tables.systems_page")


def table_plan(profile: Profile, paper_profile: Profile, table: Table) -> dict[str, object]:
    """What a rendered table depends on besides the records; the published recipes are those of `paper_profile`.

    The data sets that its rows describe are in it by the hash of their reports, None where there is none.
    """
    folder = paper_folder(table.paper)
    return with_fingerprint(
        {
            "table": table.id,
            "profiles": [_profile(profile), as_plain(paper_profile)],
            "files": _file_hashes([folder / "reported" / f"table_{table.number}.csv", folder / "card.md"]),
            "systems": _said_of_systems(table),
            "data": _described(profile, table),
            "code": code_hashes([*TABLE_ENTRIES, *(f"reprolib.papers.{table.paper}.{name}" for name in FACTS)]),
        }
    )


def _described(profile: Profile, table: Table) -> dict[str, str | None]:
    names = {prepared_name(profile, row.dataset) for row in table.rows if row.dataset}
    reports = read_reports(profile.results / "data") if names else {}
    return {name: digest(reports[name]) if name in reports else None for name in sorted(names)}


def paper_plan(profile: Profile, paper: str) -> dict[str, object]:
    """What a paper's executed notebook depends on besides records, predictions and tables."""
    folder = paper_folder(paper)
    modules = [f"reprolib.papers.{paper}.{path.stem}" for path in sorted(folder.glob("[!_]*.py"))]
    return with_fingerprint(
        {
            "paper": paper,
            "notebook": file_hash(_notebook(paper)),
            "profile": _profile(profile),
            # Its notebook shows what the audit found, also beside the numbers of other papers.
            "files": _file_hashes([*fact_files(paper), *_reported_files()]),
            "code": code_hashes([*PAPER_ENTRIES, *AUDIT_ENTRIES, *modules]),
        }
    )


def _notebook(paper: str) -> Path:
    path = notebook_of(paper)
    if not path.is_file():
        raise ParamsError(f"{shown(path)} is missing: the notebook of {paper}, which params.yaml lists under `papers`")
    return path


def report_plan(profile: Profile, paper_profile: Profile) -> dict[str, object]:
    """What the report over all papers depends on besides records, tables and figures.

    It shows the papers' executed notebooks, whose bytes differ from run to run: what they are made from counts.
    """
    pages = [path for folder in ("static", "templates") for path in sorted((PACKAGE / "site" / folder).rglob("*.*"))]
    return with_fingerprint(
        {
            "tables": {
                name: table_plan(profile, paper_profile, table)["fingerprint"] for name, table in all_tables().items()
            },
            "papers": {paper: paper_plan(profile, paper)["fingerprint"] for paper in profile_papers(profile)},
            "files": _file_hashes([*_all_fact_files(), *pages]),
            "code": code_hashes(REPORT_ENTRIES),
        }
    )


def audit_plan() -> dict[str, object]:
    """What the audit of the reported numbers depends on: no run."""
    return with_fingerprint(
        {"files": _file_hashes(_all_fact_files()), "code": code_hashes([*AUDIT_ENTRIES, *_fact_modules()])}
    )


def systems_plan(paper_profile: Profile) -> dict[str, object]:
    """What the page of all systems depends on: tables, facts, and what each count of a network does."""
    return with_fingerprint(
        {
            "files": _file_hashes(_all_fact_files()),
            "counts": {
                system.name: count_fingerprint(system.experiment, paper_profile)
                for system in gather_systems()
                if system.experiment
            },
            "code": code_hashes([*SYSTEMS_ENTRIES, *_fact_modules()]),
        }
    )


def _said_of_systems(table: Table) -> dict[str, list[str]]:
    """What a table says of the systems of its rows: what is inferred, and why a row is reported only."""
    names = {cell.method for cell in load_table(table.paper, table.number)}
    names |= {row.experiment.system for row in table.rows if row.experiment}
    return {name: [inferred(name), reported_only(name)] for name in sorted(names)}


def _reported_files() -> list[Path]:
    return [path for paper in papers() for path in sorted((paper_folder(paper) / "reported").glob("*.csv"))]


def _all_fact_files() -> list[Path]:
    cards = sorted(PACKAGE.glob("models/systems/*/card.toml"))
    return [*(path for paper in papers() for path in fact_files(paper)), *cards]


def _fact_modules() -> list[str]:
    return [f"reprolib.papers.{paper}.{name}" for paper in papers() for name in FACTS]


def _file_hashes(paths: list[Path]) -> dict[str, str]:
    return {_file_name(path): file_hash(path) for path in paths}


def _file_name(path: Path) -> str:
    """A file of the package or of a paper, by a name that is the same on every machine."""
    if path.is_relative_to(PACKAGE):
        return path.relative_to(PACKAGE).as_posix()
    folder = next(folder for folder in paper_folders().values() if path.is_relative_to(folder))
    return f"papers/{path.relative_to(folder.parent).as_posix()}"


def _profile(profile: Profile) -> dict[str, object]:
    """A profile with its experiments by id, since an address may name another experiment after an edit of a table."""
    return as_plain(profile) | {"experiments": [experiment.id for experiment in profile_experiments(profile)]}
