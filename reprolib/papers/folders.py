"""Where the papers stand: the folders with a `tables.py`, in this package and in the other folders of its path.

A paper of this package has its notebook in `notebooks/`, one that stands elsewhere beside its code.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import reprolib.papers
from reprolib.papers.elsewhere import VARIABLE

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def paper_folders() -> Mapping[str, Path]:
    """The folder of every paper by key, alphabetical; found once, until `forget_folders` is called.

    Raises ValueError for a key that stands in two folders, and for a folder of papers that does not exist.
    """
    return _found(tuple(reprolib.papers.__path__))


def forget_folders() -> None:
    """Look for papers again at the next call, since one was made or removed."""
    _found.cache_clear()


@lru_cache(maxsize=8)
def _found(parents: tuple[str, ...]) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for parent in parents:
        if not Path(parent).is_dir():
            raise ValueError(f"{VARIABLE} names {parent}, which is no folder: correct the variable or make the folder")
        for path in Path(parent).glob("*/tables.py"):
            folder = path.parent
            if folder.name in found:
                raise ValueError(
                    f"two papers have the key {folder.name!r}: {found[folder.name]} and {folder}; rename one"
                )
            found[folder.name] = folder
    return MappingProxyType(dict(sorted(found.items())))


def paper_folder(paper: str) -> Path:
    """The folder of a paper. Raises KeyError naming the papers there are."""
    folders = paper_folders()
    if paper not in folders:
        raise KeyError(f"no paper {paper!r}; there are {', '.join(folders)}")
    return folders[paper]


def is_elsewhere(folder: Path) -> bool:
    """Whether a paper's folder, or a file in one, stands outside this package."""
    return not folder.is_relative_to(HERE)


def notebook_of(paper: str) -> Path:
    """A paper's notebook, from the repository's root. Raises KeyError for an unknown paper."""
    return notebook_in(paper_folder(paper))


def notebook_in(folder: Path) -> Path:
    """The notebook of the paper with this folder."""
    return (folder if is_elsewhere(folder) else Path("notebooks")) / f"{folder.name}.ipynb"


def shown(path: Path) -> str:
    """A paper's file as messages and links name it: from the repository's root, or from the current folder."""
    return Path(os.path.relpath(path)).as_posix() if is_elsewhere(path) else path.relative_to(ROOT).as_posix()
