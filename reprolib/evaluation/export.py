"""Detections in the format in which each benchmark takes submissions.

- `coco`: JSON list of results with masks as RLE, in a zip, both named as https://cocodataset.org/#upload asks.
- `lvis`: the same list, JSON, the best 300 of each image.
- `isaid`: the same list in a zip.
- `cityscapes`: a text file per image and a PNG per mask, in a zip (`reprolib.evaluation.export_cityscapes`).
- `bbbc038`: CSV of run lengths, masks without overlap (`reprolib.evaluation.export_bbbc038`).

Masks are ranked by `mask_score` where the model gives one. Files appear whole or not at all, and equal detections give
equal bytes.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from reprolib.evaluation.coco_inputs import EvaluationError, best_of_image, clean_detections, clean_ground_truth
from reprolib.evaluation.export_bbbc038 import MIN_SCORE, kaggle_rows
from reprolib.evaluation.export_cityscapes import submission_files
from reprolib.evaluation.lvis import MAX_DETECTIONS
from reprolib.files import write_atomic

SUFFIXES: Mapping[str, str] = MappingProxyType(
    {"coco": ".zip", "lvis": ".json", "isaid": ".zip", "cityscapes": ".zip", "bbbc038": ".csv"}
)
ZIP_TIME = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the earliest of zip, so that the bytes depend on the content alone


def export(
    format: str,
    ground_truth: Path | str | Mapping[str, object],
    detections: Sequence[Mapping[str, object]],
    out: str | Path,
    *,
    name: str,
    split: str = "val2017",
    min_score: float | None = None,
) -> Path:
    """Write a submission; returns its file.

    Args:
        format: one of `SUFFIXES`.
        ground_truth, detections: as in `reprolib.evaluation.coco.evaluate`, for masks; of the ground truth images and
            categories are read, and the annotations only checked.
        out: the file, or a folder (one that exists, or text that ends with a slash), where it is called after `name`.
        name: of the run; COCO's file names hold it.
        split: of COCO, as its file names say it.
        min_score: detections scored below are left out; by default of bbbc038, whose metric knows no scores, 0.5.

    Raises:
        EvaluationError: what the format cannot hold, by id.
    """
    if format not in SUFFIXES:
        raise EvaluationError(f"format must be one of {', '.join(SUFFIXES)}, not {format!r}")
    truth = clean_ground_truth(ground_truth, "segm", "json")
    least = (MIN_SCORE if format == "bbbc038" else 0.0) if min_score is None else min_score
    kept = [detection for detection in clean_detections(truth, detections, "segm") if detection["score"] >= least]
    plain = re.sub(r"[^\w.-]+", "-", name)
    inner = f"detections_{split}_{plain}_results" if format == "coco" else plain
    path = Path(out)
    if path.is_dir() or str(out).endswith("/"):
        path = path / f"{inner}{SUFFIXES[format]}"
    if format == "cityscapes":
        _write_zip(path, submission_files(truth, kept))
    elif format == "lvis":
        write_atomic(path, json.dumps(coco_results(best_of_image(kept, limit=MAX_DETECTIONS))))
    elif format == "bbbc038":
        rows = ["ImageId,EncodedPixels", *(f"{key},{runs}" for key, runs in kaggle_rows(truth, kept))]
        write_atomic(path, "\n".join(rows) + "\n")
    else:
        _write_zip(path, [(f"{inner}.json", json.dumps(coco_results(kept)).encode())])
    return path


def coco_results(detections: Iterable[Mapping]) -> list[dict[str, object]]:
    """Clean detections as COCO results of masks."""
    return [
        {
            "image_id": detection["image_id"],
            "category_id": detection["category_id"],
            "segmentation": {
                "size": list(detection["segmentation"]["size"]),
                "counts": _text(detection["segmentation"]["counts"]),
            },
            "score": detection["score"],
        }
        for detection in detections
    ]


def _text(counts: str | bytes) -> str:
    return counts if isinstance(counts, str) else counts.decode("ascii")


def _write_zip(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        with zipfile.ZipFile(part, "w") as archive:
            for name, content in files:
                stored = zipfile.ZipInfo(name, ZIP_TIME)
                # PNGs are compressed already
                stored.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
                archive.writestr(stored, content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
