"""Card of a folder of the user's own."""

from __future__ import annotations

from reprolib.data.card import Card

CARD = Card(
    name="custom",
    title="A COCO-format folder of yours",
    licence="not stated: a folder of yours",
    terms="as its source says",
    size="as on disk",
    citation="",
    how_to=(
        "`--from-dir FOLDER`, or in params.yaml `custom: {from_dir: FOLDER}`: annotations in annotations/ or beside the"
        " images, one JSON per split with train or val in its name; images in train/ and val/, in images/, or wherever"
        " their file_name starts. Any other layout, and any other name: {kind: coco_folder, train_images: PATH,"
        " train_annotations: PATH, val_images: PATH, val_annotations: PATH}."
    ),
    notes=("read where it is, nothing is copied", "crowds (iscrowd 1) are ignore regions"),
)

CARDS = (CARD,)
