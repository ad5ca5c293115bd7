"""The verbs of reprolib on the command line; thin, over the same functions as the notebooks."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from reprolib.audit import verb as audit_verb
from reprolib.cost import verb as cost_verb
from reprolib.data import verb as data_verb
from reprolib.papers.elsewhere import use_papers
from reprolib.params import load_profile
from reprolib.pipeline import paper_verbs
from reprolib.pipeline import verbs as pipeline_verbs
from reprolib.pipeline.runs import verbs as runs_verbs
from reprolib.pipeline.submit import verb as submit_verb
from reprolib.prompting import verb as segment_verb
from reprolib.tables import list_verb


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

    def one_verb(name: str, module: ModuleType, *, profile: bool = True) -> None:
        module.add_arguments(verb(name, module.run, module.HELP, profile=profile))

    one_verb("list", list_verb)
    one_verb("data", data_verb)
    runs_verbs.add_verbs(verb)
    one_verb("segment", segment_verb)
    added = verb("tables", _tables, "render tables beside their reported numbers, all of the profile by default")
    added.add_argument("table", nargs="*")
    added = verb("report", _report, "pages of all papers, tables, systems and claims: results/<profile>/report/")
    added.add_argument("--readme", action="store_true", help="write the README's section of results too")
    verb("noise", _noise, "noise between seeds, measured from the profile's records of experiments that have several")
    one_verb("audit", audit_verb, profile=False)
    one_verb("cost", cost_verb)
    pipeline_verbs.add_verbs(verb)
    one_verb("submit", submit_verb, profile=False)
    paper_verbs.add_verbs(verb)
    added = verb("doctor", _doctor, "versions, devices, data found, and how to mend what is wrong")
    added.add_argument("--json", action="store_true")
    return parser


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


def _doctor(options: argparse.Namespace) -> int:
    from reprolib.doctor import examine, text

    found = examine(load_profile(options.profile))
    print(json.dumps(found, indent=1) if options.json else text(found))
    return 1 if found["problems"] else 0
