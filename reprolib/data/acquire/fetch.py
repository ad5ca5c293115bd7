"""The published files of a data set: those the user gives, those that lie in the downloads, and the rest fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from reprolib.data.acquire.checksums import LOCK, check_published, trust_first_use
from reprolib.data.acquire.download import download
from reprolib.data.acquire.drive import download_from_drive
from reprolib.data.acquire.magic import check_file
from reprolib.data.acquire.progress import require_space
from reprolib.data.card import Card, File
from reprolib.data.errors import DataError

Given = Mapping[str, str]  # name of a published file -> path or URL in its place


def downloads(root: Path, name: str) -> Path:
    """Where the files of a data set are kept, by their published names."""
    return root / "downloads" / name


def given_files(card: Card, places: object, *, files: Sequence[File] = ()) -> Given:
    """Which published file each path or URL of `--from-archive` is: by its name, else by its suffix where only one file
    has it; a folder gives all that lie in it under their published names.

    places: one text or several. files: those to choose from, by default the card's. Raises DataError for what is
    missing, matches none, or matches twice.
    """
    files, matched = files or card.files, {}
    texts = [places] if isinstance(places, str) else list(places or ())
    for text in map(str, texts):
        here = Path(text)
        if here.is_dir():
            inside = [file for file in files if (here / file.name).is_file()]
            if not inside:
                raise DataError(f"data set {card.name}: {text}: none of {_names(files)} is in this folder")
            matched |= {file.name: str(here / file.name) for file in inside}
            continue
        if not _is_url(text) and not here.is_file():
            raise DataError(f"data set {card.name}: {text}: no such archive; expected is {_names(files)}")
        name = unquote(urlsplit(text).path).rpartition("/")[2] if _is_url(text) else here.name
        same = [file for file in files if file.name.lower() == name.lower()]
        same = same or [
            file for file in files if file.name not in matched and Path(file.name).suffix == Path(name).suffix.lower()
        ]
        if len(same) != 1:
            raise DataError(
                f"data set {card.name}: {text}: which file is it? Name it as published: one of {_names(files)}"
            )
        if same[0].name in matched:
            raise DataError(
                f"data set {card.name}: {matched[same[0].name]} and {text} both are {same[0].name}; give one"
            )
        matched[same[0].name] = text
    return matched


def gather(card: Card, folder: Path, *, given: Given, files: Sequence[File] | None = None) -> dict[str, Path]:
    """Paths of the published files, by name, each verified; what is not given and not in `folder` is fetched there.

    Before anything is fetched the disk must have room for all of it and for what it unpacks to. A file without a
    published checksum is trusted at first use. Raises DataError that says what to put where for what cannot be fetched.
    """
    files = list(card.files if files is None else files)
    paths = {file.name: _local(file, folder, given) for file in files}
    missing = [file for file in files if paths[file.name] is None]
    by_hand = [file for file in missing if not (file.urls or file.drive or file.name in given)]
    if by_hand:
        raise DataError(
            f"data set {card.name}: {_names(by_hand)} cannot be fetched for you. {card.how_to} Files placed in {folder}"
            " are found too"
        )
    check_space(card, folder, missing)
    for file in files:
        path = paths[file.name]
        if path is None:
            path = paths[file.name] = _fetch(file, folder / file.name, given)
        elif file.name in given and file.contents_checked:  # may be another archive of the same files
            check_file(path, name=file.name)
        else:
            check_published(path, file)
        trust_first_use(path, file, lock=folder / LOCK)
    return paths


def check_space(card: Card, folder: Path, missing: Iterable[File], *, unpacked: int | None = None) -> None:
    """Raise DataError where the disk has no room for these files and about `unpacked` bytes beside them, by default
    their share of the card's; nothing is asked where no file is missing."""
    missing = list(missing)
    if not missing:
        return
    if unpacked is None:
        unpacked = card.unpacked_bytes * _size(missing) // _size(card.files)
    begun = sum(path.stat().st_size for file in missing for path in folder.glob(f"{file.name}.*part"))
    archives = _size(missing) - begun
    require_space(
        folder,
        archives + unpacked,
        what=f"data set {card.name}: {archives / 1e9:.1f} GB to fetch and what they unpack to need about",
        mend=f"make room, or make {folder.parents[1]} a link to a larger disk",
    )


def _local(file: File, folder: Path, given: Given) -> Path | None:
    if file.name in given:
        return None if _is_url(given[file.name]) else Path(given[file.name])
    return folder / file.name if (folder / file.name).is_file() else None


def _fetch(file: File, target: Path, given: Given) -> Path:
    checks = {"sha256": file.sha256, "md5": file.md5, "size": file.bytes}
    urls = [given[file.name]] if file.name in given else file.urls
    if not urls:
        return download_from_drive(file.drive, target, **checks)
    try:
        return download(urls, target, **checks)
    except DataError as error:
        if not file.drive or file.name in given:
            raise
        print(error, flush=True)
        return download_from_drive(file.drive, target, **checks)


def _size(files: Iterable[File]) -> int:
    return sum(file.bytes or file.about_bytes for file in files)


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _names(files: Iterable[File]) -> str:
    return ", ".join(file.name for file in files)
