"""NWPU VHR-10: the images' zip, or a folder of its files, and the instance annotations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reprolib.data.acquire.fetch import downloads, gather, given_files
from reprolib.data.acquire.options import SOURCE_OPTIONS, check_options, choice, given_folder
from reprolib.data.acquire.prepared import Prepared, converted
from reprolib.data.cards import CARDS
from reprolib.data.sets.nwpu_vhr10 import convert as nwpu_vhr10

OPTIONS = (*SOURCE_OPTIONS, "split")


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared | None:
    """options: split (`own`, 455/195, the default, or `public`, 520/130), from_archive (path or URL of the zip, and of
    annotations.json where the zip lacks it), from_dir (with the images, and annotations.json)."""
    check_options(name, options, known=OPTIONS)
    split, folder = choice(name, options, "split", nwpu_vhr10.SPLITS), root / name
    if not nwpu_vhr10.is_prepared(folder, contents=nwpu_vhr10.published()):
        return None
    return converted(CARDS[name], images=folder / "images", annotations=folder / "annotations" / split)


def make(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    card, kept = CARDS[name], downloads(root, name)
    images, labels = card.files
    given = given_files(card, options.get("from_archive"))
    source = given_folder(CARDS[name], options)
    here = source or (Path(given[images.name]) if images.name in given else kept / images.name)
    whole = here.exists() and nwpu_vhr10.holds_annotations(here)
    needed = [file for file in card.files if not (file is images and source) and not (file is labels and whole)]
    paths = gather(card, kept, given=given, files=needed)
    nwpu_vhr10.convert(
        source or paths[images.name],
        root / name,
        contents=nwpu_vhr10.published(),
        annotations=paths.get(labels.name),
    )
    return find(name, options, root=root)
