"""The systems that each paper's tables name, `papers/<key>/systems.csv`, and the facts of all systems by name.

The facts of a system (family, publication, references, note) stand once: in the `card.toml` beside the model that
builds it, or, where none does, in the systems.csv of one paper. Other papers leave those columns empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from reprolib.models.systems.cards import SystemCard, read_cards, reference, system_cards
from reprolib.papers.folders import paper_folder, paper_folders, shown

COLUMNS = (
    "system",
    "printed_as",
    "origin",
    "built_on",
    "reported_only",
    "family",
    "family_basis",
    "publication",
    "references",
    "note",
)


class SystemsError(ValueError):
    """The systems of a paper cannot be read; the message names file, line and field."""


@dataclass(frozen=True, kw_only=True)
class NamedSystem:
    """A system that a paper's tables name.

    system: by the name of the column `method` in the paper's reported tables. printed_as: as the paper prints it.
    origin: where the paper's numbers of it come from, in words. built_on: of the paper's own system what it extends.
    reported_only: why nothing can run it, empty where something does. card: its facts, where they stand here.
    """

    system: str
    printed_as: tuple[str, ...]
    origin: str
    built_on: str
    reported_only: str
    card: SystemCard | None


def systems_of(paper: str) -> Mapping[str, NamedSystem]:
    """The systems that a paper's tables name, by name. Raises SystemsError, and KeyError for an unknown paper."""
    return _parsed(paper_folder(paper) / "systems.csv")


def parse_systems(text: str, *, name: str) -> dict[str, NamedSystem]:
    """Parse the CSV text; `name` is the file that error messages name. Raises SystemsError."""
    reader = csv.reader(io.StringIO(text, newline=""))
    if tuple(next(reader, ())) != COLUMNS:
        raise SystemsError(f"{name}, line 1: the columns must be {','.join(COLUMNS)}")
    systems: dict[str, NamedSystem] = {}
    for values in reader:
        where = f"{name}, line {reader.line_num}"
        if len(values) != len(COLUMNS):
            raise SystemsError(f"{where}: {len(values)} fields instead of {len(COLUMNS)}")
        line = dict(zip(COLUMNS, values, strict=True))
        if not line["system"]:
            raise SystemsError(f"{where}: system is empty")
        if line["system"] in systems:
            raise SystemsError(f"{where}: {line['system']} stands in an earlier line already")
        systems[line["system"]] = _named(line, where=where)
    return systems


def cards() -> dict[str, SystemCard]:
    """The facts of all systems by name. Raises SystemsError for a system whose facts stand twice."""
    found = dict(built_cards())
    for paper in paper_folders():
        for name, system in systems_of(paper).items():
            if system.card is None:
                continue
            if name in found:
                raise SystemsError(
                    f"{shown(paper_folder(paper) / 'systems.csv')}: publication and family of {name} stand elsewhere"
                    " too; leave them empty here, or keep them in one place"
                )
            found[name] = system.card
    return found


def built_cards() -> dict[str, SystemCard]:
    """The facts of the systems that have a folder of their own, in `models/systems` or in a paper's `systems`."""
    return dict(_built_cards(tuple(paper_folders().values())))


def inferred(*systems: str) -> str:
    """What is assumed about the design of the first of these systems that has such, empty where nothing is.

    A table's row may be printed under another name than that of the system whose run it shows.
    """
    known = _built_cards(tuple(paper_folders().values()))
    return next((known[name].inferred for name in systems if name in known and known[name].inferred), "")


def reported_only(system: str) -> str:
    """Why nothing can run a system, as the first paper says it; empty where something does."""
    named = (systems_of(paper).get(system) for paper in paper_folders())
    return next((each.reported_only for each in named if each and each.reported_only), "")


@lru_cache(maxsize=8)
def _built_cards(folders: tuple[Path, ...]) -> Mapping[str, SystemCard]:
    in_papers = (card for folder in folders for card in read_cards(folder / "systems"))
    return MappingProxyType({card.system: card for card in (*system_cards(), *in_papers)})


@lru_cache(maxsize=64)
def _parsed(path: Path) -> dict[str, NamedSystem]:
    if not path.is_file():
        raise SystemsError(f"{shown(path)} is missing: a line for each system that the tables name")
    return parse_systems(path.read_text(encoding="utf-8"), name=shown(path))


def _named(line: Mapping[str, str], *, where: str) -> NamedSystem:
    if bool(line["publication"]) != bool(line["family"]):
        raise SystemsError(f"{where}: family and publication stand together or are both empty")
    card = None
    if line["publication"]:
        texts = filter(None, line["references"].split("; "))
        card = SystemCard(
            system=line["system"],
            family=line["family"],
            publication=line["publication"],
            references=tuple(reference(text, where=f"{where}, references") for text in texts),
            note=line["note"],
        )
    elif line["references"] or line["note"]:
        raise SystemsError(f"{where}: references and note belong to a line with a publication")
    return NamedSystem(
        system=line["system"],
        printed_as=tuple(filter(None, line["printed_as"].split("; "))),
        origin=line["origin"],
        built_on=line["built_on"],
        reported_only=line["reported_only"],
        card=card,
    )
