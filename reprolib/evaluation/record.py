"""The record: the JSON that one run leaves, from which every reproduced number is shown.

`record.schema.json` documents it field by field and is the JSON Schema by which records are validated. What the schema
cannot express is checked here: numbers are finite, because JSON has no NaN and a table must not average one.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import fastjsonschema

from reprolib.evaluation.environment import environment, git_state
from reprolib.files import write_json
from reprolib.models.systems.cards import inferred

if TYPE_CHECKING:
    from reprolib.params import Run

SCHEMA = Path(__file__).with_name("record.schema.json")
SCHEMA_VERSION = 1


class RecordError(ValueError):
    """A record that cannot be trusted; the message names the file, the field and the mend."""


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
    if assumed := inferred(run.experiment.module):
        record["inferred"] = assumed
    validate_record(record, where=f"record of {run.id}")
    return record


def validate_record(record: object, *, where: str = "record") -> None:
    """Raise RecordError at a field that the schema does not allow; `where` begins the message."""
    if isinstance(record, Mapping) and record.get("schema") != SCHEMA_VERSION:
        raise RecordError(
            f"{where}: schema is {record.get('schema')!r}, this reprolib reads {SCHEMA_VERSION};"
            " evaluate the run again, or use the reprolib that wrote it"
        )
    try:
        _schema_check()(record)
    except fastjsonschema.JsonSchemaValueException as error:
        raise RecordError(f"{where}: {_explain(error)}") from None
    if field := _not_finite(record):
        raise RecordError(f"{where}: field {field!r} is not finite; write null where there is no number")


@functools.cache
def _schema_check() -> Callable[[object], object]:
    """The schema as a function; compiled once in a process, in about 30 ms."""
    return fastjsonschema.compile(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _explain(error: fastjsonschema.JsonSchemaValueException) -> str:
    """What is wrong, with the field's name as a reader finds it in the file."""
    name = error.name.removeprefix("data").removeprefix(".")
    field = f"field {name!r}" if name else "the record"
    inside = f"{name}." if name else ""
    known = error.definition.get("properties", {})
    if error.rule == "required":
        missing = next(key for key in error.rule_definition if key not in error.value)
        return f"field '{inside}{missing}' is missing ({known[missing]['description']}); evaluate the run again"
    if error.rule == "additionalProperties":
        unknown = next(key for key in error.value if key not in known)
        return f"field '{inside}{unknown}' is unknown; remove it, known are {', '.join(known)}"
    if error.rule == "type":
        kinds = error.rule_definition
        expected = kinds if isinstance(kinds, str) else " or ".join(kinds)
        return f"{field} must be {expected}, not {error.value!r}; evaluate the run again"
    return f"{field} must be at least {error.rule_definition}, not {error.value!r}; evaluate the run again"


def _not_finite(value: object, field: str = "") -> str:
    """The name of the first field that holds NaN or an infinity, or nothing."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else field
    if isinstance(value, Mapping):
        inside = ((item, f"{field}.{key}" if field else str(key)) for key, item in value.items())
    elif isinstance(value, list):
        inside = ((item, f"{field}[{index}]") for index, item in enumerate(value))
    else:
        return ""
    return next((name for item, path in inside if (name := _not_finite(item, path))), "")


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
