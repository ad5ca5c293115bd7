"""COCO 2017: three archives that unpack to the layout everybody uses, `coco/{train2017,val2017,annotations}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reprolib.data.acquire.fetch import Given, downloads, gather, given_files
from reprolib.data.acquire.options import SEMANTIC_OPTION, SOURCE_OPTIONS, check_options, given_folder, given_semantic
from reprolib.data.acquire.prepared import SPLITS, Prepared, Split
from reprolib.data.acquire.source_folder import count, link
from reprolib.data.acquire.unpack import unpack
from reprolib.data.cards import CARDS
from reprolib.data.errors import DataError

NAME = "coco"
OPTIONS = (*SOURCE_OPTIONS, SEMANTIC_OPTION)
ANNOTATIONS = "annotations_trainval2017.zip"
IMAGES = ("train2017.zip", "val2017.zip")
COUNTS = {"train2017": 118_287, "val2017": 5_000}


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared | None:
    """options: from_archive (paths or URLs of the three zips, or a folder that holds them), from_dir (with train2017/,
    val2017/ and annotations/, which are linked to), train_semantic (a folder of class maps for HTC's and SCNet's
    semantic branch: stuffthingmaps/train2017)."""
    check_options(name, options, known=OPTIONS)
    semantic = given_semantic(name, options)
    folder = root / NAME
    if missing(folder, (*IMAGES, ANNOTATIONS)):
        return None
    splits = {
        split: Split(
            images=folder / f"{split}2017",
            annotations=folder / "annotations" / f"instances_{split}2017.json",
            semantic=semantic if split == "train" else None,
        )
        for split in SPLITS
    }
    return Prepared(name=name, splits=splits, card=CARDS[name])


def make(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    given = given_files(CARDS[NAME], options.get("from_archive"))
    place((*IMAGES, ANNOTATIONS), root=root, given=given, source=given_folder(CARDS[name], options))
    return find(name, options, root=root)


def missing(folder: Path, archives: Sequence[str]) -> list[str]:
    """Those of the archives whose contents are not whole in `folder`."""
    return [archive for archive in archives if not _is_there(folder, archive)]


def place(archives: Sequence[str], *, root: Path, given: Given, source: Path | None) -> None:
    """Bring what the archives hold to `<root>/coco`: linked from the folder `source`, or unpacked. Raises DataError
    where something is still missing then."""
    folder, card = root / NAME, CARDS[NAME]
    if source:
        for archive in missing(folder, archives):
            if _is_there(source, archive):
                link(source / _top(archive), folder / _top(archive))
        if absent := missing(folder, archives):
            raise DataError(
                f"data set {NAME}: {source} lacks {', '.join(map(_contents_of, absent))}; give the folder"
                " that holds train2017/, val2017/ and annotations/, or the archives with --from-archive"
            )
        return
    needed = [file for file in card.files if file.name in missing(folder, archives)]
    for path in gather(card, downloads(root, NAME), given=given, files=needed).values():
        unpack(path, folder)
    if absent := missing(folder, archives):
        raise DataError(
            f"data set {NAME}: unpacked, but {_contents_of(absent[0])} is not in {folder}; see the card of coco"
        )
    if any(path.is_file() for path in downloads(root, NAME).glob("*.zip")):
        print(f"{NAME}: unpacked in {folder}; the archives in {downloads(root, NAME)} are no longer needed", flush=True)


def _is_there(folder: Path, archive: str) -> bool:
    top = _top(archive)
    if archive == ANNOTATIONS:
        return all((folder / top / f"instances_{split}2017.json").is_file() for split in SPLITS)
    return (folder / top).is_dir() and count(folder / top, "*.jpg") >= COUNTS[top]


def _contents_of(archive: str) -> str:
    top = _top(archive)
    return (
        f"{top}/instances_{{train,val}}2017.json" if archive == ANNOTATIONS else f"{top}/ with {COUNTS[top]:,} images"
    )


def _top(archive: str) -> str:
    return archive.partition("_")[0].removesuffix(".zip")
