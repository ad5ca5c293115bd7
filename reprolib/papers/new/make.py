"""Make a paper's folder, its notebook and its block in params.yaml from the files in `template/`."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
from pathlib import Path

from reprolib.files import write_atomic
from reprolib.papers.elsewhere import VARIABLE
from reprolib.papers.folders import HERE, forget_folders, notebook_in, paper_folders
from reprolib.papers.new.params_block import with_paper

TEMPLATE = Path(__file__).parent / "template"
OUTSIDE_FOLDER = ("notebook.ipynb", "schedule.yaml", "profile.yaml")  # go to other places than the paper's folder
FILL_IN = "FILL IN"  # what a person has to write stands behind this in the files that are made


def new_paper(key: str, *, name: str = "", params: str | Path = "params.yaml") -> list[Path]:
    """Write all files of a paper; returns their paths, the changed params.yaml last.

    The folder is made in the last folder of the variable REPROLIB_PAPERS, which `--papers` sets, else in this package.
    name: the system's name as the paper prints it, by default made of the key. Raises ValueError for a key that cannot
    be one and for anything that exists already, before anything is written.
    """
    folder = _parent() / key
    _check_key(key, folder)
    name = name or key.replace("_", " ").title()
    if re.search(r'["\\;,\n]', name):
        raise ValueError(f"the name {name!r} must have no quote, backslash, semicolon, comma or line break")
    notebook = notebook_in(folder)
    if notebook.exists():
        raise ValueError(f"{notebook} exists already: choose another key, or move the notebook away")
    texts = _filled({"PAPER_KEY": key, "PAPER_NAME": name})
    made = {path: text for path, text in texts.items() if path not in OUTSIDE_FOLDER}
    changed = with_paper(params, schedule=texts["schedule.yaml"], profile=texts["profile.yaml"], key=key)
    for path, text in made.items():
        write_atomic(folder / path, text)
    write_atomic(notebook, texts["notebook.ipynb"])
    write_atomic(params, changed)
    forget_folders()
    return [*(folder / path for path in made), notebook, Path(params)]


def _filled(values: dict[str, str]) -> dict[str, str]:
    """The text of every template by the path of the file that it becomes."""
    texts = {}
    for path in sorted(TEMPLATE.rglob("*.template")):
        text = path.read_text(encoding="utf-8")
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        texts[path.relative_to(TEMPLATE).as_posix().removesuffix(".template")] = text
    return texts


def _parent() -> Path:
    named = [text for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    return Path(named[-1]).expanduser().absolute() if named else HERE


def _check_key(key: str, folder: Path) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", key) or keyword.iskeyword(key):
        raise ValueError(f"{key!r} cannot be a key: lower-case letters, digits and underscores, as in `mai_se_net`")
    if key in paper_folders():
        raise ValueError(f"the paper {key!r} exists already: {paper_folders()[key]}")
    if folder.exists() or importlib.util.find_spec(f"reprolib.papers.{key}"):
        raise ValueError(f"{key!r} cannot be a key: {folder} or a module of that name exists already; choose another")
