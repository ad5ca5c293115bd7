"""The card of a system, `card.toml` beside its `model.py`: publication, public code, and what is assumed of its design.

Imports no torch: tables, records and pages read this.
"""

from __future__ import annotations

import importlib.util
import re
import tomllib
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

_REFERENCE = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+): (?P<licence>[^()]+?)(?: \((?P<note>.+)\))?")


class CardError(ValueError):
    """A card cannot be read; the message names file, field and what to write instead."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Public code that a system was checked against: facts and numbers were taken from it, no code."""

    repository: str  # owner/name
    licence: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SystemCard:
    """What is known of a system before any run.

    system: the name that the tables use. family: two-stage, cascade, one-stage, query, or what it does instead.
    publication: authors, venue and year. references: empty where no public code was found. note: what there is to say
    of publication or references. inferred: what is assumed of a design that its publication leaves open.
    """

    system: str
    family: str
    publication: str
    references: tuple[Reference, ...] = ()
    note: str = ""
    inferred: str = ""


def reference(text: str, *, where: str) -> Reference:
    """Parse `owner/name: licence (note)`, the note being optional. Raises CardError; `where` names file and field."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise CardError(
            f"{where}: write a reference as `owner/name: licence` or `owner/name: licence (note)`: {text!r}"
        )
    return Reference(repository=match["repository"], licence=match["licence"], note=match["note"] or "")


def read_cards(folder: str | Path) -> tuple[SystemCard, ...]:
    """The cards of all systems in the folders below `folder`, by folder. Raises CardError."""
    return tuple(_read(path) for path in sorted(Path(folder).glob("*/card.toml")))


def system_cards() -> tuple[SystemCard, ...]:
    """The cards of the systems of this package. Raises CardError."""
    return read_cards(Path(__file__).parent)


def inferred(module: str) -> str:
    """What is assumed of the design of the system that a module builds: its card's text, empty without either."""
    spec = importlib.util.find_spec(module)
    path = Path(spec.origin).with_name("card.toml") if spec and spec.origin else None
    return _read(path).inferred if path and path.is_file() else ""


@lru_cache(maxsize=256)
def _read(path: Path) -> SystemCard:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CardError(f"{path}: not valid TOML: {error}") from None
    known = [field.name for field in fields(SystemCard)]
    if unknown := [name for name in values if name not in known]:
        raise CardError(f"{path}: no field {unknown[0]!r}; there are {', '.join(known)}")
    if missing := [name for name in known[:3] if not values.get(name)]:
        raise CardError(f"{path}: {missing[0]} is missing")
    references = [reference(text, where=f"{path}, references") for text in values.pop("references", [])]
    return SystemCard(**values, references=tuple(references))
