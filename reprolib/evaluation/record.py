"""The record: the JSON that one run leaves, from which every reproduced number is shown.

`RECORD_SCHEMA` documents it field by field, in words of JSON Schema: type, properties (all required unless
`optional` names them, no others allowed), additionalProperties, items, minimum, const, description. Numbers
are finite: JSON has no NaN, and a table must not average one.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reprolib.evaluation.environment import environment, git_state
from reprolib.files import write_json
from reprolib.models.systems.inferred import inferred

if TYPE_CHECKING:
    from reprolib.params import Run

SCHEMA_VERSION = 1


class RecordError(ValueError):
    """A record that cannot be trusted; the message names the file, the field and the mend."""


def _field(kind: str | list[str], description: str, **more: object) -> dict[str, object]:
    return {"type": kind, "description": description, **more}


def _object(description: str, optional: tuple[str, ...] = (), **properties: object) -> dict[str, object]:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "optional": list(optional),
    }


def _mapping(description: str, values: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "description": description, "additionalProperties": values}


_COUNT = {"minimum": 0}
_NUMBER = {"type": "number"}

RECORD_SCHEMA: Mapping[str, object] = _object(
    "One run: an experiment executed with one seed under one profile.",
    optional=("inferred", "protocol"),
    schema=_field("integer", "version of this schema", const=SCHEMA_VERSION),
    run=_field("string", "run id, <experiment id>-<seed>; also the file's name"),
    experiment=_field("string", "experiment id"),
    seed=_field("integer", "random seed of initialisation, sampling and augmentation"),
    profile=_field("string", "profile of params.yaml: how big the run was"),
    system=_field("string", "the system as publications print it"),
    inferred=_field("string", "what is assumed about the system's design; absent where it is published"),
    components=_field("array", "switched-on components, in the paper's order", items={"type": "string"}),
    backbone=_field("string", "timm name of the published backbone; what ran instead is in recipe.backbones"),
    dataset=_field("string", "the published data set"),
    data=_object(
        "The data that was evaluated on.",
        name=_field("string", "the prepared data set that was read"),
        exact=_field("boolean", "whether that is the published data set, not a stand-in"),
        split=_field("string", "split that was evaluated on, e.g. val"),
        images=_field("integer", "images in that split", **_COUNT),
        instances=_field("integer", "annotated objects in that split", **_COUNT),
        fingerprint=_field("string", "sha256 over annotations and image list"),
    ),
    protocol=_object(
        "How the detections were scored (reprolib.evaluation.protocols); absent: coco, area json.",
        name=_field("string", "coco, bbbc038, isaid, lvis or cityscapes"),
        version=_field("string", "the package whose matching decides the numbers, with its version"),
        area=_field("string", "whose area makes an object small, medium or large: json (the annotation's) or mask"),
        max_detections=_field(
            ["integer", "null"],
            "how many count, of an image and class (lvis: of an image); null: all, of cityscapes' masks",
            minimum=1,
        ),
    ),
    metrics=_mapping(
        "in percent; null where the ground truth has no such object. bbox/..., segm/...: <metric>[/<class>] by the"
        " protocol; boundary/...: AP by Boundary IoU; trimap_accuracy/<w>, trimap_pixel_accuracy/<w>: within w px of"
        " boundaries; oracle/...: missed instances prompted by the ground truth's boxes, by COCO's rules",
        _field(["number", "null"], "percent"),
    ),
    precision_recall=_mapping(
        "averaged over classes: `recall` (101 values) and <iou type>/50, <iou type>/75 (as many, or none)",
        _field("array", "0..1", items=_NUMBER),
    ),
    cost=_object(
        "Size and work of the model that was evaluated (see reprolib.evaluation.cost for the counting rules).",
        params=_field("integer", "all parameters", **_COUNT),
        trainable_params=_field("integer", "parameters that receive gradients", **_COUNT),
        params_frozen_norm_excluded=_field("integer", "all but the affine of frozen norms", **_COUNT),
        flops=_field(["integer", "null"], "multiply-adds of one image; null: not counted", **_COUNT),
        flops_input=_field(["array", "null"], "[height, width] of that image", items={"type": "integer"}),
        proposals=_field(["integer", "null"], "RoIs that the box head saw in that count", **_COUNT),
        detections=_field(["integer", "null"], "RoIs that the mask head saw in that count", **_COUNT),
    ),
    speed=_object(
        "Inference speed.",
        images_per_second=_field("number", "images per second of wall time", **_COUNT),
        batch_size=_field("integer", "images per forward pass", minimum=1),
        hardware=_field("string", "product name of the GPU or the CPU"),
        device=_field("string", "torch device, e.g. cpu or cuda"),
        includes=_field("string", "what the clock saw, e.g. resize, network, paste, RLE"),
    ),
    training=_object(
        "How the weights came about.",
        optional=(
            "seconds_total",
            "peak_memory_mb",
            "images_per_second",
            "loader_images_per_second",
            "step_images_per_second",
            "data_share",
            "processes",
        ),
        iterations=_field("integer", "optimiser steps", **_COUNT),
        images_seen=_field("integer", "images through the network, repeats counted", **_COUNT),
        seconds=_field("number", "wall time of the last process that trained", **_COUNT),
        seconds_total=_field("number", "wall time of all processes, resumed ones included", **_COUNT),
        final_losses=_mapping("last logged losses by name", _field(["number", "null"], "loss")),
        device=_field("string", "torch device, e.g. cpu or cuda"),
        peak_memory_mb=_field(["number", "null"], "peak of the GPU's memory, MiB; null on CPU", **_COUNT),
        images_per_second=_field(["number", "null"], "training throughput", **_COUNT),
        loader_images_per_second=_field("number", "what the processes that read images could deliver", **_COUNT),
        step_images_per_second=_field("number", "what the steps could do if data were always there", **_COUNT),
        data_share=_field("number", "of the time, 0..1: the training process stood still for data", **_COUNT),
        processes=_field("integer", "processes that trained together, at last", minimum=1),
    ),
    recipe=_object(
        "Schedule and Scale of the run, field by field (reprolib.params); they grow, so others are allowed.",
        optional=("*",),
        initialisation=_field("string", "`pretrained backbone` or `from scratch`"),
        norm=_field("string", "published (frozen), batch or group"),
        optimizer=_field("string", "sgd or adamw"),
        lr=_field("number", "peak learning rate", **_COUNT),
        batch_size=_field("integer", "images per optimiser step", minimum=1),
    ),
    environment=_object(
        "Software and machine of the evaluation.",
        python=_field("string", "version"),
        torch=_field(["string", "null"], "version"),
        torchvision=_field(["string", "null"], "version"),
        timm=_field(["string", "null"], "version"),
        numpy=_field(["string", "null"], "version"),
        platform=_field("string", "operating system and architecture"),
        cpu=_field("string", "processor's name"),
        gpu=_field(["string", "null"], "GPU's name, null without CUDA"),
        threads=_field("integer", "torch's threads inside operators", minimum=1),
    ),
    git=_object(
        "The code; null outside git.",
        revision=_field(["string", "null"], "commit hash"),
        dirty=_field(["boolean", "null"], "whether files differed from that commit (results and dvc.lock aside)"),
    ),
    fingerprint=_field("string", "fingerprint of all that the run depends on: equal runs have equal ones"),
    created=_field("string", "UTC, ISO 8601"),
)


def make_record(
    run: Run,
    *,
    data: Mapping[str, object],
    protocol: Mapping[str, object] | None = None,
    metrics: Mapping[str, float | None],
    precision_recall: Mapping[str, list[float]],
    cost: Mapping[str, object],
    speed: Mapping[str, object],
    training: object,
    fingerprint: str,
    system_name: str | None = None,
) -> dict[str, object]:
    """Put a run's record together; identity, recipe, environment, git state and time are filled in here.

    Args:
        data: split, images, instances, fingerprint; `name` and `exact` are taken from the run.
        protocol, metrics, precision_recall: what `reprolib.evaluation.protocols.score` gave.
        cost: `count_parameters(...)` with flops, flops_input, proposals, detections; the four are optional.
        training: TrainingSummary, or a mapping with its fields.
        system_name: as printed; by default the experiment's.

    Raises:
        RecordError: a field is missing, unknown, of another type, or not finite.
    """
    recipe = {
        **_plain(run.scale),
        **_plain(run.schedule),
        "initialisation": "pretrained backbone" if run.scale.pretrained else "from scratch",
    }
    uncounted = dict.fromkeys(("flops", "flops_input", "proposals", "detections"))
    record = {
        "schema": SCHEMA_VERSION,
        "run": run.id,
        "experiment": run.experiment.id,
        "seed": run.seed,
        "profile": run.profile,
        "system": system_name or run.experiment.system,
        "components": list(run.experiment.components),
        "backbone": run.experiment.backbone,
        "dataset": run.experiment.dataset,
        "data": {**_plain(data), "name": run.dataset, "exact": run.exact_data},
        "metrics": _plain(metrics),
        "precision_recall": _plain(precision_recall),
        "cost": {**uncounted, **_plain(cost)},
        "speed": _plain(speed),
        "training": _plain(training),
        "recipe": recipe,
        "environment": environment(),
        "git": git_state(),
        "fingerprint": fingerprint,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if protocol is not None:
        record["protocol"] = _plain(protocol)
    if assumed := inferred(run.experiment.system):
        record["inferred"] = assumed
    validate_record(record, where=f"record of {run.id}")
    return record


def validate_record(record: object, *, where: str = "record") -> None:
    """Raise RecordError at the first field that RECORD_SCHEMA does not allow; `where` begins the message."""
    if isinstance(record, Mapping) and record.get("schema") != SCHEMA_VERSION:
        raise RecordError(
            f"{where}: schema is {record.get('schema')!r}, this reprolib reads {SCHEMA_VERSION};"
            " evaluate the run again, or use the reprolib that wrote it"
        )
    _check(record, RECORD_SCHEMA, where, "")


def write_record(path: str | Path, record: Mapping[str, object]) -> None:
    """Validate and write atomically. Raises RecordError, and then writes nothing."""
    validate_record(record, where=str(path))
    write_json(path, record)


def read_record(path: str | Path) -> dict[str, object]:
    """Read and validate one record. Raises FileNotFoundError or RecordError, naming the file and the mend."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such record; the run has not been evaluated yet") from None
    except ValueError as error:
        raise RecordError(f"{path} is not JSON ({error}); delete it and evaluate the run again") from None
    validate_record(record, where=str(path))
    return record


def read_records(folder: str | Path) -> dict[str, dict[str, object]]:
    """All records of a profile by run id, sorted; none when the folder does not exist. Raises RecordError."""
    records = {}
    for path in sorted(Path(folder).glob("*.json")):
        record = read_record(path)
        if record["run"] != path.stem:
            raise RecordError(f"{path}: field 'run' is {record['run']!r}; rename the file after its run or delete it")
        records[record["run"]] = record
    return records


_TYPES = {
    "object": Mapping,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def _check(value: object, schema: Mapping[str, object], where: str, field: str) -> None:
    named = f"{where}: field {field!r}" if field else where
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    # Python counts True among the integers, JSON does not
    matches = [k for k in kinds if isinstance(value, _TYPES[k]) and (k == "boolean" or not isinstance(value, bool))]
    if not matches:
        raise RecordError(f"{named} must be {' or '.join(kinds)}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(f"{named} is {value}; a number must be finite, write null where there is none")
    if "minimum" in schema and value is not None and value < schema["minimum"]:
        raise RecordError(f"{named} must be at least {schema['minimum']}, not {value}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, schema["items"], where, f"{field}[{index}]")
    elif isinstance(value, Mapping):
        _check_fields(value, schema, where, field)


def _check_fields(value: Mapping, schema: Mapping[str, object], where: str, field: str) -> None:
    dot = f"{field}." if field else ""
    properties = schema.get("properties", {})
    optional = schema.get("optional", [])
    missing = [key for key in properties if key not in value and key not in optional]
    if missing:
        raise RecordError(f"{where}: field '{dot}{missing[0]}' is missing ({properties[missing[0]]['description']})")
    for key, item in value.items():
        if key in properties:
            _check(item, properties[key], where, f"{dot}{key}")
        elif "additionalProperties" in schema:
            _check(item, schema["additionalProperties"], where, f"{dot}{key}")
        elif "*" not in optional:
            raise RecordError(f"{where}: field '{dot}{key}' is unknown; known are {', '.join(properties)}")
        elif isinstance(item, float) and not math.isfinite(item):
            raise RecordError(f"{where}: field '{dot}{key}' is {item}; a number must be finite")


def _plain(value: object) -> object:
    """Dataclasses, read-only mappings, tuples, paths and NumPy or torch scalars as what JSON holds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # not dataclasses.asdict: it copies, and a mapping proxy cannot be copied
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") and not isinstance(value, str) else value
