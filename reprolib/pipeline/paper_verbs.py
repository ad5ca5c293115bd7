"""The verbs of who adds a paper: new-paper and check-paper."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with their options. verb: takes name, function and help, returns the verb's parser."""
    added = verb("new-paper", make_paper, "make a paper's folder, notebook and block of params.yaml", profile=False)
    added.add_argument("paper", metavar="KEY", help="lower-case letters, digits and underscores")
    added.add_argument("--name", default="", help="the system as the paper prints it; by default made of the key")
    text = "what is missing or inconsistent in a paper, first things first"
    added = verb("check-paper", tell_problems, text, profile=False)
    added.add_argument("paper", metavar="KEY")


def make_paper(options: argparse.Namespace) -> None:
    """Make the files of a paper and print their paths."""
    from reprolib.papers.new.make import new_paper

    for path in new_paper(options.paper, name=options.name):
        print(path)
    print(f"Write what stands behind FILL IN; `reprolib check-paper {options.paper}` says what is left.")


def tell_problems(options: argparse.Namespace) -> int:
    """Print a paper's problems in the order in which to mend them; exit status 1 where there are any."""
    from reprolib.pipeline.check_paper import check_paper

    problems = check_paper(options.paper)
    for number, problem in enumerate(problems, start=1):
        print(f"{number}. {problem}")
    if not problems:
        print(f"{options.paper}: complete")
    return 1 if problems else 0
