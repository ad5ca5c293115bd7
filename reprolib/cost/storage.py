"""Bytes that data sets and weights take: on disk, and over the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reprolib.cost.work import Counts
from reprolib.data.card import File
from reprolib.data.cards import CARDS
from reprolib.data.listing import PREPARED, state
from reprolib.data.sets.bbbc038 import prepare as bbbc038
from reprolib.data.sets.common import SOURCE_OPTIONS
from reprolib.data.sets.generated.prepare import FAMILIES
from reprolib.engine.checkpoint import KEEP
from reprolib.params import Schedule

BYTES = 4  # of a float32
COPIES = 3  # of a run's weights: results/, its last checkpoint in work/, DVC's cache (one fewer where it can link)
SCENE_BYTES_PER_PIXEL = 20_000 / 128**2  # of a generated scene, as its card says


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one source of a data set takes. files: fetched and kept; unpacked: written beside them, None: not known."""

    name: str
    files: tuple[File, ...]
    unpacked: int | None


def data_parts(name: str, options: Mapping[str, object]) -> tuple[Part, ...]:
    """The sources of a prepared data set; two data sets that share one name it equally."""
    if options.get("kind") or name not in CARDS or any(options.get(option) for option in SOURCE_OPTIONS):
        return (Part(name=name, files=(), unpacked=None if name not in FAMILIES else 0),)
    card = CARDS[name]
    if name in FAMILIES:
        images = int(options.get("train", 0)) + int(options.get("val", 0))
        scenes = round(images * SCENE_BYTES_PER_PIXEL * int(options.get("size", 0)) ** 2)
        return (Part(name=name, files=(), unpacked=scenes),)
    files = card.files
    if name == "bbbc038":
        files = (bbbc038.FILES[str(options.get("annotations", next(iter(bbbc038.FILES))))],)
    if name == "ssdd" and options.get("labels") != "hq_isnet":
        files = files[:1]
    own = Part(name="cityscapes" if name == "cityscapes_5" else name, files=files, unpacked=card.unpacked_bytes or None)
    return (own, *data_parts("coco", {})) if name == "lvis" else (own,)


def is_prepared(name: str, options: Mapping[str, object]) -> bool:
    """Whether this machine has it ready, or makes it without fetching anything."""
    return name in FAMILIES or state(name, options) == PREPARED


def download_bytes(parts: Iterable[Part]) -> tuple[int, list[str]]:
    """What has to be fetched, each file once, and the names of the files whose size nobody says."""
    files = {file for part in parts for file in part.files}
    unknown = sorted(file.name for file in files if not (file.bytes or file.about_bytes))
    return sum(file.bytes or file.about_bytes for file in files), unknown


def unpacked_bytes(parts: Iterable[Part]) -> tuple[int, list[str]]:
    """What is written beside the files, each source once, and the names of the sources of which it is not known."""
    once = {part.name: part.unpacked for part in parts}
    return sum(size or 0 for size in once.values()), sorted(name for name, size in once.items() if size is None)


def weights_bytes(counts: Counts) -> int:
    """What a finished run's weights take, all copies."""
    return COPIES * BYTES * counts.params


def training_bytes(counts: Counts, schedule: Schedule) -> int:
    """What a run under way takes in checkpoints: weights and the optimiser's state, the newest ones."""
    state = 2 if schedule.optimizer == "adamw" else int(bool(schedule.momentum))
    return KEEP * BYTES * (counts.params + state * counts.trainable_params)
