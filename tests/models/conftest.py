"""Thin networks and tiny scenes for the model tests, as fixtures that give functions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.params import Scale

SCALE = Scale(
    backbones={"resnet50": "resnet10t"},
    norm="batch",
    pretrained=False,
    frozen_stages=0,
    channels=32,
    box_hidden=64,
    anchor_sizes=(8, 16, 32, 64, 128),
    rpn_pre_nms=(200, 100),
    rpn_post_nms=(100, 50),
    roi_batch=32,
)
INPUT_SIZE = InputSize(min_sizes=(64,), test_size=64, max_size=128)


def make_scene(height: int = 64, width: int = 64, *, count: int = 2, seed: int = 0) -> tuple[Tensor, dict]:
    """An image of bright filled ellipses on dark noise, and its target."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand((3, height, width), generator=generator) * 0.2
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None] + 0.5
    masks, boxes = torch.zeros((count, height, width), dtype=torch.uint8), torch.zeros((count, 4))
    for index in range(count):
        radius = 6 + 8 * torch.rand(2, generator=generator)
        centre = radius + (torch.tensor([width, height]) - 2 * radius) * torch.rand(2, generator=generator)
        inside = ((columns - centre[0]) / radius[0]) ** 2 + ((rows - centre[1]) / radius[1]) ** 2 < 1
        masks[index] = inside
        image[:, inside] += 0.6
        y, x = torch.where(inside)
        boxes[index] = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()
    target = {"boxes": boxes, "labels": torch.ones(count, dtype=torch.long), "masks": masks, "image_id": seed}
    return image.clamp(0, 1), target


def make_model(*, seed: int = 0, num_classes: int = 2, scale: Scale = SCALE, **switches):
    torch.manual_seed(seed)
    return mask_rcnn.build(num_classes=num_classes, backbone="resnet50", scale=scale, input_size=INPUT_SIZE, **switches)


@pytest.fixture(autouse=True)
def two_threads():
    """The suite shares a small machine; restores what was set."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, 2))
    yield
    torch.set_num_threads(before)


@pytest.fixture
def thin_scale() -> Scale:
    return SCALE


@pytest.fixture
def input_size() -> InputSize:
    return INPUT_SIZE


@pytest.fixture
def scene():
    return make_scene


@pytest.fixture
def small_model():
    return make_model
