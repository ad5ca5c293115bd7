"""Papers that stand outside this package: folders of `<key>/` folders, named by the user or by installed packages."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

VARIABLE = "REPROLIB_PAPERS"  # folders, separated as in PATH; child processes inherit it
GROUP = "reprolib.papers"  # entry points whose value is a package that holds `<key>/` folders


def folders_elsewhere() -> list[Path]:
    """The folders outside this package that hold papers: those of the variable, then those of entry points."""
    named = [Path(text).expanduser().absolute() for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    installed = [folder for entry in importlib.metadata.entry_points(group=GROUP) for folder in _folders(entry)]
    return list(dict.fromkeys([*named, *installed]))


def use_papers(folder: str | Path) -> Path:
    """Take the papers below a folder too, in this process and in those that it starts; returns the folder's path.

    Raises ValueError where there is no such folder.
    """
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise ValueError(
            f"--papers {folder}: no such folder; it holds a folder for each paper, as reprolib/papers does"
        )
    others = [text for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text and text != str(path)]
    os.environ[VARIABLE] = os.pathsep.join([*others, str(path)])
    search_path = sys.modules["reprolib.papers"].__path__
    if str(path) not in search_path:
        search_path.append(str(path))
    return path


def _folders(entry: importlib.metadata.EntryPoint) -> list[Path]:
    spec = importlib.util.find_spec(entry.value)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"entry point {entry.name} of group {GROUP}: {entry.value} is no installed package")
    return [Path(location) for location in spec.submodule_search_locations]
