"""The generated scenes: written on demand, by number, size and seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

from reprolib.data.acquire.options import check_options
from reprolib.data.acquire.prepared import SPLITS, Prepared, Split
from reprolib.data.cards import CARDS
from reprolib.data.errors import DataError
from reprolib.data.scenes import aerial, sar_ships, street
from reprolib.data.scenes.write import write_scenes

FAMILIES: Mapping[str, ModuleType] = MappingProxyType({"sar_ships": sar_ships, "aerial": aerial, "street": street})
OPTIONS = ("train", "val", "size", "seed")


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared | None:
    """None: `write_scenes` itself leaves alone what is whole."""
    check_options(name, options, known=OPTIONS, required=OPTIONS)
    return None


def make(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    """options: train, val (numbers of images), size (px), seed; each combination has a folder of its own."""
    folder = root / name / "-".join(f"{option}{options[option]}" for option in OPTIONS)
    family, size, seed = FAMILIES[name], options["size"], options["seed"]
    for split in SPLITS:
        try:
            write_scenes(family, family.CLASSES, folder, images=options[split], size=size, seed=seed, split=split)
        except ValueError as error:
            raise DataError(f"data set {name}, {split}: {error}") from None
    splits = {s: Split(images=folder / s, annotations=folder / "annotations" / f"{s}.json") for s in SPLITS}
    return Prepared(name=name, splits=splits, card=CARDS[name])
