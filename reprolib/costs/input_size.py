"""The size at which a network sees a typical image, for counting what a run computes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reprolib.models.input_transform import InputTransform


def input_size(transform: InputTransform, short_sides: Sequence[int], *, aspect: float) -> tuple[int, int]:
    """Height and width, padded, of the mean number of pixels that a model's transform makes of a typical image.

    short_sides: what training draws from, or the one of inference. aspect: width by height.
    """
    limit = transform.max_size / max(aspect, 1 / aspect) if transform.keep_ratio else math.inf
    inner = [min(side, limit) for side in short_sides]
    height = math.sqrt(sum(side**2 for side in inner) / len(inner))
    sides = (height, height * aspect if transform.keep_ratio else height)
    height, width = (math.ceil(side / transform.divisor) * transform.divisor for side in sides)
    return height, width
