from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as pycocotools_mask

from reprolib.evaluation.morphology import cut_out, decode, erode


def encoded(mask):
    return pycocotools_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize("reach", [1, 2, 3, 7])
@pytest.mark.parametrize("shape", [(13, 17), (1, 9), (4, 4)])
def test_erosion_is_the_minimum_over_a_square(shape, reach, outside):
    mask = np.random.default_rng(0).random(shape) > 0.04
    padded = np.pad(mask, reach, constant_values=outside)
    plain = np.array(
        [[padded[y : y + 2 * reach + 1, x : x + 2 * reach + 1].all() for x in range(shape[1])] for y in range(shape[0])]
    )
    for layout in (mask, np.asfortranarray(mask), np.asfortranarray(np.pad(mask, 2))[2:-2, 2:-2]):
        np.testing.assert_array_equal(erode(layout, reach, outside=outside), plain)


def test_a_mask_is_cut_out_with_a_margin_that_stays_inside_the_image():
    mask = np.zeros((20, 30), dtype=bool)
    mask[1:5, 22:29] = True
    rle = encoded(mask)
    np.testing.assert_array_equal(decode(rle), mask)
    assert mask[cut_out(rle)].shape == (4, 7) and mask[cut_out(rle)].all()
    assert cut_out(rle, 3) == (slice(0, 8), slice(19, 30))
    assert mask[cut_out(encoded(np.zeros((20, 30))))].size == 0


def test_encodings_as_json_holds_them_are_read_too():
    mask = np.eye(9, 12, dtype=bool)
    rle = encoded(mask)
    np.testing.assert_array_equal(decode(rle | {"counts": rle["counts"].decode()}), mask)
