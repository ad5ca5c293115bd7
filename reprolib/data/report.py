"""What a prepared data set holds, as JSON for records and notebooks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

from reprolib.data import masks
from reprolib.data.acquire import published
from reprolib.data.acquire.prepared import Prepared
from reprolib.data.document import file_name, read_document
from reprolib.data.foreground import count_by_band, shares
from reprolib.data.lint import SIZE_CLASSES, lint, size_class

# Field with the images of a split by foreground ratio -> field with their shares in the whole data set.
BY_RATIO = {
    "images_by_foreground_ratio": "foreground_ratio_share",
    "images_by_foreground_ratio_by_area": "foreground_ratio_share_by_area",
}
# What is known only of a split without lint errors.
DESCRIBED = ("fingerprint", "images", "instances", "crowds", "classes", "size_classes", "area", "published")
AREA = (
    "Size classes and COCO's evaluation go by the JSON's `area`, and by the mask's pixels where that is missing; sets"
    " that the suite converts have the mask's pixels there, other sources their own definition."
)


def data_report(prepared: Prepared) -> dict:
    """Per split images, instances (crowds apart), classes, size classes, share of foreground pixels, numbers of images
    by foreground ratio, lint findings and fingerprint; over all splits one fingerprint and the shares of images by
    foreground ratio, in percent.

    The foreground of an image are the pixels that at least one instance covers. `..._by_area` takes the sum of the
    JSON's `area` in its place, which differs where instances overlap and where a source counts areas its own way.

    Where the lint finds errors, the description stops there for that split: its counts are null, and so are the
    shares. Raises nothing.

    area_definition, and per split `area`: which area the numbers are taken by, and how many instances' differ from the
    pixels of their masks, how many of these fall into another size class, and by how many px on average over all.
    published, per split, and published_together: what `reprolib.data.acquire.published.compare` finds, None where
    the card publishes nothing; published_text: the same in lines. What is compared are `published.counts_of`,
    with crowds.
    """
    splits, counts = {}, {}
    for name, split in prepared.splits.items():
        linted = lint(split.annotations, split.images)
        entry = {
            "lint": {"errors": list(linted.errors), "warnings": list(linted.warnings), "counts": linted.counts},
            "lint_text": linted.text(),
            **dict.fromkeys((*DESCRIBED, "foreground", *BY_RATIO)),
        }
        if not linted.errors:
            document = read_document(split.annotations)
            entry |= _describe(document)
            entry["fingerprint"] = fingerprint(split.annotations, split.images)
            counts[name] = published.counts_of(document)
            if of_card := published.card_split(prepared.card, name, split.annotations):
                entry["published"] = published.compare(prepared.card.splits[of_card], counts[name])
        splits[name] = entry
    compared = {name: splits[name]["published"] for name in counts}
    both = next((name for name in published.TOGETHER if name in prepared.card.splits), None)
    if both and len(counts) == len(splits):
        compared["together"] = published.compare(prepared.card.splits[both], published.sum_of(counts.values()))
    together = json.dumps({name: entry["fingerprint"] for name, entry in splits.items()}, sort_keys=True)
    return {
        "name": prepared.name,
        "title": prepared.card.title,
        "licence": prepared.card.licence,
        "area_definition": AREA,
        "published_together": compared.get("together"),
        "published_text": published.lines(compared),
        "fingerprint": hashlib.sha256(together.encode()).hexdigest(),
        **{share: _shares([entry[count] for entry in splits.values()]) for count, share in BY_RATIO.items()},
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


def _shares(counts: list[dict[str, int] | None]) -> dict[str, float] | None:
    return None if None in counts else shares(counts)


def _describe(document: dict) -> dict:
    names = {category["id"]: category["name"] for category in document["categories"]}
    instances, sizes, crowds = Counter(dict.fromkeys(names.values(), 0)), Counter(), 0
    rles: dict[int, list] = {image["id"]: [] for image in document["images"]}
    stated = dict.fromkeys(rles, 0.0)  # sum of the JSON's areas
    other, other_class, excess = 0, 0, 0.0  # of the JSON's area against the mask's pixels
    pixels_of = {image["id"]: (image["height"], image["width"]) for image in document["images"]}
    for annotation in document["annotations"]:
        if annotation.get("iscrowd"):
            crowds += 1
            continue
        height, width = pixels_of[annotation["image_id"]]
        rle, _ = masks.to_rle(annotation["segmentation"], height=height, width=width)
        if rle is None or not (pixels := float(masks.areas([rle])[0])):
            continue
        rles[annotation["image_id"]].append(rle)
        instances[names[annotation["category_id"]]] += 1
        area = pixels if annotation.get("area") is None else annotation["area"]
        other += area != pixels
        other_class += size_class(area) != size_class(pixels)
        excess += area - pixels
        stated[annotation["image_id"]] += area
        sizes[size_class(area)] += 1
    covered = {number: masks.count_foreground(group) for number, group in rles.items()}
    whole = {number: height * width for number, (height, width) in pixels_of.items()}
    return {
        "images": len(document["images"]),
        "instances": sum(instances.values()),
        "crowds": crowds,
        "classes": dict(instances),
        "size_classes": {name: sizes[name] for name in SIZE_CLASSES},
        "area": {
            "other_than_mask": other,
            "other_size_class": other_class,
            "mean_excess": excess / max(1, instances.total()),
        },
        "foreground": sum(covered.values()) / sum(whole.values()),
        "images_by_foreground_ratio": count_by_band(covered[number] / whole[number] for number in whole),
        "images_by_foreground_ratio_by_area": count_by_band(stated[number] / whole[number] for number in whole),
    }
