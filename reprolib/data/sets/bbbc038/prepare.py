"""BBBC038: from the zip of its corrected or original annotations, or a folder of what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from reprolib.data.acquire.fetch import downloads, gather, given_files
from reprolib.data.acquire.options import SOURCE_OPTIONS, check_options, choice, given_folder
from reprolib.data.acquire.prepared import Prepared, converted
from reprolib.data.cards import CARDS
from reprolib.data.sets.bbbc038 import convert as bbbc038
from reprolib.data.sets.bbbc038.card import ORIGINAL

OPTIONS = (*SOURCE_OPTIONS, "annotations")


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared | None:
    """options: annotations (`corrected`, the default, or `original`), from_archive (path or URL of its zip), from_dir
    (with `<ImageId>/images` and `<ImageId>/masks` at any depth)."""
    check_options(name, options, known=OPTIONS)
    variant, folder = _variant(name, options), _folder(name, options, root)
    if not bbbc038.is_prepared(folder, contents=bbbc038.VARIANTS[variant]()):
        return None
    prepared = converted(CARDS[name], images=folder / "images", annotations=folder / "annotations")
    return replace(prepared, card=ORIGINAL) if variant == "original" else prepared


def make(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    card, contents = CARDS[name], bbbc038.VARIANTS[_variant(name, options)]()
    source = given_folder(card, options)
    if source is None:
        (file,) = files = card.files_for(options)
        given = given_files(card, options.get("from_archive"), files=files)
        source = gather(card, downloads(root, name), given=given, files=files)[file.name]
    bbbc038.convert(source, _folder(name, options, root), contents=contents)
    return find(name, options, root=root)


def _variant(name: str, options: Mapping[str, object]) -> str:
    return choice(name, options, "annotations", tuple(bbbc038.VARIANTS))


def _folder(name: str, options: Mapping[str, object], root: Path) -> Path:
    variant = _variant(name, options)
    return root / (name if variant == "corrected" else f"{name}_{variant}")
