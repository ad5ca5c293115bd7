"""What the modules of the data sets share: options, locks, links, paths."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Mapping
from pathlib import Path

from reprolib.data.acquire.prepared import Prepared, Split
from reprolib.data.cards import CARDS
from reprolib.data.errors import DataError

SPLITS = ("train", "val")
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


def given_folder(name: str, options: Mapping[str, object]) -> Path | None:
    """The folder of `--from-dir`, None where none is given. Raises DataError where it is no folder."""
    if not options.get("from_dir"):
        return None
    folder = Path(str(options["from_dir"]))
    if not folder.is_dir():
        raise DataError(f"data set {name}: {folder} is no folder (--from-dir). {CARDS[name].how_to}")
    return folder


def given_semantic(name: str, options: Mapping[str, object]) -> Path | None:
    """The folder of the training images' class maps, None where none is given. Raises DataError where it is none."""
    if not options.get(SEMANTIC_OPTION):
        return None
    folder = Path(str(options[SEMANTIC_OPTION]))
    if not folder.is_dir():
        raise DataError(f"data set {name}: {SEMANTIC_OPTION}: {folder} is no folder; give the one with the PNG maps")
    return folder


def converted(name: str, *, images: Path, annotations: Path, val: str = "val") -> Prepared:
    """A set whose splits share a folder of images; val: the JSON's name where the publication calls it otherwise."""
    names = {"train": "train", "val": val}
    splits = {split: Split(images=images, annotations=annotations / f"{names[split]}.json") for split in SPLITS}
    return Prepared(name=name, splits=splits, card=CARDS[name])


def link(source: Path, place: Path) -> None:
    """Make `place` a link to a folder or file of the user's, which stays where it is; a link that leads nowhere is
    replaced. Raises DataError where something else is at `place`."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() and place.resolve() != source.resolve():
        place.unlink()
    if place.exists():
        if place.resolve() != source.resolve():
            raise DataError(f"{place} is in the way of a link to {source}; move it away")
        return
    place.symlink_to(source.resolve())
    print(f"{place} is a link to {source}; nothing is copied", flush=True)


def count(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.glob(pattern))


@contextlib.contextmanager
def lock(root: Path, name: str) -> Iterator[None]:
    """Hold the data set for this process; the system lets go of it if the process dies."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / f".{name}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"data set {name}: another process prepares it, waiting ({path})", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
