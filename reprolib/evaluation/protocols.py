"""By which rules detections are scored: those that the data set's card names, or `protocol_for` in params.yaml.

- `coco`: COCO's rules for boxes and masks (`reprolib.evaluation.coco`), by pycocotools.
- `bbbc038`: the same with at least 400 detections per image and class, since images show up to 375 nuclei.
- `isaid`: the same as the data set's own kit changes it: 1,000 detections, and other bounds of small, medium and large.
- `lvis`: LVIS's federated rules for both (`reprolib.evaluation.lvis`).
- `cityscapes`: the benchmark's own rules for masks (`reprolib.evaluation.cityscapes`); for boxes, which it does not
  score, and for precision over recall, COCO's.

Boundary AP is COCO's matching under all of them but LVIS, whose unannotated objects it would count as wrong; the trimap
measure looks at annotated objects only and is always there.

`area` says whose area makes an object small, medium or large: the annotation's own (`json`, the default, as the
benchmarks' tools do, so that numbers are comparable with published ones) or its mask's pixels (`mask`).
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from reprolib.evaluation.boundary import evaluate_boundary
from reprolib.evaluation.cityscapes import OFFICIAL, evaluate_cityscapes, read_void
from reprolib.evaluation.coco import COCO_SIZES, Area, accumulate
from reprolib.evaluation.coco_inputs import EvaluationError
from reprolib.evaluation.lvis import MAX_DETECTIONS, accumulate_lvis, check_federated
from reprolib.evaluation.matches import Matches
from reprolib.evaluation.trimap import evaluate_trimap

IOU_TYPES = ("bbox", "segm")
ISAID_SIZES = (10**2, 144**2, 512**2)  # px, of iSAID's own development kit


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """max_detections: how many count at least, of an image and class (LVIS: of an image; boxes of Cityscapes).

    sizes: areas in px from which an object is small, medium and large.
    """

    name: str
    rules: Literal["coco", "lvis", "cityscapes"] = "coco"
    max_detections: int = 100
    sizes: tuple[float, float, float] = COCO_SIZES

    def limit(self, detections: int) -> int:
        """How many detections count where a model gives up to `detections` per image."""
        return self.max_detections if self.rules == "lvis" else max(self.max_detections, detections)


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            Protocol(name="coco"),
            Protocol(name="bbbc038", max_detections=400),
            Protocol(name="isaid", max_detections=1000, sizes=ISAID_SIZES),
            Protocol(name="lvis", rules="lvis", max_detections=MAX_DETECTIONS),
            Protocol(name="cityscapes", rules="cityscapes"),
        )
    }
)


def find_protocol(name: str) -> Protocol:
    """The protocol called `name`; raises EvaluationError naming the known ones."""
    if name not in PROTOCOLS:
        raise EvaluationError(f"protocol {name!r} is unknown; known are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """metrics: percent or None by `<iou type>/<metric>`. curves: as `Accumulated.curves`, of both IoU types.
    protocol: the record's entry. matches: of the IoU types that are scored by COCO's rules."""

    metrics: Mapping[str, float | None]
    curves: Mapping[str, list[float]]
    protocol: Mapping[str, object]
    matches: Mapping[str, Matches]


def check(protocol: Protocol, ground_truth: Mapping[str, object], *, images: Path) -> None:
    """Raise at once what `score` would raise of the ground truth, before hours of detection."""
    if protocol.rules == "lvis":
        check_federated(ground_truth, where="ground truth")
    elif protocol.rules == "cityscapes":
        read_void(images, ground_truth)


def score(
    protocol: Protocol,
    ground_truth: Mapping[str, object],
    detections: Sequence[Mapping[str, object]],
    *,
    images: Path,
    limit: int,
    area: Area = "json",
) -> Scores:
    """Score boxes, masks and masks' boundaries.

    Args:
        ground_truth, detections, area: as in `reprolib.evaluation.coco.evaluate`.
        images: the folder from where `file_name` starts; Cityscapes' void regions lie beside it.
        limit: from `Protocol.limit`.

    Raises:
        EvaluationError: what cannot be evaluated, by file and id.
    """
    metrics: dict[str, float | None] = {}
    curves: dict[str, list[float]] = {}
    matches: dict[str, Matches] = {}
    official = protocol.rules == "cityscapes"
    for iou_type in IOU_TYPES:
        if protocol.rules == "lvis":
            matched = accumulate_lvis(ground_truth, detections, iou_type, area=area)
        else:
            # Metrics come from pycocotools, the reference; where only a curve is drawn the fast backend is enough.
            backend = "hotcoco" if official and iou_type == "segm" else "pycocotools"
            matched = accumulate(
                ground_truth,
                detections,
                iou_type,
                backend=backend,
                max_detections=limit,
                area=area,
                sizes=protocol.sizes,
                keep_matches=not (official and iou_type == "segm"),
            )
        if matched.matches:
            matches[iou_type] = matched.matches
        if not (official and iou_type == "segm"):
            metrics |= matched.metrics()
        curves |= matched.curves()
    if official:
        metrics |= evaluate_cityscapes(ground_truth, detections, void=read_void(images, ground_truth))
    if protocol.rules != "lvis":
        metrics |= evaluate_boundary(ground_truth, detections, max_detections=limit)
    metrics |= evaluate_trimap(ground_truth, detections, max_detections=limit)
    entry = {
        "name": protocol.name,
        "version": version(protocol),
        "area": area,
        "max_detections": None if official else limit,
    }
    return Scores(metrics=metrics, curves=curves, protocol=entry, matches=matches)


def version(protocol: Protocol) -> str:
    """Whose matching decides the numbers, with its version."""
    package = "hotcoco" if protocol.rules == "lvis" else "pycocotools"
    text = f"{package} {importlib.metadata.version(package)}"
    return f"{OFFICIAL}; boxes {text}" if protocol.rules == "cityscapes" else text
