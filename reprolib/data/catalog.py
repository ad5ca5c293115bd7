"""Make or find a data set on disk by its name in params.yaml."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from reprolib.data.acquire.prepared import Prepared
from reprolib.data.acquire.source_folder import lock
from reprolib.data.cards import FOLDERS
from reprolib.data.errors import DataError
from reprolib.data.sets.custom import coco_folder


def prepare(name: str, options: Mapping[str, object], *, root: Path = Path("data")) -> Prepared:
    """Make the data set below `root` unless it is there, and say where it lies.

    options: as `find` of the set's folder in `reprolib.data.sets` says; for sets that come in files `from_archive` and
    `from_dir` name copies that are here already. Any name with `kind: coco_folder`: train_images, train_annotations,
    val_images, val_annotations (paths), read where they are.

    Calling it again changes nothing; an interrupted call leaves nothing half made, and the next one goes on; two
    processes that make the same set take turns. Raises DataError for unknown names and options, and where something
    has to be placed by hand.
    """
    module, options = _module(name, options)
    root = Path(root)
    if prepared := module.find(name, options, root=root):
        return prepared
    with lock(root, name):
        return module.find(name, options, root=root) or module.make(name, options, root=root)


def find(name: str, options: Mapping[str, object], *, root: Path = Path("data")) -> Prepared | None:
    """The data set where it is prepared below `root`, else None; writes nothing. Raises DataError as `prepare` does."""
    module, options = _module(name, options)
    return module.find(name, options, root=Path(root))


def preparation(name: str) -> ModuleType:
    """The module with `find` and `make` of a data set that has a card."""
    return importlib.import_module(f"reprolib.data.sets.{FOLDERS[name]}.prepare")


def _module(name: str, options: Mapping[str, object]) -> tuple[ModuleType, dict[str, object]]:
    options = dict(options)
    kind = options.pop("kind", None)
    if kind == "coco_folder":
        return coco_folder, options
    if kind is not None:
        raise DataError(f"data set {name}: kind {kind!r} is unknown; the only one is coco_folder")
    if name not in FOLDERS:
        raise DataError(
            f"data set {name!r} is unknown; known are {', '.join(FOLDERS)}, and any name with {{{coco_folder.HINT}}}"
        )
    return preparation(name), options
