"""A data set on disk: what preparing it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reprolib.data.card import Card

SPLITS = ("train", "val")


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split on disk. images: the folder that `file_name` starts from; annotations: the COCO-format
    JSON; semantic: the folder of class maps, where there are any."""

    images: Path
    annotations: Path
    semantic: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A data set on disk; the splits are "train" and "val"."""

    name: str
    splits: Mapping[str, Split]
    card: Card


def converted(card: Card, *, images: Path, annotations: Path, val: str = "val") -> Prepared:
    """A set whose splits share a folder of images; val: the JSON's name where the publication calls it otherwise."""
    names = {"train": "train", "val": val}
    splits = {split: Split(images=images, annotations=annotations / f"{names[split]}.json") for split in SPLITS}
    return Prepared(name=card.name, splits=splits, card=card)
