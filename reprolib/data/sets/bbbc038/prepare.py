"""BBBC038: from the zip of its corrected or original annotations, or a folder of what is in it."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from reprolib.data.acquire.fetch import downloads, gather, given_files
from reprolib.data.acquire.options import SOURCE_OPTIONS, check_options, choice, given_folder
from reprolib.data.acquire.prepared import Prepared, converted
from reprolib.data.cards import CARDS
from reprolib.data.errors import DataError
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
    variant, kept = _variant(name, options), downloads(root, name)
    folder, contents = _folder(name, options, root), bbbc038.VARIANTS[variant]()
    if source := given_folder(CARDS[name], options):
        packed = kept / f"{variant}_from_dir.zip"
        try:
            bbbc038.convert(_packed(source, packed), folder, contents=contents)
        finally:
            packed.unlink(missing_ok=True)
    else:
        (file,) = files = CARDS[name].files_for(options)
        given = given_files(CARDS[name], options.get("from_archive"), files=files)
        bbbc038.convert(gather(CARDS[name], kept, given=given, files=files)[file.name], folder, contents=contents)
    return find(name, options, root=root)


def _variant(name: str, options: Mapping[str, object]) -> str:
    return choice(name, options, "annotations", tuple(bbbc038.VARIANTS))


def _folder(name: str, options: Mapping[str, object], root: Path) -> Path:
    variant = _variant(name, options)
    return root / (name if variant == "corrected" else f"{name}_{variant}")


def _packed(source: Path, target: Path) -> Path:
    """A zip of the folder's images and masks, uncompressed: the conversion reads one."""
    files = [file for file in sorted(source.rglob("*.png")) if bbbc038.MEMBER.search(file.as_posix())]
    if not files:
        raise DataError(f"{source}: no <ImageId>/images/<ImageId>.png below it; give the unpacked archive")
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for file in files:
            archive.write(file, "/".join(("stage1_train", *file.parts[-3:])))
    return target
