"""The plan of a profile: which runs it has, and for each a file that says what its numbers depend on.

`results/<profile>/runs/` holds, per run, `train/<run>.json` and `evaluate/<run>.json`, per table
`tables/<table>.json`, per paper `papers/<paper>.json`, and `audit.json`, `systems.json` and `report.json` over all
papers. DVC stages depend on these files: they change exactly when what they stand for changes, and comparing two of
them shows why something runs again.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path

from reprolib.data.card import Card
from reprolib.data.cards import CARDS, class_count
from reprolib.experiment import Experiment, Table
from reprolib.files import write_json
from reprolib.papers.catalog import all_experiments, all_tables, fact_files, papers
from reprolib.papers.folders import notebook_of, paper_folder, paper_folders, shown
from reprolib.papers.named_systems import inferred, reported_only
from reprolib.papers.reported import load_table
from reprolib.papers.systems import gather_systems
from reprolib.params import ParamsError, Profile, Run, load_profile, resolve
from reprolib.pipeline.fingerprint import PACKAGE, code_hashes, digest, libraries
from reprolib.tables.data_reports import prepared_name, read_reports

TRAIN_ENTRIES = ("reprolib.pipeline.runs.build", "reprolib.pipeline.runs.training")
EVALUATE_ENTRIES = ("reprolib.pipeline.runs.build", "reprolib.pipeline.runs.evaluation")
EVALUATORS = ("pycocotools", "hotcoco")
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
COUNT_ENTRIES = ("reprolib.pipeline.describe", "reprolib.pipeline.runs.build", "reprolib.evaluation.cost")
SYSTEMS_ENTRIES = ("reprolib.pipeline.system_counts", "reprolib.figures.systems_figure", "reprolib.tables.systems_page")


def experiment_by_id(name: str) -> Experiment:
    """Look an experiment up; raises ParamsError with the nearest names."""
    experiments = all_experiments()
    if name not in experiments:
        raise ParamsError(f"no experiment {name!r}{_nearest(name, experiments)}; see `reprolib list`")
    return experiments[name]


def table_by_id(name: str) -> Table:
    """Look a table up, for example `iemask_rcnn-3`; raises ParamsError with the nearest names."""
    tables = all_tables()
    if name not in tables:
        raise ParamsError(f"no table {name!r}{_nearest(name, tables)}; see `reprolib list`")
    return tables[name]


def run_by_id(profile: Profile, name: str) -> Run:
    """The run that `<experiment>-<seed>` names under a profile."""
    experiment, _, seed = name.rpartition("-")
    if not seed.isdigit():
        raise ParamsError(f"run {name!r} must end in its seed, for example {name}-0")
    return resolve(profile, experiment_by_id(experiment), int(seed))


def profile_runs(profile: Profile) -> list[Run]:
    """All runs of a profile, seeds innermost."""
    return [resolve(profile, experiment_by_id(name), seed) for name in profile.experiments for seed in profile.seeds]


def recipe(run: Run) -> dict[str, object]:
    """All values of a run that change its numbers, as plain JSON."""
    return {
        "module": run.experiment.module,
        "backbone": run.experiment.backbone,
        "components": list(run.experiment.components),
        "switches": dict(run.experiment.switches),
        "dataset": run.dataset,
        "seed": run.seed,
        "scale": _plain(run.scale),
        "schedule": _plain(run.schedule),
    }


def train_plan(run: Run, *, data_fingerprint: str) -> dict[str, object]:
    """What training depends on, with `fingerprint`, the hash that names its checkpoints."""
    return _with_fingerprint(
        {
            "run": run.id,
            "recipe": recipe(run),
            "data": data_fingerprint,
            "libraries": libraries(),
            "code": code_hashes([*TRAIN_ENTRIES, run.experiment.module]),
        }
    )


def evaluate_plan(run: Run, *, data_fingerprint: str) -> dict[str, object]:
    """What evaluation depends on besides the weights."""
    return _with_fingerprint(
        {
            "run": run.id,
            "recipe": recipe(run),
            "data": data_fingerprint,
            "protocol": run.protocol or (CARDS[run.dataset].protocol if run.dataset in CARDS else Card.protocol),
            "area": run.area,
            "libraries": libraries() | {name: importlib.metadata.version(name) for name in EVALUATORS},
            "code": code_hashes([*EVALUATE_ENTRIES, run.experiment.module]),
        }
        | ({"oracle_prompts": True} if run.experiment.oracle_prompts else {})
    )


def table_plan(profile: Profile, paper_profile: Profile, table: Table) -> dict[str, object]:
    """What a rendered table depends on besides the records; the published recipes are those of `paper_profile`.

    The data sets that its rows describe are in it by the hash of their reports, None where there is none.
    """
    folder = paper_folder(table.paper)
    return _with_fingerprint(
        {
            "table": table.id,
            "profiles": [_plain(profile), _plain(paper_profile)],
            "files": _file_hashes([folder / "reported" / f"table_{table.number}.csv", folder / "card.md"]),
            "systems": _said_of_systems(table),
            "data": _described(profile, table),
            "code": code_hashes([*TABLE_ENTRIES, *(f"reprolib.papers.{table.paper}.{name}" for name in FACTS)]),
        }
    )


def _notebook(paper: str) -> Path:
    path = notebook_of(paper)
    if not path.is_file():
        raise ParamsError(f"{shown(path)} is missing: the notebook of {paper}, which params.yaml lists under `papers`")
    return path


def _described(profile: Profile, table: Table) -> dict[str, str | None]:
    names = {prepared_name(profile, row.dataset) for row in table.rows if row.dataset}
    reports = read_reports(profile.results / "data") if names else {}
    return {name: digest(reports[name]) if name in reports else None for name in sorted(names)}


def paper_plan(profile: Profile, paper: str) -> dict[str, object]:
    """What a paper's executed notebook depends on besides records, predictions and tables."""
    folder = paper_folder(paper)
    modules = [f"reprolib.papers.{paper}.{path.stem}" for path in sorted(folder.glob("[!_]*.py"))]
    return _with_fingerprint(
        {
            "paper": paper,
            "notebook": _hash(_notebook(paper)),
            "profile": _plain(profile),
            # Its notebook shows what the audit found, also beside the numbers of other papers.
            "files": _file_hashes([*fact_files(paper), *_reported_files()]),
            "code": code_hashes([*PAPER_ENTRIES, *AUDIT_ENTRIES, *modules]),
        }
    )


def report_plan(profile: Profile, paper_profile: Profile) -> dict[str, object]:
    """What the report over all papers depends on besides records, tables and figures.

    It shows the papers' executed notebooks, whose bytes differ from run to run: what they are made from counts.
    """
    pages = [path for folder in ("static", "templates") for path in sorted((PACKAGE / "site" / folder).rglob("*.*"))]
    return _with_fingerprint(
        {
            "tables": {
                name: table_plan(profile, paper_profile, table)["fingerprint"] for name, table in all_tables().items()
            },
            "papers": {paper: paper_plan(profile, paper)["fingerprint"] for paper in profile.papers},
            "files": _file_hashes([*_all_fact_files(), *pages]),
            "code": code_hashes(REPORT_ENTRIES),
        }
    )


def audit_plan() -> dict[str, object]:
    """What the audit of the reported numbers depends on: no run."""
    return _with_fingerprint(
        {"files": _file_hashes(_all_fact_files()), "code": code_hashes([*AUDIT_ENTRIES, *_fact_modules()])}
    )


def systems_plan(paper_profile: Profile) -> dict[str, object]:
    """What the page of all systems depends on: tables, facts, and what each count of a network does."""
    return _with_fingerprint(
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


def count_fingerprint(experiment: Experiment, paper_profile: Profile) -> str:
    """The hash of an experiment's published recipe, its number of classes, and the code that builds and counts it."""
    run = resolve(paper_profile, experiment, 0)
    code = code_hashes([*COUNT_ENTRIES, experiment.module])
    return digest({"recipe": recipe(run), "classes": class_count(run.dataset), "code": code})


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


def data_fingerprint(profile: Profile, dataset: str) -> str:
    """The prepared data set's hash from its report; raises ParamsError where it is not prepared."""
    path = profile.results / "data" / f"{dataset}.json"
    try:
        return json.loads(path.read_text())["fingerprint"]
    except FileNotFoundError:
        raise ParamsError(
            f"{path} is missing: prepare the data set with `reprolib data {dataset} --profile {profile.name}`,"
            f" or list {dataset!r} under `data` of the profile in params.yaml"
        ) from None


def write_plan(profile: Profile) -> list[Path]:
    """Write all files of a profile's plan; returns them. Raises ParamsError for anything that cannot run."""
    folder = profile.results / "runs"
    values: dict[Path, Mapping[str, object]] = {}
    for run in profile_runs(profile):
        fingerprint = data_fingerprint(profile, run.dataset)
        values[folder / "train" / f"{run.id}.json"] = train_plan(run, data_fingerprint=fingerprint)
        values[folder / "evaluate" / f"{run.id}.json"] = evaluate_plan(run, data_fingerprint=fingerprint)
    paper_profile = load_profile("paper")
    for name in profile.tables:
        values[folder / "tables" / f"{name}.json"] = table_plan(profile, paper_profile, table_by_id(name))
    for paper in profile.papers:
        values[folder / "papers" / f"{paper}.json"] = paper_plan(profile, paper)
    values[folder / "audit.json"] = audit_plan()
    values[folder / "systems.json"] = systems_plan(paper_profile)
    values[folder / "report.json"] = report_plan(profile, paper_profile)
    # The stages of tables depend on these folders: there too before any run, for tables that describe data.
    for name in ("records", "matches"):
        (profile.results / name).mkdir(parents=True, exist_ok=True)
    for path, value in values.items():
        write_json(path, value)
    for path in set(folder.rglob("*.json")) - set(values):
        path.unlink()  # of a run that params.yaml no longer lists
    return list(values)


def _with_fingerprint(value: dict[str, object]) -> dict[str, object]:
    return value | {"fingerprint": digest({key: item for key, item in value.items() if key != "run"})}


def _file_hashes(paths: list[Path]) -> dict[str, str]:
    return {_file_name(path): _hash(path) for path in paths}


def _file_name(path: Path) -> str:
    """A file of the package or of a paper, by a name that is the same on every machine."""
    if path.is_relative_to(PACKAGE):
        return path.relative_to(PACKAGE).as_posix()
    folder = next(folder for folder in paper_folders().values() if path.is_relative_to(folder))
    return f"papers/{path.relative_to(folder.parent).as_posix()}"


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}" if near else ""
