"""The cards of all data sets, collected from the folders of `reprolib.data.sets`."""

from __future__ import annotations

import importlib
import pkgutil
from types import MappingProxyType

from reprolib.data import sets
from reprolib.data.card import Card


def collect() -> tuple[dict[str, Card], dict[str, str]]:
    """Card by the data set's name, and folder below `reprolib.data.sets` by the data set's name.

    Raises ValueError where two folders have a card of one name.
    """
    cards: dict[str, Card] = {}
    folders: dict[str, str] = {}
    for folder in pkgutil.iter_modules(sets.__path__):
        for card in importlib.import_module(f"{sets.__name__}.{folder.name}.card").CARDS:
            if card.name in cards:
                raise ValueError(
                    f"data set {card.name!r} has a card in sets/{folders[card.name]} and sets/{folder.name}"
                )
            cards[card.name], folders[card.name] = card, folder.name
    return cards, folders


CARDS, FOLDERS = map(MappingProxyType, collect())


def class_count(name: str) -> int:
    """How many classes a data set has; raises ValueError for one without a card."""
    if name not in CARDS:
        raise ValueError(f"data set {name!r} has no card in reprolib/data/sets, so its classes are not known")
    return len(CARDS[name].classes) or CARDS[name].class_count
