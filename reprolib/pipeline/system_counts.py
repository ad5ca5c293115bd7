"""Parameters and multiply-adds of every system at published scale, in `results/systems.json`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from reprolib.files import write_json
from reprolib.papers.systems import COUNTS, Count, gather_systems, read_counts
from reprolib.params import Profile, load_profile, resolve
from reprolib.pipeline.describe import describe
from reprolib.pipeline.run_dependencies import count_fingerprint


def count_systems(
    root: str | Path = ".",
    *,
    paper: Profile | None = None,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Path:
    """Bring the counts below `root` up to date: those whose recipe and code are unchanged are kept as they are.

    paper: the profile that holds the published recipes; by default that of params.yaml here. Each count is written as
    soon as it is made, so that an interrupted call goes on. say: takes a line of progress.
    """
    path = Path(root) / COUNTS
    paper = paper or load_profile("paper")
    held = read_counts(path)
    wanted = {system.name: system.experiment for system in gather_systems() if system.experiment}
    counts = {name: held[name] for name in wanted if name in held}
    if counts != held or not path.is_file():
        _write(path, counts)
    for name, experiment in wanted.items():
        fingerprint = count_fingerprint(experiment, paper)
        if name in counts and (counts[name].experiment, counts[name].fingerprint) == (experiment.id, fingerprint):
            continue
        say(f"counting {name}")
        found = describe(resolve(paper, experiment, 0))
        counts[name] = Count(
            **{key: found[key] for key in ("experiment", "backbone", "classes", "params", "flops")},
            input_size=tuple(found["input_size"]),
            fingerprint=fingerprint,
        )
        _write(path, counts)
    return path


def _write(path: Path, counts: dict[str, Count]) -> None:
    write_json(path, {name: asdict(count) for name, count in counts.items()})
