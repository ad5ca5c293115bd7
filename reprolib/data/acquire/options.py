"""The options of a data set's preparation, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reprolib.data.card import Card
from reprolib.data.errors import DataError

SOURCE_OPTIONS = ("from_archive", "from_dir")  # what --from-archive and --from-dir set
SEMANTIC_OPTION = "train_semantic"


def check_options(
    name: str, options: Mapping[str, object], *, known: tuple[str, ...], required: tuple[str, ...] = ()
) -> None:
    """Raise DataError for an option that the data set does not know, and for a required one that is missing."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise DataError(f"data set {name}: unknown option {unknown[0]!r}; known are {', '.join(known) or 'none'}")
    missing = [option for option in required if options.get(option) is None]
    if missing:
        raise DataError(f"data set {name}: option {missing[0]!r} is missing; needed are {', '.join(required)}")


def choice(name: str, options: Mapping[str, object], option: str, values: tuple[str, ...]) -> str:
    """The value of an option that is one of `values`, the first by default. Raises DataError for another."""
    value = options.get(option, values[0])
    if value not in values:
        raise DataError(f"data set {name}: {option} {value!r} is unknown; known are {', '.join(values)}")
    return value


def given_folder(card: Card, options: Mapping[str, object]) -> Path | None:
    """The folder of `--from-dir`, None where none is given. Raises DataError where it is no folder."""
    folder = Path(str(options["from_dir"])) if options.get("from_dir") else None
    if folder and not folder.is_dir():
        raise DataError(f"data set {card.name}: {folder} is no folder (--from-dir). {card.how_to}")
    return folder


def given_semantic(name: str, options: Mapping[str, object]) -> Path | None:
    """The folder of the training images' class maps, None where none is given. Raises DataError where it is none."""
    folder = Path(str(options[SEMANTIC_OPTION])) if options.get(SEMANTIC_OPTION) else None
    if folder and not folder.is_dir():
        raise DataError(f"data set {name}: {SEMANTIC_OPTION}: {folder} is no folder; give the one with the PNG maps")
    return folder
