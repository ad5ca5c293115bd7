"""Whole masks between resolutions, against torch's own interpolation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from reprolib.models import mask_resize
from reprolib.models.mask_resize import mask_boxes, rescale_masks, sample_masks


def blobs(count: int, height: int, width: int) -> torch.Tensor:
    """Probabilities: smooth noise, an empty mask, a full one, and single pixels in two corners."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand((1, count, 4, 5), generator=generator)
    masks = F.interpolate(coarse, size=(height, width), mode="bicubic")[0].clamp(0, 1)
    masks[0], masks[1], masks[2:4] = 0.2, 1.0, 0.0
    masks[2, 0, 0] = masks[3, -1, -1] = 1.0
    return masks


@pytest.mark.parametrize(
    ("image_size", "original_size"),
    [((48, 60), (48, 60)), ((45, 58), (45, 58)), ((45, 58), (90, 101)), ((45, 58), (31, 20)), ((2, 60), (3, 90))],
)
def test_masks_are_those_of_two_interpolations(image_size, original_size):
    masks = blobs(12, 12, 16)
    large = F.interpolate(masks[None], scale_factor=4, mode="bilinear", align_corners=False)
    large = large[..., : image_size[0], : image_size[1]]
    wanted = F.interpolate(large, size=original_size, mode="bilinear", align_corners=False)[0]
    found = rescale_masks(masks, original_size, image_size=image_size)
    assert found.shape == wanted.shape and not found[0].any() and found[1].all()
    differs = found != (wanted > 0.5)
    assert not (differs & ((wanted - 0.5).abs() > 1e-5)).any()
    assert not differs[:4].any()


@pytest.mark.parametrize("size", [(12, 16), (30, 31), (5, 7)])
def test_masks_are_resized_at_once_without_an_image_size(size):
    masks = blobs(12, 12, 16)
    wanted = F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]
    differs = rescale_masks(masks, size) != (wanted > 0.5)
    assert not (differs & ((wanted - 0.5).abs() > 1e-5)).any()
    assert rescale_masks(masks[:0], size).shape == (0, *size)


@pytest.mark.parametrize("together", [1, 10**4, 10**9])
def test_a_gpu_computes_the_same_masks_all_at_once(monkeypatch, together):
    """At exactly 0.5, where rounding decides, and a few masks at a time too."""
    masks = blobs(12, 12, 16)
    masks[4:6] = masks[4:6].clamp(max=0.5)
    wanted = rescale_masks(masks, (90, 101), image_size=(45, 58))
    monkeypatch.setattr(mask_resize, "_resize_rectangles", mask_resize._resize_together)
    monkeypatch.setattr(mask_resize, "TOGETHER", together)
    assert wanted.any() and not wanted[4:6].any()
    assert torch.equal(rescale_masks(masks, (90, 101), image_size=(45, 58)), wanted)
    assert rescale_masks(masks[:0], (90, 101)).shape == (0, 90, 101)


@pytest.mark.parametrize("size", [(12, 16), (3, 4), (7, 5), (20, 20)])
def test_sampling_is_torchs_bilinear_interpolation(size):
    masks = (torch.rand((3, 12, 16), generator=torch.Generator().manual_seed(0)) < 0.5).to(torch.uint8)
    wanted = F.interpolate(masks[None].float(), size=size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(sample_masks(masks, size), wanted)
    assert sample_masks(masks[:0], size).shape == (0, *size)


def test_boxes_touch_their_masks():
    masks = torch.zeros((3, 5, 7), dtype=torch.bool)
    masks[0, 1:3, 2:6] = masks[2, 4, 6] = True
    boxes, some = mask_boxes(masks)
    assert boxes[[0, 2]].tolist() == [[2, 1, 6, 3], [6, 4, 7, 5]]
    assert some.tolist() == [True, False, True]
