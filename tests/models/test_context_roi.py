"""FL-CSE-RoIE, C-SE Mask R-CNN and EMIN: counts, scopes of a box, levels, gates, what passes between mask heads."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.cse_mask_rcnn import model as cse_mask_rcnn
from reprolib.models.systems.emin import model as emin
from reprolib.models.systems.fl_cse_roie import model as fl_cse_roie
from reprolib.models.systems.fl_cse_roie.carafe_mask_head import CarafeMaskHead
from reprolib.models.systems.htc import model as htc
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.models.two_stage.context_roi_extractor import context_extractor, scale_about_centre
from reprolib.models.two_stage.mask_head import MaskHead
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.self_attention_flow import SelfAttentionFlow, self_attention_flow
from reprolib.params import Scale


def published(system, *, backbone="resnet101", num_classes=1, **switches):
    return on_meta(
        lambda: system.build(
            num_classes=num_classes,
            backbone=backbone,
            scale=Scale(),
            input_size=InputSize(),
            **{"dialect": "mm"} | switches,
        )
    )


def params(module) -> int:
    return count_parameters(module)["params"]


@pytest.fixture
def features():
    torch.manual_seed(1)
    return [torch.randn(2, 6, side, side) for side in (32, 16, 8, 4, 2)]


BOXES = [torch.tensor([[40.0, 30.0, 60.0, 70.0], [0.0, 0.0, 120.0, 120.0]]), torch.tensor([[10.0, 90.0, 50.0, 126.0]])]
COARSE = torch.tensor([0, 1, 0])  # the level of each: sides of 28, 120 and 38 px


@pytest.mark.parametrize(
    ("system", "backbone", "num_classes", "total"),
    [
        (fl_cse_roie, "resnet101", 1, 96_122_928),
        (fl_cse_roie, "resnet50", 1, 77_130_800),
        (cse_mask_rcnn, "resnet101", 1, 63_506_102),
        (emin, "resnet101", 1, 96_407_524),
    ],
)
def test_counts_of_the_spec(system, backbone, num_classes, total) -> None:
    assert params(published(system, backbone=backbone, num_classes=num_classes)) == total


def test_counts_of_the_parts() -> None:
    extractor = on_meta(lambda: context_extractor(7, channels=256, dialect="mm"))
    assert params(extractor.excite) == 74_544 and params(extractor.reduce) == 196_864
    joined = on_meta(lambda: context_extractor(7, channels=256, dialect="mm", level_fuse="concat_1x1"))
    assert params(joined) - params(extractor) == 1024 * 256 + 256
    site = {f: params(on_meta(lambda f=f: SelfAttentionFlow(256, fusion=f))) for f in ("add", "concat")}
    assert site == {"add": 65_984, "concat": 65_984 + 512 * 256 + 256}
    heads = [params(on_meta(lambda kind=kind: kind(256, outputs=1))) for kind in (MaskHead, CarafeMaskHead)]
    assert heads[0] - heads[1] == 262_400 - 74_148


def test_what_context_adds_to_mask_rcnn() -> None:
    plain, both = params(published(mask_rcnn)), params(published(cse_mask_rcnn))
    assert both - plain == 542_816
    assert params(published(cse_mask_rcnn, cse_in="mask")) - plain == 542_816 // 2


def test_the_extractors_alone_on_htc() -> None:
    """96,687,300: deconvolutions and the 1x1 convolutions of the flow put back (spec, section 13)."""
    model = published(fl_cse_roie)
    flow, replaced = model.roi_heads.mask_flow, published(htc).roi_heads.mask_flow
    assert params(model) - params(flow) + params(replaced) == 96_687_300


def test_flops_of_context_are_those_of_gates_and_reductions() -> None:
    """Per box at 7x7, and per mask at 14x14: 768 to 256 at every position, and two layers of 768 x 48."""
    sizes = {"proposals": 1000, "detections": 100}
    more = flops(published(cse_mask_rcnn), 64, 64, **sizes) - flops(published(mask_rcnn), 64, 64, **sizes)
    gate = 2 * 768 * 48
    assert more == 1000 * (49 * 768 * 256 + gate) + 100 * (196 * 768 * 256 + gate)


def test_scopes_share_their_centre_and_end_at_the_border() -> None:
    boxes = torch.tensor([[40.0, 30.0, 60.0, 70.0], [0.0, 10.0, 8.0, 20.0]])
    assert scale_about_centre(boxes, 1.0, (100, 100)) is boxes
    wide = scale_about_centre(boxes, 2.0, (85, 100))
    assert wide.tolist() == [[30.0, 10.0, 70.0, 85.0], [0.0, 5.0, 12.0, 25.0]]
    free = scale_about_centre(boxes, 1.5, (1000, 1000))[0]
    assert ((free[:2] + free[2:]) / 2).tolist() == [50.0, 50.0] and (free[2:] - free[:2]).tolist() == [30.0, 60.0]


def test_one_scope_and_one_level_are_plain_roi_align_gated_and_reduced(features) -> None:
    extractor = context_extractor(7, channels=6, dialect="mm", scales=(1.0,), ratio=2)
    read = roi_pooler(7, dialect="mm")(features, BOXES)
    squeezed = read.mean((2, 3))
    first, second = extractor.excite.fc1, extractor.excite.fc2
    hidden = F.linear(squeezed, first.weight.flatten(1), first.bias).relu()
    gate = F.linear(hidden, second.weight.flatten(1), second.bias).sigmoid()
    assert hidden.shape == (3, 3) and (gate > 0).all() and (gate < 1).all()
    expected = F.conv2d(read * gate[:, :, None, None], extractor.reduce.weight, extractor.reduce.bias)
    torch.testing.assert_close(extractor(features, BOXES), expected)


def scopes_of(extractor, features) -> list[torch.Tensor]:
    seen = []
    extractor.aggregate = lambda scopes: seen.extend(scopes)
    extractor(features, BOXES)
    return seen


def test_every_scope_is_read_from_the_level_of_the_box_itself(features) -> None:
    """Twice 38 px would be read from P3, and twice 120 px from P4."""
    extractor = context_extractor(7, channels=6, dialect="mm")
    assert extractor.pooler.levels(torch.cat(BOXES)).tolist() == COARSE.tolist()
    found = scopes_of(extractor, features)
    assert [tuple(scope.shape) for scope in found] == [(3, 6, 7, 7)] * 3
    for scope, scale in zip(found, (1.0, 1.5, 2.0), strict=True):
        boxes = [scale_about_centre(one, scale, (128, 128)) for one in BOXES]
        levels = [roi_align(features[level], boxes, 7, 1 / (4 * 2**level), 0, True) for level in (0, 1)]
        expected = torch.where(COARSE[:, None, None, None] == 0, *levels)
        torch.testing.assert_close(scope, expected, atol=1e-5, rtol=1e-5)


def test_full_level_sums_all_four(features) -> None:
    found = scopes_of(context_extractor(7, channels=6, dialect="mm", level_fuse="sum"), features)
    boxes = [scale_about_centre(one, 1.5, (128, 128)) for one in BOXES]
    expected = sum(roi_align(features[level], boxes, 7, 1 / (4 * 2**level), 0, True) for level in range(4))
    torch.testing.assert_close(found[1], expected, atol=1e-5, rtol=1e-5)


def test_full_level_may_join_by_a_convolution(features) -> None:
    extractor = context_extractor(7, channels=6, dialect="mm", level_fuse="concat_1x1")
    found = scopes_of(extractor, features)
    levels = [roi_align(features[level], BOXES, 7, 1 / (4 * 2**level), 0, True) for level in range(4)]
    torch.testing.assert_close(found[0], extractor.pooler.join(torch.cat(levels, dim=1)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("level_fuse", ["own", "sum", "concat_1x1"])
def test_no_boxes_and_placeholders(level_fuse, features) -> None:
    extractor = context_extractor(7, channels=6, dialect="mm", level_fuse=level_fuse)
    assert extractor(features, [torch.zeros(0, 4), torch.zeros(0, 4)]).shape == (0, 6, 7, 7)
    assert extractor.placeholder(features, 5).shape == (5, 6, 7, 7)


def test_the_flow_adds_or_joins_what_attended_to_itself() -> None:
    torch.manual_seed(0)
    previous, roi = torch.randn(2, 8, 5, 5), torch.randn(2, 8, 5, 5)
    for fusion in ("add", "concat"):
        site = SelfAttentionFlow(8, fusion=fusion)
        torch.nn.init.normal_(site.attention.output.weight)
        refined = site.attention(previous)
        assert not torch.allclose(refined, previous)
        expected = roi + refined
        if fusion == "concat":
            expected = site.reduce(torch.cat([refined, roi], dim=1))
        torch.testing.assert_close(site(previous, roi), expected)
    with pytest.raises(ValueError, match="fusion must be one of add, concat, not 'mean'"):
        SelfAttentionFlow(8, fusion="mean")


def test_carafe_enlarges_the_masks(thin_scale) -> None:
    flow = self_attention_flow([CarafeMaskHead(8, outputs=2) for _ in range(3)], 8, fusion="add")
    assert [tuple(one.shape) for one in flow.all_logits(torch.randn(3, 8, 14, 14))] == [(3, 2, 28, 28)] * 3
    assert flow(torch.randn(0, 8, 14, 14), 2).shape == (0, 2, 28, 28)


@pytest.mark.parametrize(
    ("system", "switches"),
    [
        (fl_cse_roie, {"level_fuse": "concat_1x1", "se_ratio": 4}),
        (fl_cse_roie, {"dialect": "torchvision", "context_scales": (1.0, 3.0)}),
        (cse_mask_rcnn, {"cse_in": "mask"}),
        (cse_mask_rcnn, {"dialect": "torchvision"}),
        (emin, {"dialect": "torchvision"}),
    ],
)
def test_switches_train_and_detect(system, switches, thin_scale, input_size, scene) -> None:
    scale = dataclasses.replace(thin_scale, norm="group", score_threshold=0.01)
    torch.manual_seed(0)
    model = system.build(num_classes=2, backbone="resnet50", scale=scale, input_size=input_size, **switches)
    image, target = scene(64, 96)
    losses = model.train()([image], [target])
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    with torch.no_grad():
        (found,) = model.eval()([image])
    assert len(found["boxes"]) and found["masks"].shape == (len(found["boxes"]), 64, 96)


@pytest.mark.parametrize(
    ("system", "switches", "message"),
    [
        (fl_cse_roie, {"level_fuse": "max"}, "level_fuse must be one of own, sum, concat_1x1, not 'max'"),
        (fl_cse_roie, {"context_scales": ()}, "context_scales must be one number above 0 or several, not "),
        (cse_mask_rcnn, {"context_scales": (1.0, -2.0)}, "context_scales must be one number above 0 or several"),
        (cse_mask_rcnn, {"cse_in": "box"}, r"cse_in must be one of box\+mask, mask, not 'box'"),
    ],
)
def test_unknown_switches_are_named(system, switches, message) -> None:
    with pytest.raises(ValueError, match=message):
        published(system, **switches)
