"""SSDD under two names, one per split: the official RAR, or a folder of what is in it, with its own labels or
HQ-ISNet's. What is fetched, unpacked and converted serves both names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reprolib.data.acquire.fetch import downloads, gather, given_files
from reprolib.data.acquire.options import SOURCE_OPTIONS, check_options, choice
from reprolib.data.acquire.prepared import Prepared, converted
from reprolib.data.acquire.source_folder import lock, source_folder
from reprolib.data.cards import CARDS
from reprolib.data.sets.ssdd import convert as ssdd

SOURCE = "ssdd"  # of both names
SPLITS = {"ssdd": "official", "ssdd_7_3": "own"}  # by name: 928/232 and 812/348
OPTIONS = (*SOURCE_OPTIONS, "labels")


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared | None:
    """options: labels (`official`, the default, or `hq_isnet`), from_archive (path or URL of the RAR, and of SSDD.json
    for `hq_isnet`), from_dir (what the RAR unpacks to; for `hq_isnet` any folder of the images). The split `val` is the
    test set."""
    check_options(name, options, known=OPTIONS)
    labels = _labels(name, options)
    source, folder = root / SOURCE, _folder(labels, root)
    if not source.exists() or not ssdd.is_prepared(source, folder, contents=ssdd.LABELS[labels]()):
        return None
    annotations = folder / "annotations" / SPLITS[name]
    return converted(CARDS[name], images=ssdd.images_folder(source), annotations=annotations, val="test")


def make(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    with lock(root, f"{SOURCE}_source"):
        if prepared := find(name, options, root=root):  # made under the other name meanwhile
            return prepared
        card, labels = CARDS[SOURCE], _labels(name, options)
        archive, annotations = card.files
        given, paths = given_files(card, options.get("from_archive")), {}
        if ssdd.LABELS[labels]().json:
            paths = gather(card, downloads(root, SOURCE), given=given, files=[annotations])
        source = source_folder(card, options, root=root, given=given, files=[archive])
        ssdd.convert(
            source,
            _folder(labels, root),
            contents=ssdd.LABELS[labels](),
            annotations=paths.get(annotations.name),
        )
    return find(name, options, root=root)


def _labels(name: str, options: Mapping[str, object]) -> str:
    return choice(name, options, "labels", tuple(ssdd.LABELS))


def _folder(labels: str, root: Path) -> Path:
    return root / (f"{SOURCE}_coco" if labels == "official" else f"{SOURCE}_{labels}_coco")
