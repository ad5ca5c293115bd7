"""SSDD: the official RAR, or a folder of what is in it, with its own labels or HQ-ISNet's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reprolib.data import ssdd
from reprolib.data.cards import CARDS
from reprolib.data.fetch import downloads, gather, given_files
from reprolib.data.prepared import Prepared
from reprolib.data.sets.common import SOURCE_OPTIONS, check_options, choice, converted
from reprolib.data.sets.unpacked import unpacked

OPTIONS = (*SOURCE_OPTIONS, "labels", "split")


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared | None:
    """options: split (`official`, 928/232, the default, or `own`, 812/348), labels (`official`, the default, or
    `hq_isnet`), from_archive (path or URL of the RAR, and of SSDD.json for `hq_isnet`), from_dir (what the RAR unpacks
    to; for `hq_isnet` any folder of the images). The split `val` is the test set."""
    check_options(name, options, known=OPTIONS)
    split, labels = choice(name, options, "split", ssdd.SPLITS), _labels(name, options)
    source, folder = root / name, _folder(name, labels, root)
    if not source.exists() or not ssdd.is_prepared(source, folder, contents=ssdd.LABELS[labels]()):
        return None
    return converted(name, images=ssdd.images_folder(source), annotations=folder / "annotations" / split, val="test")


def make(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    card, labels = CARDS[name], _labels(name, options)
    archive, annotations = card.files
    given, paths = given_files(card, options.get("from_archive")), {}
    if ssdd.LABELS[labels]().json:
        paths = gather(card, downloads(root, name), given=given, files=[annotations])
    source = unpacked(card, options, root=root, given=given, files=[archive])
    ssdd.convert(
        source,
        _folder(name, labels, root),
        contents=ssdd.LABELS[labels](),
        annotations=paths.get(annotations.name),
    )
    return find(name, options, root=root)


def _labels(name: str, options: Mapping[str, object]) -> str:
    return choice(name, options, "labels", tuple(ssdd.LABELS))


def _folder(name: str, labels: str, root: Path) -> Path:
    return root / (f"{name}_coco" if labels == "official" else f"{name}_{labels}_coco")
