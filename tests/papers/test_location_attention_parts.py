"""CSPAM, TWFPN and CSMF: counts, shapes, the attention against its formula, what theta and the residual do."""

import dataclasses

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from reprolib.evaluation.cost import on_meta
from reprolib.models.feature_pyramid import FeaturePyramid
from reprolib.papers.location_attention.cross_stage_backbone import CrossStage, cross_stage_backbone
from reprolib.papers.location_attention.mask_feature_fusion import CrossStageMaskFeature
from reprolib.papers.location_attention.position_attention import PositionAttention
from reprolib.papers.location_attention.switches import Switches
from reprolib.papers.location_attention.two_way_pyramid import TwoWayPyramid
from reprolib.params import Scale

PUBLISHED = Scale(pretrained=False)
THIN = Scale(backbones={"resnet50": "resnet10t"}, norm="group", pretrained=False, frozen_stages=0, channels=32)
WIDTHS = [256, 512, 1024, 2048]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def backbone(name="resnet50", *, scale=PUBLISHED, **switches):
    return cross_stage_backbone(name, scale=scale, switches=Switches(**switches))


def attention(channels=16, **switches):
    torch.manual_seed(0)
    return PositionAttention(channels, switches=Switches(**switches))


def maps(channels: int = 32, *, side: int = 16) -> list[torch.Tensor]:
    """P2..P6 or N2..N6 of an input of 4 * side px, then P5, N4, N3, N2."""
    generator = torch.Generator().manual_seed(0)
    sides = [max(1, side // 2**level) for level in (0, 1, 2, 3, 4, 3, 2, 1, 0)]
    return [torch.randn(1, channels, one, one, generator=generator) for one in sides]


@pytest.mark.parametrize(
    ("name", "stages", "expected"),
    [
        ("resnet50", "none", 18_872_128),
        ("resnet50", "45", 19_508_930),
        ("resnet50", "345", 19_540_995),
        ("resnet101", "none", 23_633_216),
        ("resnet101", "45", 24_270_018),
        ("resnet101", "345", 24_302_083),
    ],
)
def test_parameters_of_the_backbone(name, stages, expected):
    """Specification, sections 2.1 and 2.2; ResNet-50 has 23,508,032, ResNet-101 42,500,160."""
    built = on_meta(lambda: backbone(name, pam_stages=stages))
    assert count(built) == expected and built.channels == WIDTHS


def test_parameters_of_timms_layout():
    built = on_meta(lambda: backbone(csp_impl="timm_cspresnet50", pam_stages="none"))
    assert count(built) == 20_591_168 and built.channels == [128, 256, 512, 1024]


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({}, 32_065),
        ({"pam_shared_reduce": True}, 32_065 - 2 * (256 * 32 + 32)),
        # T1 from a convolution of its own to C / 2, and T2 of C / 2 in place of 7 C / 8.
        ({"t1_source": "own_conv"}, 32_065 + (256 * 128 + 128) - (224 - 128) * 33),
    ],
    ids=str,
)
def test_parameters_of_the_attention(switches, expected):
    assert count(on_meta(lambda: attention(256, **switches))) == expected


def test_parameters_of_pyramid_and_mask_feature():
    pyramid = on_meta(lambda: TwoWayPyramid(WIDTHS, channels=256, switches=Switches()))
    assert count(pyramid) == count(on_meta(lambda: FeaturePyramid(WIDTHS, channels=256))) + 3_540_480

    def feature(**switches):
        return lambda: CrossStageMaskFeature(256, width=128, out_channels=256, switches=Switches(**switches))

    assert count(on_meta(feature())) == count(on_meta(feature(guide="mul_sigmoid"))) == 1_691_904
    assert count(on_meta(feature(guide="concat"))) == 1_691_904 + 128 * 256


def test_every_stage_strides_and_every_activation_is_mish():
    built = backbone(scale=THIN)
    shapes = [tuple(one.shape) for one in built(torch.rand(2, 3, 64, 96))]
    assert shapes == [(2, 64, 16, 24), (2, 128, 8, 12), (2, 256, 4, 6), (2, 512, 2, 3)]
    kinds = {type(module) for module in built.modules()}
    assert nn.Mish in kinds and not kinds & {nn.ReLU, nn.LeakyReLU, nn.BatchNorm2d}
    stages = [module for module in built.modules() if isinstance(module, CrossStage)]
    assert [isinstance(stage.attention, PositionAttention) for stage in stages] == [False, True, True, True]


def test_half_of_the_channels_skip_the_blocks():
    """With an identity in the place of the merging convolution, half A is that of the first block."""
    stage = next(module for module in backbone(scale=THIN).modules() if isinstance(module, CrossStage)).eval()
    stage.merge = nn.Identity()
    x = torch.rand(1, 64, 8, 8)
    with torch.no_grad():
        first, out = stage.first(x), stage(x)
    assert torch.equal(out[:, :32], first[:, :32]) and not torch.allclose(out[:, 32:], first[:, 32:])


def test_nothing_is_frozen_where_no_weights_fit():
    """The published scale freezes stem and stage 1 and keeps batch norms on their statistics: here all is trained."""
    built = on_meta(lambda: backbone()).train()
    assert all(parameter.requires_grad for parameter in built.parameters())
    norms = [module for module in built.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(norm.training for norm in norms)


@pytest.mark.parametrize(("wanted", "loaded"), [("auto", False), ("none", False), ("imagenet", True)])
def test_a_split_resnet_can_start_from_its_resnets_first_blocks(tmp_path, monkeypatch, wanted, loaded):
    published = timm.create_model("test_resnet", features_only=True)
    save_file(published.state_dict(), tmp_path / "test_resnet.safetensors")
    monkeypatch.setenv("REPROLIB_WEIGHTS", str(tmp_path))
    scale = Scale(backbones={"resnet50": "test_resnet"}, norm="batch")
    body = backbone(scale=scale, csp_pretrained=wanted).body
    pairs = [(body.conv1[0], published.conv1[0]), (body.layer2.first.conv1, published.layer2[0].conv1)]
    assert [torch.equal(ours.weight, theirs.weight) for ours, theirs in pairs] == [loaded, loaded]


def test_only_resnets_have_stages_to_split():
    with pytest.raises(ValueError, match=r"hrnet_w18 has no stages layer1\.\.layer4"):
        on_meta(lambda: backbone("hrnet_w18", scale=dataclasses.replace(THIN, backbones={})))


def test_the_attention_is_its_formula():
    block, x = attention(pam_outer_residual=False), torch.randn(1, 16, 2, 3)
    with torch.no_grad():
        block.theta.fill_(0.5)
        p, a, m = (map_[0].flatten(1) for map_ in block.reduced(x))
        weights = (p.T @ a).exp()
        weights = weights / weights.sum(1, keepdim=True)
        gathered = torch.stack([sum(weights[i, j] * m[:, j] for j in range(6)) for i in range(6)], dim=1)
        expected = torch.cat([0.5 * m.reshape(1, 2, 2, 3), block.t2(gathered.reshape(1, 2, 2, 3))], dim=1)
        torch.testing.assert_close(block(x), expected)
        torch.testing.assert_close(block.attention(x)[0], weights)


@pytest.mark.parametrize("t1_source", ["reduced_C1", "own_conv"])
@pytest.mark.parametrize("theta_on", ["T1", "T2"])
@pytest.mark.parametrize("shared", [False, True])
def test_theta_gets_gradient_and_the_channels_stay(t1_source, theta_on, shared):
    block = attention(t1_source=t1_source, theta_on=theta_on, pam_shared_reduce=shared)
    out = block(torch.randn(2, 16, 3, 5))
    assert out.shape == (2, 16, 3, 5) and block.theta == 0
    out.square().sum().backward()
    assert block.theta.grad.abs() > 1e-6


def test_what_the_residual_is_for():
    """The block as the text has it, three in a row: what differs between positions is gone; with the input added, not.

    Specification, section 2.2, step 5.
    """
    x = torch.randn(1, 64, 8, 8)
    spread = {}
    with torch.no_grad():
        for residual in (False, True):
            torch.manual_seed(0)
            blocks = [PositionAttention(64, switches=Switches(pam_outer_residual=residual)) for _ in range(3)]
            spread[residual] = nn.Sequential(*blocks)(x).var((2, 3)).mean() / x.var((2, 3)).mean()
    assert spread[False] < 1e-6 and spread[True] == pytest.approx(1, abs=0.1)


def both_ways(**switches):
    torch.manual_seed(0)
    pyramid = TwoWayPyramid([8, 16, 32, 64], channels=32, switches=Switches(**switches))
    levels = [torch.rand(1, width, 64 // step, 96 // step) for width, step in ((8, 4), (16, 8), (32, 16), (64, 32))]
    with torch.no_grad():
        return pyramid, pyramid.pyramid(levels), pyramid(levels)


def test_the_pyramid_goes_both_ways():
    pyramid, (p2, p3, _, p5, _), out = both_ways()
    sizes = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2), (2, 3), (4, 6), (8, 12), (16, 24)]
    assert [tuple(one.shape[1:]) for one in out] == [(32, *size) for size in sizes]
    n2, n3, n4, n5, n6, *masks = out
    assert torch.equal(n2, p2)
    with torch.no_grad():
        step = pyramid.outputs[0](pyramid.downs[0](p2).relu() + p3).relu()
    assert torch.equal(n3, step) and torch.equal(n6, n5[..., ::2, ::2])
    assert all(torch.equal(a, b) for a, b in zip(masks, (p5, n4, n3, n2), strict=True))


def test_the_pyramids_ways_are_switches():
    _, pyramid, out = both_ways(csmf_levels_from="P")
    assert all(torch.equal(a, b) for a, b in zip(out[5:], pyramid[3::-1], strict=True))
    assert not torch.equal(out[1], pyramid[1])
    built, pyramid, out = both_ways(head_inputs="P")
    assert all(torch.equal(a, b) for a, b in zip(out[:5], pyramid, strict=True)) and len(out) == 9
    assert torch.equal(out[5], pyramid[3]) and not torch.equal(out[6], pyramid[2])
    assert len(built.downs) == len(built.outputs) == 2  # nothing reads N5
    assert min(level.min() for level in both_ways(twfpn_relu=False)[2][1:4]) < 0
    assert min(level.min() for level in both_ways()[2][1:4]) == 0


@pytest.mark.parametrize("guide", ["add", "mul_sigmoid", "concat"])
def test_the_mask_feature_reads_four_maps(guide):
    feature = CrossStageMaskFeature(32, width=16, out_channels=24, switches=Switches(guide=guide))
    levels = [level.requires_grad_() for level in maps()]
    out = feature(levels)
    assert out.shape == (1, 24, 16, 16)  # stride 4, as N2
    out.sum().backward()
    assert [level.grad is not None for level in levels] == [False] * 5 + [True] * 4
