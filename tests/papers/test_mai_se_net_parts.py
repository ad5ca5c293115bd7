"""MAI-SE-Net's blocks: mask attention interaction and scale enhancement against hand cases."""

import itertools

import pytest
import torch
from timm.layers.cbam import CbamModule
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from reprolib.evaluation.cost import on_meta
from reprolib.models.feature_pyramid import FeaturePyramid, subsample
from reprolib.models.two_stage.mask_flow import MaskInformationFlow
from reprolib.papers.mai_se_net.mask_interaction import ASPP, CBAM, CSAB, MaskInteraction
from reprolib.papers.mai_se_net.scale_enhancement import FeatureBalance, ScaleEnhancementPyramid
from reprolib.papers.mai_se_net.switches import COMPONENTS, MASK_INTERACTION, SCALE_ENHANCEMENT, Switches


def any_of(parts):
    """All subsets, none and all included."""
    return [subset for count in range(len(parts) + 1) for subset in itertools.combinations(parts, count)]


def maps(*, size=64, seed=0):
    """C2..C5 of a square image."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 8, -(-size // s), -(-size // s), generator=generator) for s in (4, 8, 16, 32)]


def pyramid(*components, **switches):
    torch.manual_seed(0)
    return ScaleEnhancementPyramid([8] * 4, channels=16, components=components, switches=Switches(**switches))


def test_aspp_reads_at_rates_2_to_5():
    """Which positions reach the centre: nine per branch, the centre shared."""
    module = ASPP(1, activation=False)
    x = torch.zeros(1, 1, 14, 14, requires_grad=True)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
    module(x)[0, 0, 7, 7].backward()
    offsets = {(i * r, j * r) for r in (2, 3, 4, 5) for i, j in itertools.product((-1, 0, 1), repeat=2)}
    assert {(y - 7, column - 7) for y, column in x.grad[0, 0].nonzero().tolist()} == offsets
    assert x.grad[0, 0, 7, 7] == 4 and x.grad.sum() == 36


def test_aspp_is_rectified_unless_switched_off():
    x = torch.randn(2, 8, 14, 14)
    torch.manual_seed(0)
    rectified, linear = (ASPP(8, activation=on) for on in (True, False))
    assert rectified(x).shape == x.shape and (rectified(x) >= 0).all()
    assert (linear(x) < 0).any()
    torch.testing.assert_close(linear(2 * x), 2 * linear(x))


def test_shuffle_puts_the_two_sources_in_turn():
    csab = CSAB(4, switches=Switches())
    x = torch.arange(8.0).view(1, 8, 1, 1)  # 0..3 the refined features, 4..7 the RoI's
    assert csab.shuffle(x).flatten().tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_group_convolution_keeps_the_sources_apart():
    """RoI features move only the odd channels before the attention, refined features only the even ones."""
    torch.manual_seed(0)
    csab, before = CSAB(4, switches=Switches()), []
    csab.attention.register_forward_pre_hook(lambda module, inputs: before.append(inputs[0]))
    refined, roi, other = (torch.randn(1, 4, 14, 14) for _ in range(3))
    for sources in ((refined, roi), (refined, other), (other, roi)):
        csab(*sources)
    base, roi_moved, refined_moved = before
    assert torch.equal(base[:, 0::2], roi_moved[:, 0::2]) and not torch.equal(base[:, 1::2], roi_moved[:, 1::2])
    assert torch.equal(base[:, 1::2], refined_moved[:, 1::2]) and (base >= 0).all()


@pytest.mark.parametrize("training", [True, False])
def test_cbam_is_the_published_one(training):
    """timm's, with our weights."""
    torch.manual_seed(0)
    ours = CBAM(32).train(training)
    theirs = CbamModule(32, mlp_bias=True).train(training)
    theirs.channel.fc1.load_state_dict(ours.mlp[0].state_dict())
    theirs.channel.fc2.load_state_dict(ours.mlp[2].state_dict())
    theirs.spatial.conv.conv.load_state_dict(ours.spatial[0].state_dict())
    x = torch.randn(3, 32, 14, 14)
    torch.testing.assert_close(ours(x), theirs(x))


def test_cbam_parallel_takes_both_weights_from_its_input():
    torch.manual_seed(0)
    x = torch.randn(3, 32, 14, 14)
    module = CBAM(32, norm=False, parallel=True)
    expected = x * module.channel_weights(x) * module.spatial_weights(x)
    torch.testing.assert_close(module(x), expected)
    module.parallel = False
    assert not torch.allclose(module(x), expected)


@pytest.mark.parametrize("components", any_of(MASK_INTERACTION), ids=str)
@pytest.mark.parametrize("csab_out", ["widen_first_conv", "group_reduce", "conv1x1"])
def test_site_with_any_of_its_parts(components, csab_out):
    site = MaskInteraction(16, components=components, switches=Switches(csab_out=csab_out))
    assert site.out_channels == (32 if "csab" in components and csab_out == "widen_first_conv" else 16)
    assert isinstance(site.fusion, CSAB if "csab" in components else MaskInformationFlow)
    for count in (3, 0):
        previous, roi = torch.randn(count, 16, 14, 14), torch.randn(count, 16, 14, 14)
        result = site(previous, roi)
        assert result.shape == (count, site.out_channels, 14, 14)
        result.sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in site.parameters())
    assert all(buffer.isfinite().all() for buffer in site.buffers())


def test_site_without_csab_adds_the_refined_features():
    torch.manual_seed(0)
    site = MaskInteraction(16, components=("aspp", "nlb"), switches=Switches())
    previous, roi = torch.randn(2, 16, 14, 14), torch.randn(2, 16, 14, 14)
    expected = roi + torch.relu(site.fusion.project(site.nlb(site.aspp(previous))))
    torch.testing.assert_close(site(previous, roi), expected)


def test_non_local_block_stands_after_or_inside_aspp():
    """It starts as an identity in either place, so both sites agree until it has learned."""
    x, roi = torch.randn(2, 16, 14, 14), torch.randn(2, 16, 14, 14)
    after, inside = (
        MaskInteraction(16, components=("aspp", "nlb"), switches=Switches(nlb_in=place)) for place in ("C", "4C")
    )
    assert inside.aspp.refine.phi.in_channels == 64 and inside.aspp.refine.phi.out_channels == 4
    assert after.nlb.phi.in_channels == 16 and isinstance(inside.nlb, nn.Identity)
    inside.load_state_dict(after.state_dict(), strict=False)
    torch.testing.assert_close(inside(x, roi), after(x, roi))
    torch.nn.init.normal_(inside.aspp.refine.output.weight)
    assert not torch.allclose(inside(x, roi), after(x, roi))


@pytest.mark.parametrize("size", [64, 50])
@pytest.mark.parametrize("components", any_of(SCALE_ENHANCEMENT), ids=str)
def test_levels_of_every_variant(components, size):
    neck = pyramid(*components)
    levels = neck(maps(size=size))
    assert neck.strides == ((2, 4, 8, 16, 32) if "carafeb" in components else (4, 8, 16, 32))
    rpn_only = () if "carafeb" in components else (64,)
    cells = [-(-size // stride) for stride in (*neck.strides, *rpn_only)]
    if "carafeb" in components:
        cells[0] = 2 * cells[1]
    assert [tuple(level.shape) for level in levels] == [(2, 16, n, n) for n in cells]
    if rpn_only:
        torch.testing.assert_close(levels[-1], subsample(levels[-2]))
    sum(level.sum() for level in levels).backward()
    assert [name for name, p in neck.named_parameters() if p.grad is None] == []


def test_keep_b6_adds_the_last_level_for_the_rpn_only():
    neck = pyramid("carafeb", keep_b6=True)
    levels = neck(maps())
    assert len(levels) == 6 and levels[-1].shape[-1] == 1 and len(neck.strides) == 5


@pytest.mark.parametrize("strides", [(2, 4, 8, 16, 32), (4, 8, 16, 32)])
@pytest.mark.parametrize("up", ["nearest", "bilinear"])
def test_balance_of_constant_maps_is_their_mean(strides, up):
    levels = [torch.full((1, 3, 64 // s, 64 // s), float(s)) for s in strides]
    balance = FeatureBalance(strides, up=up, residual="none")
    mean = sum(strides) / len(strides)
    balanced = balance(levels)
    torch.testing.assert_close(balanced, torch.full((1, 3, 8, 8), mean))
    for recovered, level in zip(balance.recover(balanced, levels), levels, strict=True):
        torch.testing.assert_close(recovered, torch.full_like(level, mean))


def test_balance_takes_maxima_of_finer_levels_and_repeats_coarser_ones():
    levels = [torch.zeros(1, 1, 64 // s, 64 // s) for s in (2, 4, 8, 16, 32)]
    levels[0][0, 0, 5, 7] = 5.0  # stride 2: cell (1, 1) at stride 8
    levels[1][0, 0, 0, 5] = 10.0  # stride 4: cell (0, 2)
    levels[3][0, 0, 3, 3] = 15.0  # stride 16: cells 6 and 7
    balance = FeatureBalance((2, 4, 8, 16, 32), up="nearest", residual="none")
    expected = torch.zeros(8, 8)
    expected[1, 1], expected[0, 2], expected[6:, 6:] = 1.0, 2.0, 3.0
    torch.testing.assert_close(balance(levels)[0, 0], expected)
    b1, b2, b3, b4, b5 = (level[0, 0] for level in balance.recover(balance(levels), levels))
    torch.testing.assert_close(b1, expected.repeat_interleave(4, 0).repeat_interleave(4, 1))
    torch.testing.assert_close(b2, expected.repeat_interleave(2, 0).repeat_interleave(2, 1))
    torch.testing.assert_close(b3, expected)
    assert b4[0].tolist() == [1.0, 2.0, 0.0, 0.0] and b4[3, 3] == 3.0
    assert b5.tolist() == [[2.0, 0.0], [0.0, 3.0]]


@pytest.mark.parametrize(("residual", "added"), [("p1_only", [0]), ("all", [0, 1, 2, 3, 4]), ("none", [])])
def test_which_raw_levels_are_added_back(residual, added):
    plain, neck = pyramid("carafeb", "fbo", se_residual="none"), pyramid("carafeb", "fbo", se_residual=residual)
    raw = neck.raw_levels(maps())
    for index, (ours, bare) in enumerate(zip(neck(maps()), plain(maps()), strict=True)):
        torch.testing.assert_close(ours, bare + raw[index] if index in added else bare)


def test_p1_comes_from_p2_before_or_after_its_convolution():
    after, before = pyramid("carafeb"), pyramid("carafeb", p1_source="P2_merged")
    torch.testing.assert_close(after(maps())[0], after.carafe(after(maps())[1]))
    with torch.no_grad():
        for neck in (after, before):
            neck.outputs[0].weight.zero_()
    assert not after(maps())[0].any() and before(maps())[0].any()


def test_context_starts_as_an_identity_and_stands_on_the_balanced_map_or_on_every_level():
    for others in ((), ("carafeb",), ("fbo",), ("carafeb", "fbo")):
        with_gcb, without = pyramid(*others, "gcb"), pyramid(*others)
        with_gcb.load_state_dict(without.state_dict(), strict=False)
        for ours, bare in zip(with_gcb(maps()), without(maps()), strict=True):
            torch.testing.assert_close(ours, bare)
        assert len(with_gcb.contexts) == (1 if "fbo" in others else len(with_gcb.strides))


def test_without_components_the_neck_is_the_feature_pyramid():
    torch.manual_seed(0)
    plain = FeaturePyramid([8] * 4, channels=16)
    for ours, theirs in zip(pyramid()(maps()), plain(maps()), strict=True):
        assert torch.equal(ours, theirs)


class LargestTensor(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.untyped_storage().nbytes() // result.element_size())
        return result


def test_the_published_neck_holds_no_25_copies():
    """At 800x800, 256 channels: P1 has 41 M elements, and nothing is larger (unfolding would be 1,024 M)."""
    neck = on_meta(
        lambda: ScaleEnhancementPyramid(
            [256, 512, 1024, 2048], channels=256, components=COMPONENTS, switches=Switches()
        )
    )
    widths = {4: 256, 8: 512, 16: 1024, 32: 2048}
    inputs = [torch.empty(1, width, 800 // s, 800 // s, device="meta") for s, width in widths.items()]
    with LargestTensor() as seen:
        neck(inputs)
    assert seen.elements == 256 * 400 * 400
