"""What is known of a data set before a byte of it is on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class File:
    """A published file; empty text and 0 where nothing is published."""

    name: str
    url: str = ""
    bytes: int = 0
    md5: str = ""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A data set's card. `splits` maps a split to its published counts, e.g. {"images": 5000, "instances":
    36781}; `how_to` says what to fetch and where to put it; `protocol` names the rules by which its detections are
    scored, see `reprolib.evaluation.protocols`."""

    name: str
    title: str
    licence: str
    terms: str
    size: str
    citation: str
    home: str = ""
    files: tuple[File, ...] = ()
    splits: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    classes: tuple[str, ...] = ()
    class_count: int = 0  # where the names are only in the data set's own files
    how_to: str = ""
    protocol: str = "coco"
    notes: tuple[str, ...] = ()
