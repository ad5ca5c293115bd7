"""The pair that benchmarks compare: torchvision's published detector, and ours with its weights, at any scale."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn

from benchmarks.pair import build_pair, from_torchvision, torchvision_model
from reprolib.models.input_transform import InputSize
from reprolib.params import Scale, load_profile

INPUT_SIZE = InputSize(min_sizes=(64,), test_size=64, max_size=96)


def thin(**changes) -> Scale:
    return dataclasses.replace(load_profile("demo").scale, channels=16, box_hidden=32, **changes)


def test_at_the_published_scale_it_is_torchvisions_own_detector() -> None:
    scale = Scale(pretrained=False, rpn_post_nms=(2000, 1000))
    with torch.device("meta"):
        made = torchvision_model(num_classes=90, backbone="resnet50", scale=scale, input_size=InputSize())
        wanted = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    assert {key: value.shape for key, value in made.state_dict().items()} == {
        key: value.shape for key, value in wanted.state_dict().items() if not key.endswith("num_batches_tracked")
    }
    assert repr(made.transform) == repr(wanted.transform) and repr(made.roi_heads) == repr(wanted.roi_heads)
    assert repr(made.rpn) == repr(wanted.rpn)
    for part, names in {
        "rpn": ("_pre_nms_top_n", "_post_nms_top_n", "nms_thresh", "score_thresh", "min_size"),
        "roi_heads": ("score_thresh", "nms_thresh", "detections_per_img"),
    }.items():
        for name in names:
            assert getattr(getattr(made, part), name) == getattr(getattr(wanted, part), name), name
    assert made.rpn.anchor_generator.sizes == wanted.rpn.anchor_generator.sizes
    trained = {name for name, parameter in made.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith(("backbone.body.conv1", "backbone.body.layer1")) for name in trained)
    assert any(name.startswith("backbone.body.layer2") for name in trained)


@pytest.mark.parametrize("norm", ["group", "batch", "published"])
def test_a_thin_pair_detects_the_same(norm) -> None:
    ours, theirs = build_pair(num_classes=3, backbone="resnet18", scale=thin(norm=norm), input_size=INPUT_SIZE)
    with torch.no_grad():
        theirs.roi_heads.box_predictor.cls_score.weight.mul_(30)
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    image = torch.rand((3, 64, 80), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (found,), (expected,) = ours.eval()([image]), theirs.eval()([image])
    assert len(expected["boxes"]) > 5
    assert torch.equal(found["labels"], expected["labels"])
    assert torch.allclose(found["scores"], expected["scores"], atol=1e-4)
    assert torch.allclose(found["boxes"], expected["boxes"], atol=1e-2)
    count = {
        name: sum(p.numel() for p in m.parameters() if p.requires_grad) for name, m in (("o", ours), ("t", theirs))
    }
    assert count["o"] == count["t"], "both train the same weights"


@pytest.mark.parametrize(
    ("scale", "input_size", "message"),
    [
        (thin(), InputSize(min_sizes=(64, 96), test_size=64), "one input size"),
        (dataclasses.replace(thin(), pretrained=True), INPUT_SIZE, "pretrained to False"),
        (thin(norm="layer"), INPUT_SIZE, "known are published, batch, group"),
    ],
)
def test_what_has_no_counterpart_is_refused(scale, input_size, message) -> None:
    with pytest.raises(ValueError, match=message):
        build_pair(num_classes=3, backbone="resnet18", scale=scale, input_size=input_size)
