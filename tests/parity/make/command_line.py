"""The command line that all makers share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision

from tests.parity.cases import CASES, Case
from tests.parity.ours import GOLDENS
from tests.parity.recording import Recording


def main(reference: str, prepare: Callable[[Path], None], record: Callable[[Case, Path], Recording]) -> None:
    """Write the golden file of every case of this reference, or of those named on the command line."""
    parser = argparse.ArgumentParser(description=f"Write the golden arrays of {reference}.")
    parser.add_argument("--reference", type=Path, required=True, help="folder with the reference's packages")
    parser.add_argument("cases", nargs="*", help="ids of cases (default: all of this reference)")
    options = parser.parse_args()
    cases = [case for case in CASES if case.reference == reference]
    unknown = set(options.cases) - {case.id for case in cases}
    if unknown:
        parser.error(f"{reference} has no case {', '.join(sorted(unknown))}; it has {', '.join(c.id for c in cases)}")
    torch.set_num_threads(1)
    prepare(options.reference.resolve())
    GOLDENS.mkdir(exist_ok=True)
    for case in cases:
        if options.cases and case.id not in options.cases:
            continue
        recording = record(case, options.reference.resolve())
        recording.about |= {"torch": torch.__version__, "torchvision": torchvision.__version__}
        path = GOLDENS / f"{case.id}.npz"
        recording.save(path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
