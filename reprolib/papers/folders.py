"""Where the papers stand: the folders with a `tables.py`, in this package and in the other folders of its path."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import reprolib.papers

HERE = Path(__file__).parent


def paper_folders() -> Mapping[str, Path]:
    """The folder of every paper by key, alphabetical; found once, until `forget_folders` is called.

    Raises ValueError for a key that stands in two folders.
    """
    return _found(tuple(reprolib.papers.__path__))


def forget_folders() -> None:
    """Look for papers again at the next call, since one was made or removed."""
    _found.cache_clear()


@lru_cache(maxsize=8)
def _found(parents: tuple[str, ...]) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for parent in parents:
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


def shown(path: Path) -> str:
    """A paper's file as messages and links name it: from the repository's root for those of this package."""
    return path.relative_to(HERE.parent.parent).as_posix() if path.is_relative_to(HERE) else path.as_posix()
