"""The verbs of reprolib on the command line; thin, over the same functions as the notebooks."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

import yaml

from reprolib.audit import verb as audit_verb
from reprolib.data import verb as data_verb
from reprolib.papers.addresses import ADDRESSES
from reprolib.papers.elsewhere import use_papers
from reprolib.params import Profile, Run, load_profile, resolve
from reprolib.pipeline.submit import verb as submit_verb
from reprolib.prompting import verb as segment_verb


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status. Mistakes of the user end in one line on stderr and status 2."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    verb = "papers"
    try:
        options = _parser().parse_args(_papers_taken(arguments))
        verb = options.verb
        return options.run(options) or 0
    except (ValueError, KeyError, FileNotFoundError, RuntimeError) as error:
        if os.environ.get("REPROLIB_TRACEBACK"):
            raise
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"reprolib {verb}: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"reprolib {verb}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _papers_taken(arguments: Sequence[str]) -> list[str]:
    """The arguments without `--papers PATH`, which may stand anywhere and decides what the others can name."""
    parser = argparse.ArgumentParser(prog="reprolib", add_help=False, allow_abbrev=False)
    parser.add_argument("--papers", action="append", default=[])
    options, rest = parser.parse_known_args(arguments)
    for folder in options.papers:
        use_papers(folder)
    return rest


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reprolib",
        description="Papers re-run, set beside what they report. With --papers PATH, anywhere, also those below"
        " PATH, as with the variable REPROLIB_PAPERS.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, run, help: str, *, profile: bool = True) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help, description=help)
        added.set_defaults(run=run)
        if profile:
            added.add_argument("--profile", help="profile of params.yaml; by default the active one")
        return added

    added = verb("list", _list, "experiments, and the papers' tables and rows that show them", profile=False)
    added.add_argument("--json", action="store_true")
    added = verb("describe", _describe, "parameters and FLOPs of an experiment's model, without data or weights")
    added.add_argument("address", nargs="+", metavar="ADDRESS", help=ADDRESSES)
    added.add_argument("--input", metavar="HxW", help="network input size, for example 800x1088")
    added.add_argument("--proposals", type=int, help="RoIs of the box head")
    added.add_argument("--detections", type=int, default=50, help="RoIs of the mask head")
    added.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="a switch of the system")
    added.add_argument("--json", action="store_true")
    added = verb("data", data_verb.run, "fetch, verify, convert and describe a data set; without a name, list them all")
    data_verb.add_arguments(added)
    for name, run, text in (
        ("train", _train, "train one experiment; goes on where an interrupted run stopped"),
        ("evaluate", _evaluate, "evaluate a trained experiment and write its record"),
    ):
        added = verb(name, run, text)
        added.add_argument("address", nargs="+", metavar="ADDRESS", help=ADDRESSES)
        added.add_argument("--seed", type=int, default=0)
        added.add_argument("--device", help="cpu, cuda, cuda:1; by default a GPU where there is one")
    added = verb("export", _export, "an evaluated run's detections as a benchmark takes them")
    added.add_argument("identity", metavar="RUN", help="<address>-<seed>, e.g. seanet-2:1-0")
    added.add_argument("--format", help="coco, lvis, cityscapes, isaid or bbbc038; by default the data set's own")
    added.add_argument("--out", default=".", metavar="PATH", help="the file, or a folder to put it in; by default here")
    added.add_argument("--min-score", type=float, help="leave lower scores out; by default of bbbc038 0.5, else 0")
    added = verb("segment", segment_verb.run, segment_verb.HELP)
    segment_verb.add_arguments(added)
    added = verb("tables", _tables, "render tables beside their reported numbers, all of the profile by default")
    added.add_argument("table", nargs="*")
    added = verb("report", _report, "pages of all papers, tables, systems and claims: results/<profile>/report/")
    added.add_argument("--readme", action="store_true", help="write the README's section of results too")
    verb("noise", _noise, "noise between seeds, measured from the profile's records of experiments that have several")
    added = verb("audit", audit_verb.run, audit_verb.HELP, profile=False)
    audit_verb.add_arguments(added)
    added = verb("plan", _plan, "write what each run depends on, and matrix.yaml, by which DVC names its stages")
    added.add_argument("--check-matrix", action="store_true", help="refuse another matrix.yaml instead of writing it")
    added = verb("cost", _cost, "images, hours, disk and download of what the profile runs, before anything runs")
    added.add_argument("address", nargs="*", metavar="ADDRESS", help=f"{ADDRESSES}, instead of all of the profile")
    added.add_argument("--every-row", action="store_true", help="count also the rows that the profile leaves out")
    added.add_argument("--hardware", default="", metavar="NAME", help="hours of this, by default of what was measured")
    added.add_argument("--json", action="store_true")
    added = verb("repro", _repro, "dvc repro: bring every table of the active profile up to date", profile=False)
    added.add_argument("address", nargs="*", metavar="ADDRESS", help=f"only {ADDRESSES}")
    added.add_argument("--listed", action="store_true", help="leave out what the profile does not list")
    added.add_argument("--jobs", type=int, help="runs side by side; by default as many as the cores hold")
    added = verb("submit", submit_verb.run, submit_verb.HELP, profile=False)
    submit_verb.add_arguments(added)
    added = verb("notebook", _notebook, "execute a notebook: NOTEBOOK OUTPUT name=value ...", profile=False)
    added.add_argument("notebook", help="a file, or the key of a paper for its notebook")
    added.add_argument("output")
    added.add_argument("parameters", nargs="*", metavar="name=value")
    added = verb("new-paper", _new_paper, "make a paper's folder, notebook and block of params.yaml", profile=False)
    added.add_argument("paper", metavar="KEY", help="lower-case letters, digits and underscores")
    added.add_argument("--name", default="", help="the system as the paper prints it; by default made of the key")
    added = verb(
        "check-paper", _check_paper, "what is missing or inconsistent in a paper, first things first", profile=False
    )
    added.add_argument("paper", metavar="KEY")
    added = verb("doctor", _doctor, "versions, devices, data found, and how to mend what is wrong")
    added.add_argument("--json", action="store_true")
    return parser


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"write name=value, not {text!r}")
        pairs[name] = value
    return pairs


def _runs(options: argparse.Namespace) -> tuple[Profile, list[Run]]:
    from reprolib.papers.addresses import resolve_addresses

    profile = load_profile(options.profile)
    experiments = resolve_addresses(options.address)
    return profile, [resolve(profile, experiment, getattr(options, "seed", 0)) for experiment in experiments]


def _list(options: argparse.Namespace) -> None:
    from reprolib.papers.catalog import all_experiments, all_tables
    from reprolib.papers.named_systems import inferred

    shown = {
        name: {
            "id": name,
            "system": experiment.system,
            "inferred": inferred(experiment.system),
            "components": list(experiment.components),
            "backbone": experiment.backbone,
            "dataset": experiment.dataset,
            "switches": dict(experiment.switches),
            "tables": [
                {"paper": table.paper, "table": table.id, "row": row.number}
                for table in all_tables().values()
                for row in table.rows
                if row.experiment and row.experiment.id == name
            ],
        }
        for name, experiment in all_experiments().items()
    }
    if options.json:
        print(json.dumps(list(shown.values()), indent=1))
        return
    width = max(map(len, shown))
    for name, entry in shown.items():
        places = ", ".join(f"{place['table']} row {place['row']}" for place in entry["tables"])
        print(f"{name:{width}}  {places}{'  (design partly inferred)' if entry['inferred'] else ''}")


def _describe(options: argparse.Namespace) -> None:
    from reprolib.pipeline.describe import describe

    _, runs = _runs(options)
    switches = {name: yaml.safe_load(value) for name, value in _pairs(options.switch).items()}
    height = width = None
    if options.input:
        try:
            height, width = (int(side) for side in options.input.lower().split("x"))
        except ValueError:
            raise ValueError(f"--input must be HEIGHTxWIDTH, for example 800x1088, not {options.input!r}") from None
    described = {}
    for run in runs:
        run = replace(run, experiment=replace(run.experiment, switches={**run.experiment.switches, **switches}))
        described[run.experiment.id] = describe(
            run, height=height, width=width, proposals=options.proposals, detections=options.detections
        )
    if options.json:
        print(json.dumps(described if len(described) > 1 else next(iter(described.values())), indent=1))
        return
    for name, facts in described.items():
        print(*([name] if len(described) > 1 else []), *(f"{key:28} {_number(facts[key])}" for key in facts), sep="\n")


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _train(options: argparse.Namespace) -> None:
    from reprolib.pipeline.run_dependencies import data_fingerprint, train_plan
    from reprolib.pipeline.runs.training import train_run

    profile, runs = _runs(options)
    for run in runs:
        plan = train_plan(run, data_fingerprint=data_fingerprint(profile, run.dataset))
        train_run(run, fingerprint=plan["fingerprint"], device=options.device)


def _evaluate(options: argparse.Namespace) -> None:
    from reprolib.pipeline.run_dependencies import data_fingerprint, evaluate_plan
    from reprolib.pipeline.runs.evaluation import evaluate_run
    from reprolib.pipeline.runs.launch import prints_results

    profile, runs = _runs(options)
    for run in runs:
        data = data_fingerprint(profile, run.dataset)
        plan = evaluate_plan(run, data_fingerprint=data)
        record = evaluate_run(run, fingerprint=plan["fingerprint"], data_fingerprint=data, device=options.device)
        if prints_results():
            print(*([run.id] if len(runs) > 1 else []), _metrics(record), sep="\n")


def _metrics(record: dict) -> str:
    protocol = record["protocol"]
    limit = protocol["max_detections"] or "all"
    shown = {key: value for key, value in record["metrics"].items() if key.count("/") == 1 or key.startswith("oracle/")}
    width = max(map(len, shown))
    return "\n".join(
        [
            f"protocol {protocol['name']} ({protocol['version']}), area {protocol['area']}, {limit} detections",
            *(f"{name:{width}} {'n/a' if value is None else f'{value:.2f}'}" for name, value in shown.items()),
        ]
    )


def _export(options: argparse.Namespace) -> None:
    from reprolib.papers.addresses import run_by_id
    from reprolib.pipeline.runs.export import export_run

    run = run_by_id(load_profile(options.profile), options.identity)
    print(export_run(run, options.out, format=options.format, min_score=options.min_score))


def _tables(options: argparse.Namespace) -> None:
    from reprolib.papers.addresses import profile_tables
    from reprolib.tables.render import render

    profile = load_profile(options.profile)
    for name in options.table or profile_tables(profile):
        print(*render(name, profile.name))


def _report(options: argparse.Namespace) -> None:
    from reprolib.site.build import build
    from reprolib.site.content import gather
    from reprolib.site.index import write_index
    from reprolib.site.readme import write_readme

    content = gather(options.profile)
    print(build(content))
    print(write_index())
    if options.readme:
        print(*write_readme(content))


def _noise(options: argparse.Namespace) -> None:
    from reprolib.evaluation.record import read_records
    from reprolib.tables.seed_noise import seed_noise_text, write_seed_noise

    results = load_profile(options.profile).results
    print(seed_noise_text(write_seed_noise(read_records(results / "records"), results / "seed_noise.json")))


def _plan(options: argparse.Namespace) -> None:
    from reprolib.pipeline.matrix import check_matrix, write_matrix
    from reprolib.pipeline.plan import write_plan

    profile = load_profile(options.profile)
    if profile.name == load_profile().name:  # DVC's stages are those of the active profile
        (check_matrix if options.check_matrix else write_matrix)(profile)
    written = write_plan(profile)
    print(f"{len(written.files)} files in {profile.results / 'runs'}")
    if written.unprepared:
        print(f"not planned: runs on {', '.join(written.unprepared)}, which are not prepared (`reprolib data`)")


def _cost(options: argparse.Namespace) -> None:
    from reprolib.cost.estimate import profile_cost
    from reprolib.cost.text import as_json, text
    from reprolib.papers.addresses import table_of_address

    profile = load_profile(options.profile)
    if options.address:
        tables = filter(None, map(table_of_address, options.address))
        profile = replace(profile, experiments=tuple(options.address), tables=tuple(dict.fromkeys(tables)))
    cost = profile_cost(profile, every_row=options.every_row, hardware=options.hardware)
    print(json.dumps(as_json(cost), indent=1) if options.json else text(cost))


def _repro(options: argparse.Namespace) -> None:
    from reprolib.pipeline.repro import repro

    profile = load_profile()
    repro(profile, addresses=options.address, listed=options.listed, jobs=options.jobs)
    print(f"Profile {profile.name}: report in {profile.results / 'report' / 'index.html'}, tables in results/README.md")


def _notebook(options: argparse.Namespace) -> None:
    from reprolib.papers import catalog
    from reprolib.papers.folders import notebook_of
    from reprolib.pipeline.notebook import execute

    notebook = notebook_of(options.notebook) if options.notebook in catalog.papers() else options.notebook
    execute(notebook, options.output, _pairs(options.parameters))


def _new_paper(options: argparse.Namespace) -> None:
    from reprolib.papers.new.make import new_paper

    for path in new_paper(options.paper, name=options.name):
        print(path)
    print(f"Write what stands behind FILL IN; `reprolib check-paper {options.paper}` says what is left.")


def _check_paper(options: argparse.Namespace) -> int:
    from reprolib.pipeline.check_paper import check_paper

    problems = check_paper(options.paper)
    for number, problem in enumerate(problems, start=1):
        print(f"{number}. {problem}")
    if not problems:
        print(f"{options.paper}: complete")
    return 1 if problems else 0


def _doctor(options: argparse.Namespace) -> int:
    from reprolib.doctor import examine, text

    found = examine(load_profile(options.profile))
    print(json.dumps(found, indent=1) if options.json else text(found))
    return 1 if found["problems"] else 0
