"""Masks cut for training and pasted for results; the input transform between them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.roi_heads import paste_masks_in_image, project_masks_on_boxes
from torchvision.ops import roi_align

from reprolib.models.input_transform import InputSize, InputTransform, input_transform
from reprolib.models.two_stage import mask_targets
from reprolib.models.two_stage.mask_targets import cut_masks
from reprolib.models.two_stage.paste import paste_masks
from reprolib.models.two_stage.roi_align_cpu import roi_align_cpu
from reprolib.models.two_stage.roi_pooler import RoIPooler

HEIGHT, WIDTH = 37, 53
corner = st.floats(-10, 60, width=32)
side = st.floats(0, 50, width=32)
box_lists = st.lists(st.tuples(corner, corner, side, side), min_size=0, max_size=6)
quick = settings(max_examples=60, deadline=None, derandomize=True)


def to_boxes(rows) -> torch.Tensor:
    boxes = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)


@quick
@given(rows=box_lists, seed=st.integers(0, 1000))
def test_rounded_pasting_has_the_bits_of_torchvision(rows, seed) -> None:
    boxes = to_boxes(rows)
    boxes[:, 0::2].clamp_(0, WIDTH), boxes[:, 1::2].clamp_(0, HEIGHT)  # detections lie inside the image
    masks = torch.rand((len(boxes), 28, 28), generator=torch.Generator().manual_seed(seed))
    expected = paste_masks_in_image(masks[:, None], boxes, (HEIGHT, WIDTH))[:, 0] > 0.5
    assert torch.equal(paste_masks(masks, boxes, (HEIGHT, WIDTH), exact=False), expected)


@quick
@given(rows=box_lists, seed=st.integers(0, 1000))
def test_exact_pasting_samples_every_pixel_centre(rows, seed) -> None:
    boxes = to_boxes(rows)
    boxes[:, 2:] += 0.5
    masks = torch.rand((len(boxes), 14, 14), generator=torch.Generator().manual_seed(seed))
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    pasted = paste_masks(masks, boxes, (HEIGHT, WIDTH))
    for mask, box, found in zip(masks, boxes, pasted, strict=True):
        grid = torch.stack([(x - box[0]) / (box[2] - box[0]), (y - box[1]) / (box[3] - box[1])], dim=-1) * 2 - 1
        value = F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]
        assert ((found == (value > 0.5)) | ((value - 0.5).abs() < 1e-4)).all()


@pytest.mark.parametrize("exact", [True, False])
def test_a_full_mask_fills_its_box_and_nothing_else(exact) -> None:
    pasted = paste_masks(torch.ones(1, 28, 28), torch.tensor([[5.0, 3.0, 25.0, 19.0]]), (30, 40), exact=exact)
    y, x = torch.where(pasted[0])
    reach = (int(x.min()), int(x.max()), int(y.min()), int(y.max()))
    assert (
        reach == (5, 24, 3, 18) if exact else max(abs(a - b) for a, b in zip(reach, (5, 24, 3, 18), strict=True)) <= 1
    )


@quick
@given(rows=box_lists.filter(bool), seed=st.integers(0, 1000), per_chunk=st.integers(1, 3))
def test_soft_targets_equal_torchvision_whatever_the_chunks(rows, seed, per_chunk) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = (torch.rand((4, HEIGHT, WIDTH), generator=generator) > 0.5).to(torch.uint8)
    boxes = to_boxes(rows)
    matched = torch.randint(4, (len(boxes),), generator=generator)
    before = mask_targets.CHUNK
    mask_targets.CHUNK = per_chunk * HEIGHT * WIDTH
    try:
        cut = cut_masks(masks, boxes, matched, size=14, aligned=False, binary=False)
    finally:
        mask_targets.CHUNK = before
    assert torch.equal(cut, project_masks_on_boxes(masks, boxes, matched, 14))


def test_target_of_a_box_half_over_its_mask() -> None:
    masks = torch.zeros(1, 40, 40, dtype=torch.bool)
    masks[0, :, :20] = True
    cut = cut_masks(
        masks, torch.tensor([[6.0, 6.0, 34.0, 34.0]]), torch.zeros(1).long(), size=28, aligned=True, binary=True
    )
    assert torch.equal(cut[0, 0], torch.cat([torch.ones(14), torch.zeros(14)]))


def test_no_boxes_have_no_targets() -> None:
    none = torch.zeros(0, 4)
    cut = cut_masks(torch.zeros(0, 9, 9), none, torch.zeros(0).long(), size=28, aligned=True, binary=True)
    assert cut.shape == (0, 28, 28)


def test_what_is_cut_out_is_pasted_back(scene) -> None:
    _, target = scene(80, 100, count=3, seed=4)
    masks, boxes = target["masks"], target["boxes"]
    cut = cut_masks(masks, boxes, torch.arange(3), size=28, aligned=True, binary=False)
    back = paste_masks(cut, boxes, (80, 100))
    overlap = (back & masks.bool()).sum((1, 2)) / (back | masks.bool()).sum((1, 2))
    assert (overlap > 0.95).all()


@pytest.mark.parametrize("size", [(50, 100), (64, 64), (37, 91)])
def test_targets_of_a_resized_image_come_from_the_mask_as_given(size, small_model, scene) -> None:
    model = small_model()
    image, target = scene(*size, count=2, seed=2)
    batch, (moved,) = model.transform([image], [target])
    assert moved["masks"].shape[1:] == size
    height, width = batch.image_sizes[0]
    assert torch.allclose(moved["boxes"][:, 0::2], target["boxes"][:, 0::2] * width / size[1])
    back = moved["boxes"] * torch.tensor(batch.to_original(0)).repeat(2)
    assert torch.allclose(back, target["boxes"], atol=1e-4)
    assert batch.tensors.shape[-1] % 32 == batch.tensors.shape[-2] % 32 == 0
    assert (batch.tensors[..., height:, :] == 0).all() and (batch.tensors[..., width:] == 0).all()


def test_short_sides_are_drawn_in_training_only() -> None:
    input_size = InputSize(min_sizes=(32, 48, 64), test_size=40, max_size=1000)
    transform = input_transform(input_size, dialect="d2").train()
    torch.manual_seed(0)
    drawn = {transform([torch.rand(3, 60, 90)])[0].image_sizes[0][0] for _ in range(30)}
    assert drawn == {32, 48, 64}
    assert transform.eval()([torch.rand(3, 60, 90)])[0].image_sizes == [(40, 60)]


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(5, 90), st.integers(5, 90)), keep_ratio=st.booleans(), divisor=st.sampled_from([1, 32])
)
def test_an_images_input_is_known_without_it(size, keep_ratio, divisor) -> None:
    sizes, more = InputSize(min_sizes=(20,), test_size=40, max_size=70), {"divisor": divisor, "keep_ratio": keep_ratio}
    transform = InputTransform(sizes, mean=(0, 0, 0), std=(1, 1, 1), bgr=False, **more).eval()
    assert transform([torch.rand(3, *size)])[0].tensors.shape[-2:] == transform.test_input(*size)


def test_a_systems_input_is_at_most_its_own_and_smaller_ones_stay() -> None:
    published = InputSize(min_sizes=(640, 800, 400), max_size=1333, test_size=800)
    bounded = InputSize(min_sizes=(400, 448), max_size=768, test_size=448)
    assert published.at_most(short_side=448, long_side=768) == bounded == bounded.at_most(short_side=500, long_side=900)
    assert published.at_most(short_side=448).max_size == 1333


@pytest.mark.parametrize("changes", [{"min_sizes": ()}, {"min_sizes": (64, 0)}, {"test_size": 0}, {"max_size": -1}])
def test_input_sizes_that_are_not_positive_are_refused(changes) -> None:
    with pytest.raises(ValueError, match="min_sizes, max_size and test_size must be positive"):
        InputSize(**changes)


def test_dialects_normalise_the_same_picture() -> None:
    input_size = InputSize(test_size=32, max_size=64)
    image = torch.rand(3, 32, 32)
    d2 = input_transform(input_size, dialect="d2").eval()([image])[0].tensors[0]
    mean = torch.tensor([103.53, 116.28, 123.675])[:, None, None]  # as detectron2 prints them
    assert torch.allclose(d2, image.flip(0) * 255 - mean, atol=1e-2)
    mm = input_transform(input_size, dialect="mm").eval()([image])[0].tensors[0]
    std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    assert torch.allclose(mm * std, d2.flip(0), atol=1e-2)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (torch.zeros(3, 8, 8, dtype=torch.uint8), TypeError, "divide by 255"),
        (torch.zeros(1, 8, 8), ValueError, r"must be \[3,H,W\]"),
        (torch.zeros(3, 0, 8), ValueError, r"must be \[3,H,W\]"),
    ],
)
def test_other_images_are_refused(image, error, message) -> None:
    sizes = InputSize(min_sizes=(8,), test_size=8, max_size=16)
    transform = InputTransform(sizes, mean=(0, 0, 0), std=(1, 1, 1), bgr=False)
    with pytest.raises(error, match=message):
        transform([image])


def test_pooler_reads_each_box_from_its_level_and_keeps_the_order() -> None:
    features = [torch.full((2, 1, 256 // 2**i, 256 // 2**i), float(i)) for i in range(5)]
    pooler = RoIPooler(resolution=7, sampling=0, aligned=True)
    sizes = [[500, 60], [230, 110, 900]]
    boxes = [torch.tensor([[0.0, 0.0, s, s] for s in row]) for row in sizes]
    pooled = pooler(features, boxes)
    assert pooled.shape == (5, 1, 7, 7)
    # Eq. 1: floor(4 + log2(size / 224)), from P2 to P5; 110 px lies just below P3's 112.
    assert pooled[:, 0, 0, 0].round(decimals=4).tolist() == [3.0, 0.0, 2.0, 0.0, 3.0]
    assert pooler(features, [torch.zeros(0, 4)] * 2).shape == (0, 1, 7, 7)


@quick
@given(rows=box_lists, seed=st.integers(0, 1000), sampling=st.sampled_from([0, 1, 2]), aligned=st.booleans())
def test_roi_align_on_a_cpu_equals_torchvision_forward_and_backward(rows, seed, sampling, aligned) -> None:
    generator = torch.Generator().manual_seed(seed)
    feature = torch.rand((2, 3, 11, 14), generator=generator).requires_grad_()
    image = torch.randint(2, (len(rows), 1), generator=generator).float()
    rois = torch.cat([image, to_boxes(rows)], dim=1)
    found = roi_align_cpu(feature, rois, 7, 0.25, sampling, aligned)
    expected = roi_align(feature, rois, 7, 0.25, sampling, aligned)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)
    upstream = torch.rand(expected.shape, generator=generator)
    gradients = [torch.autograd.grad((x * upstream).sum(), feature)[0] for x in (found, expected) if len(rows)]
    assert not gradients or torch.allclose(*gradients, atol=1e-4)
