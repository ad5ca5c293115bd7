"""`reprolib cost` on the command line."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

from reprolib.papers.addresses import ADDRESSES, table_of_address
from reprolib.params import load_profile

HELP = "images, hours, disk and download of what the profile runs, before anything runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options, beside the profile's name."""
    parser.add_argument("address", nargs="*", metavar="ADDRESS", help=f"{ADDRESSES}, instead of all of the profile")
    parser.add_argument("--hardware", default="", metavar="NAME", help="hours of this, by default of what was measured")
    parser.add_argument("--json", action="store_true")


def run(options: argparse.Namespace) -> None:
    """Print the cost of the profile, or of some addresses under it."""
    from reprolib.cost.estimate import profile_cost
    from reprolib.cost.text import as_json, text

    profile = load_profile(options.profile)
    if options.address:
        tables = filter(None, map(table_of_address, options.address))
        profile = replace(profile, experiments=tuple(options.address), tables=tuple(dict.fromkeys(tables)))
    cost = profile_cost(profile, hardware=options.hardware)
    print(json.dumps(as_json(cost), indent=1) if options.json else text(cost))
