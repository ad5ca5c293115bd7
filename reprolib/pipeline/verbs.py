"""The verbs on the whole pipeline: plan, repro and notebook."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from reprolib.papers import catalog
from reprolib.papers.addresses import ADDRESSES
from reprolib.papers.folders import notebook_of
from reprolib.params import load_profile
from reprolib.pipeline.name_values import name_values


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with their options. verb: takes name, function and help, returns the verb's parser."""
    added = verb("plan", plan, "write what each run depends on, and matrix.yaml, by which DVC names its stages")
    added.add_argument("--check-matrix", action="store_true", help="refuse another matrix.yaml instead of writing it")
    added = verb("repro", bring_up_to_date, "dvc repro: bring the active profile up to date", profile=False)
    added.add_argument("address", nargs="*", metavar="ADDRESS", help=f"only {ADDRESSES}")
    added.add_argument("--listed", action="store_true", help="leave out what the profile does not list")
    added.add_argument("--jobs", type=int, help="runs side by side; by default as many as the cores hold")
    added = verb("notebook", execute_notebook, "execute a notebook: NOTEBOOK OUTPUT name=value ...", profile=False)
    added.add_argument("notebook", help="a file, or the key of a paper for its notebook")
    added.add_argument("output")
    added.add_argument("parameters", nargs="*", metavar="name=value")


def plan(options: argparse.Namespace) -> None:
    """Write the files that DVC's stages depend on."""
    from reprolib.pipeline.matrix import check_matrix, write_matrix
    from reprolib.pipeline.plan import write_plan

    profile = load_profile(options.profile)
    if profile.name == load_profile().name:  # DVC's stages are those of the active profile
        (check_matrix if options.check_matrix else write_matrix)(profile)
    written = write_plan(profile)
    print(f"{len(written.files)} files in {profile.results / 'runs'}")
    if written.unprepared:
        print(f"not planned: runs on {', '.join(written.unprepared)}, which are not prepared (`reprolib data`)")


def bring_up_to_date(options: argparse.Namespace) -> None:
    """Run what the active profile lacks, or a part of it, and say where the results are."""
    from reprolib.pipeline.repro import repro

    profile = load_profile()
    repro(profile, addresses=options.address, listed=options.listed, jobs=options.jobs)
    if options.address:  # a part renders its tables alone
        print(f"Profile {profile.name}: records and tables in {profile.results}; `reprolib report` writes the pages")
        return
    print(f"Profile {profile.name}: report in {profile.results / 'report' / 'index.html'}, tables in results/README.md")


def execute_notebook(options: argparse.Namespace) -> None:
    """Execute a notebook file or a paper's notebook."""
    from reprolib.pipeline.notebook import execute

    notebook = notebook_of(options.notebook) if options.notebook in catalog.papers() else options.notebook
    execute(notebook, options.output, name_values(options.parameters))
