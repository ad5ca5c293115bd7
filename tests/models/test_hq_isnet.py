"""HQ-ISNet: its pyramid, the published parameter counts, its two heads."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.hq_isnet import model as hq_isnet
from reprolib.models.systems.hq_isnet.high_resolution_pyramid import HighResolutionPyramid
from reprolib.models.two_stage.detector import two_stage
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale

WIDTHS = {name: [base * 2**i for i in range(4)] for name, base in (("w18", 18), ("w32", 32), ("w40", 40))}


def maps_of(sides: tuple[int, int], widths=(2, 3, 4, 5)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, width, *(side // 4 // 2**i for side in sides), generator=generator)
        for i, width in enumerate(widths)
    ]


@pytest.mark.parametrize(("width", "params"), [("w18", 3_019_776), ("w32", 3_073_536), ("w40", 3_104_256)])
def test_pyramid_counts(width, params) -> None:
    pyramid = on_meta(lambda: HighResolutionPyramid(WIDTHS[width], channels=256))
    assert count_parameters(pyramid)["params"] == params


@pytest.mark.parametrize("sides", [(64, 128), (96, 160), (32, 224)])
@pytest.mark.parametrize("pool", ["avg", "max"])
def test_five_levels_at_strides_4_to_64(sides, pool) -> None:
    pyramid = HighResolutionPyramid([2, 3, 4, 5], channels=6, hrfpn_pool=pool)
    levels = pyramid(maps_of(sides))
    expected = [tuple(-(-side // stride) for side in sides) for stride in (4, 8, 16, 32, 64)]
    assert [tuple(level.shape) for level in levels] == [(1, 6, *size) for size in expected]


def test_every_map_is_enlarged_bilinearly_to_stride_4_and_joined() -> None:
    maps = maps_of((64, 96))
    pyramid = HighResolutionPyramid([2, 3, 4, 5], channels=6)
    joined = [maps[0]] + [
        F.interpolate(level, scale_factor=2.0 ** (i + 1), mode="bilinear", align_corners=False)
        for i, level in enumerate(maps[1:])
    ]
    weight = pyramid.reduction.weight[:, :, 0, 0]
    expected = torch.einsum("oc,bchw->bohw", weight, torch.cat(joined, dim=1))
    assert torch.allclose(pyramid.levels(maps)[0], expected, atol=1e-5)


@pytest.mark.parametrize(("pool", "corner", "whole"), [("avg", (0 + 1 + 8 + 9) / 4, 63 / 2), ("max", 9.0, 63.0)])
def test_coarser_levels_are_poolings_of_the_finest(pool, corner, whole) -> None:
    pyramid = HighResolutionPyramid([1, 1, 1, 1], channels=1, hrfpn_pool=pool)
    maps = [torch.arange(64.0).view(1, 1, 8, 8), *(torch.zeros(1, 1, side, side) for side in (4, 2, 1))]
    with torch.no_grad():
        pyramid.reduction.weight.copy_(torch.tensor([1.0, 0, 0, 0]).view(1, 4, 1, 1))
    finest, half, *_, coarsest = pyramid.levels(maps)
    assert torch.equal(finest, maps[0])
    assert half[0, 0, 0, 0].item() == corner
    # Stride 64 over a map of 8: the window holds all there is and averages only that.
    assert coarsest.item() == whole


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_levels_of_a_constant_map_are_that_constant(pool) -> None:
    """Also in the half windows of P6, where an input is no multiple of 64."""
    pyramid = HighResolutionPyramid([2, 3, 4, 5], channels=6, hrfpn_pool=pool)
    finest, *coarser = pyramid.levels([torch.full_like(level, 2.0) for level in maps_of((96, 160))])
    value = finest[:, :, :1, :1]
    assert all(torch.allclose(level, value.expand_as(level), atol=1e-5) for level in (finest, *coarser))


COUNTS = [
    ("w18", 80, 30_125_956, 63_054_226, 63_185_810),
    ("w18", 1, 29_700_778, 62_750_392, 62_881_976),
    ("w32", 80, 49_922_992, 82_851_262, 82_982_846),
    ("w32", 1, 49_497_814, 82_547_428, 82_679_012),
    ("w40", 80, 66_169_392, 99_097_662, 99_229_246),
    ("w40", 1, 65_744_214, 98_793_828, 98_925_412),
]


@pytest.mark.parametrize(("width", "classes", "mask_rcnn", "cascade", "htc"), COUNTS)
def test_published_counts(width, classes, mask_rcnn, cascade, htc) -> None:
    """Spec section 7. The three systems share trunk and pyramid; all of it is trained."""
    common = {"backbone": f"hrnet_{width}", "scale": Scale(), "input_size": InputSize()}
    plain = on_meta(
        lambda: two_stage(
            **common,
            dialect="mm",
            neck=lambda widths: HighResolutionPyramid(widths, channels=256),
            roi_heads=mask_rcnn_heads(num_classes=classes, scale=Scale(), dialect="mm"),
        )
    )
    with_flow = on_meta(lambda: hq_isnet.build(num_classes=classes, **common))
    plain_cascade = on_meta(lambda: hq_isnet.build(num_classes=classes, hqis_head="cascade_mm", **common))
    found = [count_parameters(model) for model in (plain, plain_cascade, with_flow)]
    assert [count["params"] for count in found] == [mask_rcnn, cascade, htc]
    assert [count["trainable_params"] for count in found] == [mask_rcnn, cascade, htc]


def test_a_proposal_costs_three_box_heads() -> None:
    model = on_meta(lambda: hq_isnet.build(num_classes=1, backbone="hrnet_w18", scale=Scale(), input_size=InputSize()))
    few, many = (flops(model, 64, 96, proposals=count, detections=1) for count in (10, 11))
    assert many - few == 3 * (12_544 * 1024 + 1024 * 1024 + 1024 * (2 + 4))


@pytest.mark.parametrize("head", ["htc_nosem", "cascade_mm"])
@pytest.mark.parametrize("stand_in", ["hrnet_w18_small", "resnet10t"])
def test_trains_and_detects_on_thin_networks(thin_scale, input_size, scene, head, stand_in) -> None:
    scale = dataclasses.replace(thin_scale, backbones={"hrnet_w32": stand_in}, norm="group")
    torch.manual_seed(0)
    model = hq_isnet.build(num_classes=2, backbone="hrnet_w32", scale=scale, input_size=input_size, hqis_head=head)
    image, target = scene(64, 96)
    losses = model.train()([image], [target])
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    with torch.no_grad():
        (found,) = model.eval()([image])
    assert found["masks"].shape == (len(found["boxes"]), 64, 96)


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"hqis_head": "htc"}, "hqis_head must be one of htc_nosem, cascade_mm, not 'htc'"),
        ({"hrfpn_pool": "mean"}, "hrfpn_pool must be one of avg, max, not 'mean'"),
    ],
)
def test_unknown_switches_are_named(switches, message) -> None:
    with pytest.raises(ValueError, match=message):
        on_meta(
            lambda: hq_isnet.build(
                num_classes=1, backbone="hrnet_w18", scale=Scale(), input_size=InputSize(), **switches
            )
        )
