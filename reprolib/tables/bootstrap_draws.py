"""A run's metrics on bootstrap resamples of its images, from the matches beside its record; kept in work/.

Runs of a profile on the same images are resampled with the same counts, so that the difference of two runs' draws is
their paired bootstrap. Imports no torch.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reprolib.evaluation import bootstrap
from reprolib.evaluation.bootstrap import RESAMPLES, average_precision, resample_counts
from reprolib.evaluation.matches import Matches, load_matches, matches_path
from reprolib.files import write_atomic

KEPT = Path("work") / "bootstrap"
SEED = 0
EQUAL = 1e-6  # percentage points


@dataclass(frozen=True, kw_only=True)
class BootstrapDraws:
    """A run's metrics on resamples of its images.

    images: fingerprint of the images and their ground truth; only draws on the same are comparable.
    metrics: percent, float64 [resamples] by `<iou type>/<metric>`; NaN where a resample has no such object.
    """

    images: str
    metrics: Mapping[str, np.ndarray]


def read_draws(
    results: str | Path, records: Iterable[Mapping], *, resamples: int = RESAMPLES
) -> dict[str, BootstrapDraws]:
    """Draws by run id, of those records that have matches in `results`/matches/.

    Matches that do not give the record's own AP are of another evaluation than the record: they are left out with a
    warning. Raises MatchesError for a file that is none.
    """
    root = Path(results).parent.parent
    draws = {}
    for record in records:
        path = matches_path(results, record["run"])
        if path.is_file():
            drawn = _kept(path, root / KEPT, resamples)
            if drawn and _agrees(drawn[1], record, path):
                draws[record["run"]] = drawn[0]
    return draws


def _kept(path: Path, folder: Path, resamples: int) -> tuple[BootstrapDraws, dict[str, float]] | None:
    """Draws and the AP of all images once, from `folder` where the same were drawn before; None without matches."""
    key = hashlib.sha256(f"{resamples} {SEED}".encode())
    for file in (path, Path(bootstrap.__file__)):  # another matching or another computation gives other draws
        key.update(hashlib.sha256(file.read_bytes()).digest())
    kept = folder / f"{key.hexdigest()[:16]}.npz"
    if not kept.is_file():
        matches = load_matches(path)
        arrays = {} if not matches else _drawn(matches, resamples)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_atomic(kept, buffer.getvalue())
    with np.load(kept, allow_pickle=False) as arrays:
        if not arrays.files:
            return None
        names = arrays["names"].tolist()
        return (
            BootstrapDraws(images=str(arrays["images"]), metrics=dict(zip(names, arrays["draws"], strict=True))),
            dict(zip(names, arrays["once"].tolist(), strict=True)),
        )


def _drawn(matches: Mapping[str, Matches], resamples: int) -> dict[str, np.ndarray]:
    """As arrays: names [M] of the metrics, draws [M, resamples], once [M], and the images' fingerprint."""
    draws, once = {}, {}
    for iou_type, matched in sorted(matches.items()):
        images = len(matched.image_ids)
        counts = resample_counts(images, resamples=resamples, seed=SEED)
        draws |= {f"{iou_type}/{name}": values for name, values in average_precision(matched, counts).items()}
        whole = average_precision(matched, np.ones((images, 1), np.uint8))
        once |= {f"{iou_type}/{name}": values[0] for name, values in whole.items()}
    return {
        "names": np.array(list(draws)),
        "draws": np.stack(list(draws.values())),
        "once": np.array([once[name] for name in draws]),
        "images": np.array("-".join(matched.fingerprint for _, matched in sorted(matches.items()))),
    }


def _agrees(once: Mapping[str, float], record: Mapping, path: Path) -> bool:
    """Whether the matches give the record's own AP; a warning where they do not."""
    for name, value in once.items():
        recorded = record["metrics"].get(name)
        recorded = np.nan if recorded is None else recorded
        if name in record["metrics"] and not np.isclose(value, recorded, rtol=0, atol=EQUAL, equal_nan=True):
            warnings.warn(
                f"{path} is not of the record of {record['run']} ({name} is {recorded:.4f} there, {value:.4f} by the"
                " matches): its intervals go without images; evaluate the run again",
                stacklevel=3,
            )
            return False
    return True
