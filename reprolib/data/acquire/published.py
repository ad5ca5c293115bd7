"""A prepared data set's counts beside those that its card publishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from reprolib.data.card import Card

TOGETHER = ("all", "train and val")  # names in a card for train and val together
OFFICIAL = "official"
Counts = Mapping[str, object]  # images, instances (int) and classes: name -> int


def card_split(card: Card, name: str, annotations: Path) -> str | None:
    """The name in the card of the split `name` with this annotation file, None where it publishes nothing of it.

    Converters with several splits write `annotations/<split>/<part>.json`: the card calls these `<split> <name>`, and
    the parts of the official split `<part>`. Other files are called `<name>` only.
    """
    annotations = Path(annotations)
    split = annotations.parent.name if annotations.parent.parent.name == "annotations" else ""
    names = [f"{split} {name}"] if split and split != OFFICIAL else [annotations.stem, name]
    return next((split for split in names if split in card.splits), None)


def compare(published: Mapping[str, int], prepared: Counts) -> dict[str, dict[str, int | None]]:
    """What the card publishes -> {"published", "found", "difference"}; the difference is found minus published.

    published: "images" and "instances"; any other key is a class, for its number of instances. Where the set has no
    class of that name, found and difference are None.
    """
    compared = {}
    for key, count in published.items():
        actual = prepared[key] if key in ("images", "instances") else prepared["classes"].get(key)
        difference = None if actual is None else actual - count
        compared[key] = {"published": count, "found": actual, "difference": difference}
    return compared


def lines(compared: Mapping[str, Mapping[str, Mapping[str, int | None]] | None]) -> list[str]:
    """A line for each number of each split, for people. compared: by split; None: nothing is published of it."""
    if not any(compared.values()):
        return ["no counts are published of this set"]
    texts = []
    for split, counts in compared.items():
        if not counts:
            texts.append(f"{split}: no counts are published")
            continue
        for key, numbers in counts.items():
            published, difference = numbers["published"], numbers["difference"]
            if difference is None:
                state = f"{published:,} published, no such class in this set"
            elif difference:
                state = f"{numbers['found']:,}, differs by {difference:+,} from the {published:,} published"
            else:
                state = f"{published:,}, as published"
            texts.append(f"{split}: {key} {state}")
    return texts


def counts_of(document: Mapping[str, object]) -> dict[str, object]:
    """A split's images, instances and instances by class, as publications count them: crowds included, and, where its
    converter counted them in `info`, before the images were cut into tiles."""
    info = document.get("info")
    source = info.get("source") if isinstance(info, dict) else None
    if isinstance(source, dict) and {"images", "instances", "classes"} <= source.keys():
        return source
    names = {category["id"]: category["name"] for category in document["categories"]}
    classes = dict.fromkeys(names.values(), 0)
    for annotation in document["annotations"]:
        classes[names[annotation["category_id"]]] += 1
    return {"images": len(document["images"]), "instances": len(document["annotations"]), "classes": classes}


def sum_of(counts: Iterable[Counts]) -> dict[str, object]:
    """The counts of several splits together."""
    whole, classes = Counter(images=0, instances=0), Counter()
    for split in counts:
        whole.update(images=split["images"], instances=split["instances"])
        classes.update(split["classes"])
    return {**whole, "classes": dict(classes)}
