"""How much of its images' area a data set's instances cover: shares of images by band of foreground ratio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

# Table I of Insight Any Instance; a ratio belongs to the last band whose lower end it reaches.
BANDS: Mapping[str, float] = {"[0.0,0.1)": 0.0, "[0.1,0.2)": 0.1, "[0.2,1.0]": 0.2}


def count_by_band(ratios: Iterable[float]) -> dict[str, int]:
    """Number of images per band; ratios are foreground over image area, one per image, 0 for an empty image."""
    counts = dict.fromkeys(BANDS, 0)
    for ratio in ratios:
        counts[[band for band, least in BANDS.items() if ratio >= least][-1]] += 1
    return counts


def shares(counts: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """Percent of all images per band from the counts of several splits. Raises ValueError without any image."""
    together = Counter(dict.fromkeys(BANDS, 0))
    for of_split in counts:
        together.update(of_split)
    if not (images := together.total()):
        raise ValueError("shares of no images")
    return {band: 100 * count / images for band, count in together.items()}
