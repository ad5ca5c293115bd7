from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as pycocotools_mask

from reprolib.evaluation.rle import encode_masks


def one_by_one(masks):
    encoded = [pycocotools_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8))) for mask in masks]
    return [{"size": e["size"], "counts": e["counts"].decode()} for e in encoded]


def random_masks(count, height, width, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.rand(count, 1, height // 3 + 1, width // 3 + 1, generator=generator)
    masks = torch.nn.functional.interpolate(blocks, size=(height, width))[:, 0] > 0.6
    masks[0] = False
    masks[1] = True
    return masks


@pytest.mark.parametrize("shape", [(7, 31, 52), (4, 64, 64), (300, 5, 9), (3, 1, 17), (3, 17, 1)])
def test_same_strings_as_encoding_one_by_one(shape):
    masks = random_masks(*shape)
    encoded = encode_masks(masks)
    assert encoded == one_by_one(masks)
    json.dumps(encoded)
    decoded = pycocotools_mask.decode(encoded).astype(bool)  # [H, W, N]
    assert (decoded.transpose(2, 0, 1) == masks.numpy()).all()


def test_memory_layout_and_byte_masks_do_not_matter():
    masks = random_masks(6, 20, 30)
    expected = encode_masks(masks)
    assert encode_masks(masks.transpose(1, 2).contiguous().transpose(1, 2)) == expected
    assert encode_masks(masks.to(torch.uint8) * 255) == expected
    assert encode_masks(masks[::2]) == expected[::2]


def test_no_masks_is_an_empty_list():
    assert encode_masks(torch.zeros(0, 8, 8, dtype=torch.bool)) == []


@pytest.mark.parametrize("masks", [torch.rand(2, 4, 4), torch.zeros(4, 4, dtype=torch.bool)])
def test_probabilities_and_single_masks_are_refused(masks):
    with pytest.raises(ValueError, match="Bool or UInt8"):
        encode_masks(masks)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_masks_on_the_gpu_encode_alike():
    masks = random_masks(6, 20, 30)
    assert encode_masks(masks.cuda()) == encode_masks(masks)
