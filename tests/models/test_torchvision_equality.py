"""Same weights, same images: the same numbers as torchvision's Mask R-CNN."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection import maskrcnn_resnet50_fpn

from benchmarks.pair import from_torchvision, spread_predictions
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.params import Scale

LARGEST = 1e-4


def build(**sizes: int):
    torch.manual_seed(0)
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=6, **sizes)
    spread_predictions(theirs)
    input_size = InputSize(min_sizes=(sizes["min_size"],), test_size=sizes["min_size"], max_size=sizes["max_size"])
    scale = Scale(pretrained=False, rpn_post_nms=(2000, 1000))
    ours = mask_rcnn.build(
        num_classes=5, backbone="resnet50", scale=scale, input_size=input_size, dialect="torchvision"
    )
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    # Without weights torchvision leaves batch norm unfrozen; ours runs on stored statistics as published.
    theirs.train().apply(lambda module: isinstance(module, torch.nn.BatchNorm2d) and module.eval())
    return ours.train(), theirs


@pytest.fixture(scope="module")
def unscaled():
    return build(min_size=96, max_size=128)


def smooth_image(height: int, width: int, *, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return F.interpolate(torch.rand(1, 3, 6, 8), size=(height, width), mode="bicubic")[0].clamp(0, 1)


def close(ours: Tensor, theirs: Tensor, scale: float = 1.0) -> bool:
    return bool((ours - theirs).abs().max() <= LARGEST * scale)


def check_detections(ours, theirs, images: list[Tensor]) -> None:
    ours.eval(), theirs.eval()
    with torch.no_grad():
        pairs = list(zip(ours(images), theirs(images), images, strict=True))
    for found, expected, image in pairs:
        assert len(expected["boxes"]) >= 50, "the comparison means little without detections"
        assert expected["masks"].gt(0.5).any(dim=(1, 2, 3)).float().mean() > 0.2
        assert torch.equal(found["labels"], expected["labels"])
        assert close(found["scores"], expected["scores"])
        assert close(found["boxes"], expected["boxes"], scale=max(image.shape))  # relative to the image
        assert found["masks"].dtype == torch.bool
        assert found["masks"].shape == (len(found["boxes"]), *image.shape[-2:])
        unsure = (expected["masks"][:, 0] - 0.5).abs() <= LARGEST
        assert ((found["masks"] == (expected["masks"][:, 0] > 0.5)) | unsure).all()


def test_detections_of_two_sizes_in_one_batch(unscaled) -> None:
    check_detections(*unscaled, [smooth_image(96, 128, seed=1), smooth_image(112, 96, seed=2)])


def test_detections_of_scaled_images() -> None:
    ours, theirs = build(min_size=100, max_size=150)
    check_detections(ours, theirs, [smooth_image(160, 192, seed=3), smooth_image(50, 120, seed=4)])


def test_losses_with_the_same_sampled_boxes(unscaled, scene, monkeypatch) -> None:
    ours, theirs = unscaled
    ours.train(), theirs.train().apply(lambda module: isinstance(module, torch.nn.BatchNorm2d) and module.eval())

    # The same boxes for both: the first ones instead of a random draw.
    monkeypatch.setattr(torch, "randperm", lambda count, *, device: torch.arange(count, device=device))
    samples = [scene(96, 128, count=3, seed=1), scene(112, 96, count=2, seed=2)]
    images, targets = [s[0] for s in samples], [s[1] for s in samples]
    ours_losses, their_losses = ours(images, targets), theirs(images, targets)
    assert set(ours_losses) == set(their_losses)
    for name, loss in their_losses.items():
        assert loss > 0, f"{name} is empty, so that nothing was compared"
        assert close(ours_losses[name], loss, scale=max(1, float(loss.detach()))), name
    sum(ours_losses.values()).backward()
    sum(their_losses.values()).backward()
    expected = from_torchvision({k: p.grad for k, p in theirs.named_parameters() if p.grad is not None})
    for name, parameter in ours.named_parameters():
        if parameter.requires_grad:
            difference = (parameter.grad - expected[name]).norm()
            assert difference <= 1e-3 * expected[name].norm(), name  # a ReLU may flip at rounding
    ours.zero_grad(), theirs.zero_grad()
