"""Segmentations in every notation become the same pixels; broken ones never reach pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from reprolib.data import masks


@st.composite
def pixels(draw) -> np.ndarray:
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    return (rng.random((height, width)) < draw(st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.0]))).astype(np.uint8)


def list_counts(mask: np.ndarray) -> list[int]:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate(([0], edges, [len(flat)]))).tolist()
    return [0, *runs] if flat[0] else runs


@settings(max_examples=60, deadline=None)
@given(pixels())
def test_both_rle_notations_decode_to_the_pixels(mask):
    height, width = mask.shape
    text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    for counts in (text, list_counts(mask)):
        rle, dropped = masks.to_rle({"size": [height, width], "counts": counts}, height=height, width=width)
        assert dropped == 0
        assert torch.equal(masks.decode([rle], height=height, width=width)[0], torch.from_numpy(mask))
        assert masks.areas([rle]).item() == mask.sum()


@settings(max_examples=40, deadline=None)
@given(pixels())
def test_boxes_are_the_outer_edges_of_the_mask(mask):
    if not mask.any():
        return
    rle = coco_mask.encode(np.asfortranarray(mask))
    rows, columns = np.nonzero(mask)
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert masks.boxes([rle])[0].tolist() == expected


def test_runs_of_length_zero_decode():
    rle, _ = masks.to_rle({"size": [4, 5], "counts": [0, 0, 9, 3, 8]}, height=4, width=5)
    expected = coco_mask.decode([rle])[..., 0]
    assert expected.sum() == 3
    assert np.array_equal(masks.decode([rle], height=4, width=5)[0].numpy(), expected)


def test_no_masks():
    assert masks.decode([], height=3, width=4).shape == (0, 3, 4)
    assert masks.boxes([]).shape == (0, 4)
    assert masks.areas([]).shape == (0,)
    assert masks.count_foreground([]) == 0


def test_areas_of_more_than_255_masks():
    rle = coco_mask.encode(np.asfortranarray(np.ones((20, 20), np.uint8)))
    assert masks.areas([rle] * 300).tolist() == [400.0] * 300


def test_foreground_counts_overlap_once():
    left = coco_mask.encode(np.asfortranarray(np.tile(np.arange(10) < 6, (4, 1)).astype(np.uint8)))
    right = coco_mask.encode(np.asfortranarray(np.tile(np.arange(10) >= 4, (4, 1)).astype(np.uint8)))
    assert masks.count_foreground([left, right]) == 40


def test_several_polygons_are_one_mask():
    rle, _ = masks.to_rle([[0, 0, 2, 0, 2, 2, 0, 2], [6, 6, 9, 6, 9, 9, 6, 9]], height=10, width=10)
    mask = masks.decode([rle], height=10, width=10)[0]
    assert mask[:2, :2].all() and mask[6:9, 6:9].all() and mask.sum() == 13


def test_degenerate_polygons_are_left_out_and_counted():
    good = [0, 0, 5, 0, 5, 5, 0, 5]
    rle, dropped = masks.to_rle([[1, 1, 2, 2], [0, 0, 5, 0, 5, 5, 0], good, []], height=8, width=8)
    assert dropped == 3 and masks.areas([rle]).item() == 25
    assert masks.to_rle([[1, 1, 8, 8]], height=8, width=8) == (None, 1)  # four numbers are no box
    assert masks.to_rle([], height=8, width=8) == (None, 0)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([0, 0, 5, 0, 5, 5], "list of lists"),
        ([[0, 0, 5, "0", 5, None]], "not a number"),
        ([[0, 0, 5, 0, 5, [5]]], "not a number"),
        ([[0, 0, float("nan"), 0, 5, 5]], "NaN"),
        ([[0, 0, 1e12, 0, 5, 5]], "outside its image"),
        ("text", "str"),
        ({"size": [8, 9], "counts": [72]}, r"size is \[8, 9\]"),
        ({"size": "8x8", "counts": [64]}, "size is 8x8"),
        ({"counts": [64]}, "size is None"),
        ({"size": [8, 8], "counts": [60]}, "add up to 60"),
        ({"size": [8, 8], "counts": [70, -6]}, "whole numbers"),
        ({"size": [8, 8], "counts": [64.0]}, "whole numbers"),
        ({"size": [8, 8]}, "NoneType"),
        ({"size": [8, 8], "counts": ""}, "does not describe 8 x 8"),
        ({"size": [8, 8], "counts": "ooooooooooooooo"}, "does not describe"),
        ({"size": [8, 8], "counts": "0000"}, "does not describe"),
        ({"size": [8, 8], "counts": "\u00e9\u00e8"}, "does not describe"),
        ({"size": [8, 8], "counts": "o" * 40 + "0"}, "does not describe"),
    ],
)
def test_broken_segmentations_are_refused(segmentation, message):
    with pytest.raises(masks.MaskError, match=message):
        masks.to_rle(segmentation, height=8, width=8)
