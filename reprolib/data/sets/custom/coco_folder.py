"""A set of the user's own by its paths: `kind: coco_folder` in params.yaml, under any name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reprolib.data.acquire.options import SEMANTIC_OPTION, check_options, given_semantic
from reprolib.data.acquire.prepared import SPLITS, Prepared, Split
from reprolib.data.card import Card
from reprolib.data.cards import CARDS
from reprolib.data.errors import DataError

FOLDER_OPTIONS = ("train_images", "train_annotations", "val_images", "val_annotations")
HINT = "kind: coco_folder, " + ", ".join(f"{option}: PATH" for option in FOLDER_OPTIONS)


def find(name: str, options: Mapping[str, object], *, root: Path) -> Prepared:
    """options: train_images, train_annotations, val_images, val_annotations (paths), and optionally train_semantic, a
    folder of class maps for HTC's and SCNet's semantic branch; read where they are."""
    check_options(name, options, known=(*FOLDER_OPTIONS, SEMANTIC_OPTION), required=FOLDER_OPTIONS)
    semantic = given_semantic(name, options)
    for option in FOLDER_OPTIONS:
        path = Path(str(options[option]))
        if option.endswith("images") and not path.is_dir():
            raise DataError(f"data set {name}: {option}: {path} is no folder; give the one `file_name` starts from")
        if option.endswith("annotations") and not path.is_file():
            raise DataError(f"data set {name}: {option}: {path} is no file; give the COCO-format JSON")
    splits = {
        split: Split(
            images=Path(str(options[f"{split}_images"])),
            annotations=Path(str(options[f"{split}_annotations"])),
            semantic=semantic if split == "train" else None,
        )
        for split in SPLITS
    }
    return Prepared(name=name, splits=splits, card=CARDS.get(name) or _card(name))


def _card(name: str) -> Card:
    own = CARDS["custom"]
    return Card(name=name, title=name, licence=own.licence, terms=own.terms, size=own.size, citation="")


make = find
