"""`python -m benchmarks NAME`: runs one benchmark of this folder.

Each module in `BENCHMARKS` has `add_arguments(parser)`, its own options, and `main(options)`, which runs it, shows the
result and returns the exit status: 0, or 1 where the result is not what it should be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks import (
    against_torchvision,
    attribution,
    bootstrap,
    coverage,
    evaluation,
    ladder,
    parity,
    parts,
    prompt,
    speed,
    step,
)
from benchmarks.options import add_output
from benchmarks.report import check_path

BENCHMARKS = {
    "torchvision": against_torchvision,
    "attribution": attribution,
    "parts": parts,
    "parity": parity,
    "speed": speed,
    "ladder": ladder,
    "prompt": prompt,
    "step": step,
    "evaluation": evaluation,
    "bootstrap": bootstrap,
    "coverage": coverage,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark; returns the exit status. Mistakes of the user end in one line on stderr and status 2."""
    options = make_parser().parse_args(arguments)
    try:
        if options.out:
            check_path(options.out)  # before anything is timed
        return options.main(options)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def make_parser() -> argparse.ArgumentParser:
    """One subcommand for each benchmark; its help is the docstring of its module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What is timed or compared side by side.")
    commands = parser.add_subparsers(metavar="NAME", required=True)
    for name, module in BENCHMARKS.items():
        command = commands.add_parser(
            name,
            help=module.__doc__.splitlines()[0].replace("%", "%%"),  # argparse formats it
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        add_output(command)
        command.set_defaults(main=module.main)
    return parser


if __name__ == "__main__":
    sys.exit(main())
