"""`python -m benchmarks`: see `benchmarks.verb`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.verb import add_arguments, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark; returns the exit status. Mistakes of the user end in one line on stderr and status 2."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=run.__doc__)
    add_arguments(parser)
    try:
        return run(parser.parse_args(arguments))
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
