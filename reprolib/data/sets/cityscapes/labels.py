"""Label ids and file names of Cityscapes, as its conversion, its metric and its submission read and write them."""

from __future__ import annotations

from types import MappingProxyType

# Label ids of the classes that the benchmark evaluates; caravans and trailers have instances and are void there.
LABEL_IDS = MappingProxyType(
    {"person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33}
)
IMAGE_SUFFIX, IDS_SUFFIX = "_leftImg8bit.png", "_gtFine_instanceIds.png"
# Values of the instanceIds images that are void: the ids of labels that are not evaluated. Caravans and trailers (29,
# 30) are void as groups only: a single one has a value from 29,000 on, which the official script does not look for.
VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
