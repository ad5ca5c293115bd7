"""Seconds per image of a run: measured in the profile's records, else published for the same model, else unknown.

Speeds are never scaled from one model to another: by multiply-adds such an estimate was wrong by a factor of up to 101.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reprolib.params import Run, Scale


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds per image of training and of evaluation, and where they are from."""

    train: float
    evaluate: float
    source: str


_DETECTRON2 = "detectron2 MODEL_ZOO.md, 8 GPUs, 16 images a step"
_NVIDIA = "NVIDIA DeepLearningExamples, Mask R-CNN for PyTorch, 1 GPU, 12 images a step, all of short side 800"
# By hardware and experiment, at COCO's published scale, per GPU: seconds of a step * GPUs / images of the step, or
# 1 / images per second.
PUBLISHED = {
    "NVIDIA V100, float32": {
        "coco-mask_rcnn_r50": Speed(train=0.261 * 8 / 16, evaluate=0.043, source=_DETECTRON2),
        "coco-mask_rcnn_r101": Speed(train=0.340 * 8 / 16, evaluate=0.056, source=_DETECTRON2),
        "coco-cascade_mask_rcnn_r50": Speed(train=0.328 * 8 / 16, evaluate=0.053, source=_DETECTRON2),
    },
    "NVIDIA A100 80GB, TF32": {"coco-mask_rcnn_r50": Speed(train=1 / 23, evaluate=1 / 24, source=_NVIDIA)},
    "NVIDIA A100 80GB, mixed float16": {"coco-mask_rcnn_r50": Speed(train=1 / 24, evaluate=1 / 24, source=_NVIDIA)},
}
PUBLISHED_SIZES = (1333, 800)  # limit of the long side, and short side of inference


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """What is known of one kind of hardware. records: those that were measured on it."""

    hardware: str
    on_gpu: bool
    records: tuple[Mapping, ...]

    def of(self, run: Run) -> Speed | None:
        """From records of the same experiment; else of the same system, backbone and data; else published; or None."""
        same = [record for record in self.records if record["experiment"] == run.experiment.id]
        if same:
            return _mean(same, "record")
        alike = [record for record in self.records if _describes(record, run)]
        if alike:
            return _mean(alike, "same system")
        sizes = (run.schedule.max_size, run.schedule.test_size)
        if not run.exact_data or run.scale != Scale() or sizes != PUBLISHED_SIZES:
            return None
        return PUBLISHED.get(self.hardware, {}).get(run.experiment.id)


def find_speeds(records: Mapping[str, Mapping], *, hardware: str = "") -> Speeds:
    """The speeds on one kind of hardware: on that of most records, or without records on that of most published speeds.

    records: of one profile, by run. hardware: part of another name. Raises ValueError where that names none or several.
    """
    timed = [r for r in records.values() if r["training"].get("images_per_second") and r["speed"]["images_per_second"]]
    measured = [recorded_hardware(record) for record in timed]
    if hardware:
        chosen = _by_name(hardware, {*measured, *PUBLISHED})
    elif measured:
        chosen = max(sorted(set(measured)), key=measured.count)
    else:
        chosen = max(PUBLISHED, key=lambda name: len(PUBLISHED[name]))
    here = tuple(record for record in timed if recorded_hardware(record) == chosen)
    on_gpu = any(str(record["training"]["device"]).startswith("cuda") for record in here) if here else True
    return Speeds(hardware=chosen, on_gpu=on_gpu, records=here)


def recorded_hardware(record: Mapping) -> str:
    """Hardware and precision of a record's training, for example `AMD EPYC, 1 thread, float32`.

    The record names the machine of the evaluation; the training is taken to have run on the same one.
    """
    on_gpu = str(record["training"]["device"]).startswith("cuda")
    precision = record["recipe"].get("precision", "float32") if on_gpu else "float32"
    return f"{record['speed']['hardware']}, {precision}"


def _by_name(part: str, names: set[str]) -> str:
    matching = sorted(name for name in names if part.lower() in name.lower())
    if len(matching) != 1:
        problem = "is ambiguous" if matching else "is not known"
        raise ValueError(f"--hardware {part!r} {problem}; there are: {'; '.join(matching or sorted(names))}")
    return matching[0]


def _describes(record: Mapping, run: Run) -> bool:
    """Whether a record is of the run's system with other components, at the run's scale."""
    names = (record["system"], record["backbone"], record["data"]["name"])
    return names == (run.experiment.system, run.experiment.backbone, run.dataset)


def _mean(records: list[Mapping], source: str) -> Speed:
    train, evaluate = (
        sum(1 / record[part]["images_per_second"] for record in records) / len(records)
        for part in ("training", "speed")
    )
    return Speed(train=train, evaluate=evaluate, source=source)
