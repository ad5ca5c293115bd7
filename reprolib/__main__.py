"""`python -m reprolib`."""

import contextlib
import os
import sys

from reprolib.pipeline import warm


def main() -> int:
    """Run the verb, forked from a warm process where there is one."""
    address = os.environ.pop(warm.ADDRESS, "")  # the forked process starts its own commands as usual
    if address:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):  # it has ended
            return warm.ask(address, "reprolib", *sys.argv[1:])
    from reprolib import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
