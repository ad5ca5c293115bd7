"""What a prepared data set holds, as JSON for records and notebooks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

from reprolib.data import masks
from reprolib.data.catalog import Prepared
from reprolib.data.document import file_name, read_document
from reprolib.data.lint import SIZE_CLASSES, lint, size_class


def data_report(prepared: Prepared) -> dict:
    """Per split images, instances (crowds apart), classes, size classes, share of foreground pixels, lint
    findings and fingerprint; and one fingerprint over all splits.

    Where the lint finds errors, the description stops there for that split: its counts are null. Raises
    nothing.
    """
    splits = {}
    for name, split in prepared.splits.items():
        found = lint(split.annotations, split.images)
        entry = {
            "lint": {"errors": list(found.errors), "warnings": list(found.warnings), "counts": found.counts},
            "lint_text": found.text(),
            "fingerprint": None,
            "images": None,
            "instances": None,
            "crowds": None,
            "classes": None,
            "size_classes": None,
            "foreground": None,
        }
        if not found.errors:
            entry |= _describe(read_document(split.annotations))
            entry["fingerprint"] = fingerprint(split.annotations, split.images)
        splits[name] = entry
    together = json.dumps({name: entry["fingerprint"] for name, entry in splits.items()}, sort_keys=True)
    return {
        "name": prepared.name,
        "title": prepared.card.title,
        "licence": prepared.card.licence,
        "fingerprint": hashlib.sha256(together.encode()).hexdigest(),
        "splits": splits,
    }


def fingerprint(annotations: Path, images: Path) -> str:
    """sha256 over the annotation file's bytes and each image's name and size in bytes: equal wherever the set
    lies.

    Image bytes are not read; a changed image of unchanged size goes unnoticed. Raises DataError for a missing
    JSON.
    """
    document = read_document(annotations)
    digest = hashlib.sha256(Path(annotations).read_bytes())
    for name in sorted(file_name(image) for image in document["images"]):
        digest.update(f"{name}\0{(Path(images) / name).stat().st_size}\n".encode())
    return digest.hexdigest()


def _describe(document: dict) -> dict:
    names = {category["id"]: category["name"] for category in document["categories"]}
    instances, sizes, crowds = Counter(dict.fromkeys(names.values(), 0)), Counter(), 0
    rles: dict[int, list] = {image["id"]: [] for image in document["images"]}
    pixels_of = {image["id"]: (image["height"], image["width"]) for image in document["images"]}
    for annotation in document["annotations"]:
        if annotation.get("iscrowd"):
            crowds += 1
            continue
        height, width = pixels_of[annotation["image_id"]]
        rle, _ = masks.to_rle(annotation["segmentation"], height=height, width=width)
        if rle is None or not (area := float(masks.areas([rle])[0])):
            continue
        rles[annotation["image_id"]].append(rle)
        instances[names[annotation["category_id"]]] += 1
        sizes[size_class(area if annotation.get("area") is None else annotation["area"])] += 1
    covered = sum(masks.count_foreground(group) for group in rles.values())
    return {
        "images": len(document["images"]),
        "instances": sum(instances.values()),
        "crowds": crowds,
        "classes": dict(instances),
        "size_classes": {name: sizes[name] for name in SIZE_CLASSES},
        "foreground": covered / sum(height * width for height, width in pixels_of.values()),
    }
