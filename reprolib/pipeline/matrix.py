"""matrix.yaml: what `matrix:` in dvc.yaml goes over, the active profile's addresses written out.

params.yaml lists experiments by row and table, and tables and papers by `all`; DVC needs the names themselves before it
runs anything. The file is generated and committed, so that a plain `dvc repro` works on a fresh clone. It also holds a
hash of each paper that stands outside the repository: the plan depends on this file, and so on them.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from reprolib.files import write_atomic
from reprolib.papers.addresses import profile_experiments, profile_papers, profile_tables
from reprolib.papers.folders import is_elsewhere, paper_folders
from reprolib.params import ParamsError, Profile
from reprolib.pipeline.fingerprint import digest, file_hash

MATRIX = Path("matrix.yaml")
HEADER = "# Written by `reprolib plan` from the active profile of params.yaml. Do not edit.\n"


def matrix_text(profile: Profile) -> str:
    """What matrix.yaml holds for a profile. Raises ParamsError where the profile lists what does not exist."""
    names = {
        "profile": profile.name,
        "experiments": [experiment.id for experiment in profile_experiments(profile)],
        "tables": profile_tables(profile),
        "papers": profile_papers(profile),
    }
    if elsewhere := {paper: _hash(folder) for paper, folder in paper_folders().items() if is_elsewhere(folder)}:
        names["papers_elsewhere"] = elsewhere
    return HEADER + yaml.safe_dump({"matrix": names}, sort_keys=False, width=200)


def _hash(folder: Path) -> str:
    """Of all files of a paper that stands outside the repository, where DVC does not see them."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return digest({name.as_posix(): file_hash(path) for name, path in files.items() if not _is_by_product(name)})


def _is_by_product(path: Path) -> bool:
    return any(part == "__pycache__" or part.startswith(".") for part in path.parts)


def write_matrix(profile: Profile) -> bool:
    """Bring matrix.yaml up to date; returns whether it was not."""
    text = matrix_text(profile)
    if MATRIX.is_file() and MATRIX.read_text(encoding="utf-8") == text:
        return False
    write_atomic(MATRIX, text)
    return True


def check_matrix(profile: Profile) -> None:
    """Raise ParamsError, with the command to run, where matrix.yaml is not what the active profile lists."""
    if not MATRIX.is_file() or MATRIX.read_text(encoding="utf-8") != matrix_text(profile):
        raise ParamsError(
            f"{MATRIX} is not what profile {profile.name!r} of params.yaml lists, so these stages are not its stages;"
            " run `reprolib plan`, then the same command again (`reprolib repro` does both)"
        )
