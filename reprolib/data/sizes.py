"""How large a data set is that may not be here yet: images of its splits, bytes to download and bytes on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reprolib.data.acquire.conversion import split_names
from reprolib.data.acquire.options import SOURCE_OPTIONS
from reprolib.data.card import File
from reprolib.data.cards import CARDS
from reprolib.data.listing import ON_DEMAND, PREPARED, state


@dataclass(frozen=True, kw_only=True)
class SplitSizes:
    """Images of the two splits, None where nothing says it, and where the counts come from."""

    train: int | None
    val: int | None
    source: str


def split_sizes(name: str, options: Mapping[str, object], report: Mapping | None = None) -> SplitSizes:
    """Images to train and to evaluate on: of the prepared data set's report, else as the card publishes them."""
    if report is not None:
        splits = report["splits"]
        # Training leaves out images without an object.
        empty = splits["train"]["lint"]["counts"].get("images without annotation", 0)
        return SplitSizes(train=splits["train"]["images"] - empty, val=splits["val"]["images"], source="prepared data")
    if name not in CARDS:
        return SplitSizes(train=None, val=None, source="unknown: no card and not prepared")
    card = CARDS[name]
    if card.generated:
        return SplitSizes(train=options.get("train"), val=options.get("val"), source="params.yaml")
    if card.prepared_images:
        return SplitSizes(**card.prepared_images, source="card: images after preparation")
    published = {split: counts["images"] for split, counts in card.splits.items() if "images" in counts}
    split = str(options.get("split", ""))
    for prefix in (f"{split} ", "") if split else ("",):
        train, val = published.get(f"{prefix}train"), published.get(f"{prefix}val", published.get(f"{prefix}test"))
        if train and val and (prefix or split in ("", "official")):
            return SplitSizes(train=train, val=val, source="card")
    total = published.get("all") or published.get("train and val")
    for listed in (f"{name}_{split}_val", f"{name}_{split}_test", f"{name}_val"):
        try:
            val = len(split_names(listed))
        except FileNotFoundError:
            continue
        if total and (split in listed):
            return SplitSizes(train=total - val, val=val, source="card and the suite's split")
    return SplitSizes(train=None, val=None, source="unknown: not prepared, and its card does not count this split")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a source of a data set takes. files: fetched and kept; unpacked: written beside them, None: not known."""

    name: str
    files: tuple[File, ...]
    unpacked: int | None


def data_sources(name: str, options: Mapping[str, object]) -> tuple[Source, ...]:
    """The sources of a prepared data set; two data sets that share one name it equally."""
    if options.get("kind") or name not in CARDS or any(options.get(option) for option in SOURCE_OPTIONS):
        return (Source(name=name, files=(), unpacked=None),)
    card = CARDS[name]
    if card.generated:
        images = int(options.get("train", 0)) + int(options.get("val", 0))
        scenes = round(images * card.scene_bytes_per_pixel * int(options.get("size", 0)) ** 2)
        return (Source(name=name, files=(), unpacked=scenes),)
    own = Source(name=card.files_owner, files=card.files_for(options), unpacked=card.unpacked_bytes or None)
    return (own, *(source for needed in card.needs for source in data_sources(needed, {})))


def is_prepared(name: str, options: Mapping[str, object]) -> bool:
    """Whether this machine has it ready, or makes it without fetching anything."""
    return state(name, options) in (PREPARED, ON_DEMAND)


def download_bytes(sources: Iterable[Source]) -> tuple[int, list[str]]:
    """What has to be fetched, each file once, and the names of the files of unknown size."""
    files = {file for source in sources for file in source.files}
    unknown = sorted(file.name for file in files if not (file.bytes or file.about_bytes))
    return sum(file.bytes or file.about_bytes for file in files), unknown


def unpacked_bytes(sources: Iterable[Source]) -> tuple[int, list[str]]:
    """What is written beside the files, each source once, and the names of the sources of which it is not known."""
    once = {source.name: source.unpacked for source in sources}
    return sum(size or 0 for size in once.values()), sorted(name for name, size in once.items() if size is None)
