"""What one side of a comparison computed: small arrays, and fingerprints of large ones; as a file without pickle."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

SAMPLES = 24  # values of a large array that are kept


@dataclass
class Recording:
    """arrays: name -> array. tables: name -> {row: fingerprint}. shapes: of the reference's parameters, by name.
    about: versions and the like.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    tables: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)

    def keep(self, name: str, value: Tensor) -> None:
        """The whole of a small tensor; a single number has no axis."""
        array = value.detach().cpu().numpy()
        self.arrays[name] = array.reshape(()) if array.size == 1 and array.ndim <= 1 else array

    def sample(self, table: str, row: str, value: Tensor) -> None:
        """The fingerprint of a large tensor: see `fingerprint`."""
        self.tables.setdefault(table, {})[row] = fingerprint(row, value)

    def save(self, path: Path) -> None:
        """Write a file of numpy's arrays: flags are packed, names and shapes are JSON."""
        packed = {f"array:{name}": value for name, value in self.arrays.items() if value.dtype != bool}
        for name, value in self.arrays.items():
            if value.dtype == bool:
                packed[f"flags:{name}"] = np.packbits(value)
                packed[f"shape:{name}"] = np.array(value.shape)
        for name, rows in self.tables.items():
            packed[f"rows:{name}"] = np.array(json.dumps(list(rows)))
            packed[f"table:{name}"] = np.stack(list(rows.values())).astype(np.float32)
        packed["shapes"], packed["about"] = np.array(json.dumps(self.shapes)), np.array(json.dumps(self.about))
        np.savez_compressed(path, **packed)


def load(path: Path) -> Recording:
    """The recording that `Recording.save` wrote."""
    recording = Recording()
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            kind, _, name = key.partition(":")
            if kind == "array":
                recording.arrays[name] = file[key]
            elif kind == "flags":
                shape = tuple(file[f"shape:{name}"])
                flags = np.unpackbits(file[key], count=int(np.prod(shape)))
                recording.arrays[name] = flags.reshape(shape).astype(bool)
            elif kind == "table":
                recording.tables[name] = dict(zip(json.loads(str(file[f"rows:{name}"])), file[key], strict=True))
        recording.shapes = {name: tuple(shape) for name, shape in json.loads(str(file["shapes"])).items()}
        recording.about = json.loads(str(file["about"]))
    return recording


def fingerprint(name: str, value: Tensor) -> np.ndarray:
    """Number of values, largest magnitude, mean, and values at SAMPLES places that the name decides on."""
    flat = value.detach().cpu().double().flatten().numpy()
    if not len(flat):
        return np.zeros(3 + SAMPLES)
    places = np.random.RandomState(zlib.crc32(name.encode())).randint(0, len(flat), SAMPLES)
    return np.concatenate([[len(flat), np.abs(flat).max(), flat.mean()], flat[places]])


def row_difference(reference: np.ndarray, ours: np.ndarray, *, floor: float = 0.0) -> float:
    """The largest difference of two fingerprints, relative to the reference's largest magnitude, or to `floor`."""
    if reference[0] != ours[0]:
        return float("inf")
    return float(np.abs(reference[2:] - ours[2:]).max() / max(reference[1], floor, 1e-12))


def array_difference(reference: np.ndarray, ours: np.ndarray) -> float:
    """The largest difference relative to the largest magnitude; of flags, the share (of those set) that differ."""
    if reference.shape != ours.shape:
        return float("inf")
    if not reference.size:
        return 0.0
    if reference.dtype == bool:
        return float((reference != ours).sum() / max(1, reference.sum()))
    difference = np.abs(reference.astype(np.float64) - ours.astype(np.float64)).max()
    return float(difference / max(np.abs(reference).max(), 1e-12))
