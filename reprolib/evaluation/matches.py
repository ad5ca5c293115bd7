"""What COCO's AP is accumulated from, image by image: scores, matches and what is ignored, kept beside a record.

From these the AP on any resample of the images follows exactly, without matching again
(`reprolib.evaluation.bootstrap`). Protocols that COCO's accumulation does not follow (LVIS, masks of Cityscapes) keep
none: intervals there come from seeds alone. Imports no torch.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from reprolib.files import write_atomic

THRESHOLDS = 10  # IoU 0.50, 0.55, ... 0.95


class MatchesError(ValueError):
    """A file of matches that cannot be read; the message names it and the mend."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The matching of one run's detections for one IoU type.

    Detections stand by class, then by image, then by falling score as COCO's evaluation ranks them; only those that
    count (the highest-scoring of image and class) are there.

    class_names: K strings by ascending category id. image_ids: [N] ascending.
    objects: uint16 [K, A, N], annotated objects that are not ignored; A areas: all, small, medium, large.
    offsets: int64 [K + 1], where each class begins among the D detections.
    image: int32 [D], index into image_ids. score: float64 [D].
    matched, ignored: uint16 [A, D], one bit per IoU threshold, the lowest for 0.50.
    """

    class_names: np.ndarray
    image_ids: np.ndarray
    objects: np.ndarray
    offsets: np.ndarray
    image: np.ndarray
    score: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray

    @property
    def fingerprint(self) -> str:
        """Of the images and their annotations: runs with equal ones can be resampled together."""
        text = hashlib.sha256("\n".join(self.class_names.tolist()).encode())
        for values in (self.image_ids, self.objects):
            text.update(np.ascontiguousarray(values).tobytes())
        return text.hexdigest()[:16]


def read_matches(
    evaluated: Iterable[Mapping | None],
    *,
    image_ids: Sequence[int],
    categories: Sequence[Mapping],
    areas: Sequence[Sequence[float]],
) -> Matches:
    """Collect the `evalImgs` of pycocotools' or hotcoco's COCOeval after `evaluate`.

    Args:
        image_ids: of all images, also of those without objects. categories: COCO's, by ascending id. areas: A ranges.
    """
    ids = np.unique(np.asarray(list(image_ids), dtype=np.int64))
    position = {int(image_id): index for index, image_id in enumerate(ids)}
    class_of = {category["id"]: index for index, category in enumerate(categories)}
    area_of = {(float(low), float(high)): index for index, (low, high) in enumerate(areas)}
    objects = np.zeros((len(categories), len(areas), len(ids)), dtype=np.uint16)
    collected: dict[tuple[int, int], list] = {}
    for entry in evaluated:
        if entry is None:
            continue
        place = (class_of[entry["category_id"]], position[int(entry["image_id"])])
        area = area_of[tuple(map(float, entry["aRng"]))]
        objects[place[0], area, place[1]] = len(entry["gtIgnore"]) - np.count_nonzero(entry["gtIgnore"])
        if len(entry["dtScores"]):
            _, bits = collected.setdefault(place, (entry["dtScores"], [None] * len(areas)))
            bits[area] = (_bits(entry["dtMatches"]), _bits(entry["dtIgnore"]))
    order = sorted(collected)
    counts = [len(collected[place][0]) for place in order]
    per_class = np.bincount(
        np.repeat([place[0] for place in order], counts).astype(np.int64), minlength=len(categories)
    )

    def concatenate_bits(which: int, area: int) -> np.ndarray:
        return np.concatenate([np.zeros(0, np.uint16), *(collected[place][1][area][which] for place in order)])

    return Matches(
        class_names=np.array([str(category["name"]) for category in categories], dtype=np.str_),
        image_ids=ids,
        objects=objects,
        offsets=np.concatenate([[0], per_class.cumsum()]).astype(np.int64),
        image=np.repeat([place[1] for place in order], counts).astype(np.int32),
        score=np.concatenate([np.zeros(0), *(collected[place][0] for place in order)]),
        matched=np.stack([concatenate_bits(0, area) for area in range(len(areas))]),
        ignored=np.stack([concatenate_bits(1, area) for area in range(len(areas))]),
    )


def matches_path(results: str | Path, run: str) -> Path:
    """Where the matches of a run are, below `results/<profile>`."""
    return Path(results) / "matches" / f"{run}.npz"


def write_matches(path: str | Path, matches: Mapping[str, Matches]) -> None:
    """Write matches by IoU type, none of them too; equal matches give equal bytes."""
    arrays = {
        f"{iou_type}_{field.name}": getattr(of_type, field.name)
        for iou_type, of_type in matches.items()
        for field in fields(of_type)
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, iou_types=np.array(sorted(matches), dtype=np.str_), **arrays)
    write_atomic(path, buffer.getvalue())


def load_matches(path: str | Path) -> dict[str, Matches]:
    """Matches by IoU type, empty where the protocol keeps none. Raises MatchesError for a file that is none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {
                str(iou_type): Matches(**{field.name: arrays[f"{iou_type}_{field.name}"] for field in fields(Matches)})
                for iou_type in arrays["iou_types"]
            }
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise MatchesError(f"{path}: no file of matches ({error}); evaluate the run again") from None


def _bits(flags: object) -> np.ndarray:
    """[10, D] as uint16 [D]."""
    flags = np.asarray(flags) != 0
    return (flags.astype(np.uint16) << np.arange(THRESHOLDS, dtype=np.uint16)[:, None]).sum(axis=0, dtype=np.uint16)
