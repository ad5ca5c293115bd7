"""A run's numbers on resamples of its images, from the matches beside its record; computed once, kept in work/.

Every run of a profile on the same images is resampled with the same counts, so that the difference of two runs' draws
is their paired bootstrap. Imports no torch.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reprolib.evaluation.bootstrap import RESAMPLES, average_precision, resample_counts
from reprolib.evaluation.matches import Matches, load_matches, matches_path
from reprolib.files import write_atomic
from reprolib.pipeline.fingerprint import code_hashes, digest

KEPT = Path("work") / "bootstrap"
SEED = 0
EQUAL = 1e-6  # percentage points


@dataclass(frozen=True, kw_only=True)
class Draws:
    """A run's metrics on resamples of its images.

    images: fingerprint of the images and their ground truth; only draws on the same are comparable.
    metrics: percent, float64 [resamples] by `<iou type>/<metric>`; NaN where a resample has no such object.
    """

    images: str
    metrics: Mapping[str, np.ndarray]


def read_draws(results: str | Path, records: Iterable[Mapping], *, resamples: int = RESAMPLES) -> dict[str, Draws]:
    """Draws by run id, of those records that have matches in `results`/matches/.

    Matches that do not give the record's own AP are of another evaluation than the record: they are left out with a
    warning. Raises MatchesError for a file that is none.
    """
    root = Path(results).parent.parent
    found = {}
    for record in records:
        path = matches_path(results, record["run"])
        if path.is_file():
            drawn = _kept(path, root / KEPT, resamples)
            if drawn and _belongs(drawn, record, path):
                found[record["run"]] = drawn[0]
    return found


def _kept(path: Path, folder: Path, resamples: int) -> tuple[Draws, dict[str, float]] | None:
    """Draws and the AP of all images once, from `folder` where the same were drawn before; None without matches."""
    what = {"matches": hashlib.sha256(path.read_bytes()).hexdigest(), "resamples": resamples, "seed": SEED}
    kept = folder / f"{digest(what | {'code': code_hashes(['reprolib.evaluation.bootstrap'])})}.npz"
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
            Draws(images=str(arrays["images"]), metrics=dict(zip(names, arrays["draws"], strict=True))),
            dict(zip(names, arrays["once"].tolist(), strict=True)),
        )


def _drawn(matches: Mapping[str, Matches], resamples: int) -> dict[str, np.ndarray]:
    """As arrays: names [M] of the metrics, draws [M, resamples], once [M], and the images' fingerprint."""
    draws, once = {}, {}
    for iou_type, one in sorted(matches.items()):
        images = len(one.image_ids)
        counts = resample_counts(images, resamples=resamples, seed=SEED)
        draws |= {f"{iou_type}/{name}": values for name, values in average_precision(one, counts).items()}
        whole = average_precision(one, np.ones((images, 1), np.uint8))
        once |= {f"{iou_type}/{name}": values[0] for name, values in whole.items()}
    return {
        "names": np.array(list(draws)),
        "draws": np.stack(list(draws.values())),
        "once": np.array([once[name] for name in draws]),
        "images": np.array("-".join(one.fingerprint for _, one in sorted(matches.items()))),
    }


def _belongs(drawn: tuple[Draws, dict[str, float]], record: Mapping, path: Path) -> bool:
    for name, value in drawn[1].items():
        printed = record["metrics"].get(name)
        printed = np.nan if printed is None else printed
        if name in record["metrics"] and not np.isclose(value, printed, rtol=0, atol=EQUAL, equal_nan=True):
            warnings.warn(
                f"{path} is not of the record of {record['run']} ({name} is {printed:.4f} there, {value:.4f} by the"
                " matches): its intervals go without images; evaluate the run again",
                stacklevel=3,
            )
            return False
    return True
