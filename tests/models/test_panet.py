"""PANet: counts and FLOPs of its parts, the bottom-up path, adaptive feature pooling, fully connected fusion."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.models.systems.panet import model as panet
from reprolib.models.systems.panet.adaptive_feature_pooling import (
    AdaptiveFeaturePooling,
    first_convolution,
    first_linear,
)
from reprolib.models.systems.panet.fully_connected_fusion import FullyConnectedFusionHead
from reprolib.models.systems.panet.path_aggregation import PathAggregationPyramid
from reprolib.models.two_stage.mask_head import MaskHead
from reprolib.models.two_stage.roi_pooler import all_level_pooler
from reprolib.params import Scale

NECK, SHARED, PER_LEVEL = {"panet_parts": "neck"}, {"afp_first": "shared"}, {}


def published(system=panet, *, dialect="mm", backbone="resnet50", num_classes=80, **switches):
    def build():
        return system.build(
            num_classes=num_classes,
            backbone=backbone,
            scale=Scale(pretrained=False),
            input_size=InputSize(),
            dialect=dialect,
            **switches,
        )

    return on_meta(build)


def params(module) -> int:
    return count_parameters(module)["params"]


@pytest.fixture
def thin(thin_scale, input_size):
    def build(*, scale=thin_scale, dialect="mm", **switches):
        torch.manual_seed(0)
        return panet.build(
            num_classes=2, backbone="resnet50", scale=scale, input_size=input_size, dialect=dialect, **switches
        )

    return build


@pytest.mark.parametrize(
    ("switches", "counts"),
    [
        (NECK, (47_936_816, 47_511_638, 66_928_944, 66_503_766, 47_883_696)),
        (SHARED, (68_491_712, 68_066_534, 87_483_840, 87_058_662, 68_438_592)),
        (PER_LEVEL, (108_800_192, 108_375_014, 127_792_320, 127_367_142, 108_747_072)),
    ],
    ids=["neck", "shared", "per_level"],
)
def test_counts_of_the_spec(switches, counts) -> None:
    """Columns of section 0.3: R50 and R101, each with 80 classes and 1, then R50 with 80 in detectron2's terms."""
    got = [
        params(published(backbone=backbone, num_classes=num_classes, **switches))
        for backbone in ("resnet50", "resnet101")
        for num_classes in (80, 1)
    ]
    assert (*got, params(published(dialect="d2", **switches))) == counts


def test_iemask_reports_shared_first_layers() -> None:
    """Its Table 8 prints 68.1 M; a layer per level is 40 M away, and our count is within the spec's tolerance."""
    assert params(published(dialect="d2", afp_first="shared")) / 1e6 == pytest.approx(68.1, abs=0.4)


def test_fusion_branch_parameters() -> None:
    head, plain = (kind(256, outputs=80) for kind in (FullyConnectedFusionHead, MaskHead))
    assert params(head) - params(plain) == 20_554_896
    assert params(published(panet_parts="neck+fcf")) == 47_936_816 + 20_554_896


def test_flops_of_the_spec() -> None:
    def cost(model, proposals, detections):
        return flops(model, 800, 1152, proposals, detections) / 1e9

    plain, neck, fcf, full = published(mask_rcnn), published(**NECK), published(panet_parts="neck+fcf"), published()
    assert cost(neck, 0, 0) - cost(plain, 0, 0) == pytest.approx(22.3, abs=0.05)
    assert cost(fcf, 0, 100) - cost(neck, 0, 100) == pytest.approx(0.193 * 100, rel=2e-3)
    # Three first layers more: fc1 of 12,845,056 and conv1 of 589,824 x 196 multiply-adds.
    assert cost(full, 1000, 0) - cost(fcf, 1000, 0) == pytest.approx(38.5, abs=0.05)
    assert cost(full, 0, 100) - cost(fcf, 0, 100) == pytest.approx(3 * 0.1156 * 100, rel=1e-3)
    assert cost(published(afp_first="shared"), 10, 10) == cost(full, 10, 10)


def pyramid(channels: int = 4, size: tuple[int, int] = (37, 52)) -> list[torch.Tensor]:
    """P2..P5 with odd sizes on the way."""
    generator = torch.Generator().manual_seed(3)
    levels = []
    for _ in range(4):
        levels.append(torch.randn(2, channels, *size, generator=generator))
        size = tuple((length + 1) // 2 for length in size)
    return levels


@pytest.mark.parametrize("chain", ["post_conv", "pre_conv"])
@pytest.mark.parametrize("relu", [True, False])
def test_bottom_up_path_step_by_step(chain, relu) -> None:
    torch.manual_seed(0)
    neck = PathAggregationPyramid([4, 4, 4, 4], channels=4, chain=chain, relu=relu)
    p2, p3, p4, p5 = pyramid()
    (d2, d3, d4), (o3, o4, o5) = neck.downs, neck.outputs
    act = F.relu if relu else (lambda x: x)
    s3 = act(d2(p2)) + p3
    n3 = act(o3(s3))
    s4 = act(d3(n3 if chain == "post_conv" else s3)) + p4
    n4 = act(o4(s4))
    s5 = act(d4(n4 if chain == "post_conv" else s4)) + p5
    n5 = act(o5(s5))
    torch.testing.assert_close(neck.bottom_up([p2, p3, p4, p5]), [p2, n3, n4, n5])


def test_without_strided_weights_each_level_is_its_own_convolution() -> None:
    torch.manual_seed(0)
    neck = PathAggregationPyramid([4, 4, 4, 4], channels=4)
    for down in neck.downs:
        torch.nn.init.zeros_(down.weight)
    levels = pyramid()
    for got, output, level in zip(neck.bottom_up(levels)[1:], neck.outputs, levels[1:], strict=True):
        torch.testing.assert_close(got, output(level).relu())


def test_neck_gives_five_levels_down_to_stride_64() -> None:
    torch.manual_seed(0)
    neck = PathAggregationPyramid([3, 5, 7, 9], channels=4)
    maps = [torch.randn(1, width, 128 // s, 192 // s) for width, s in ((3, 4), (5, 8), (7, 16), (9, 32))]
    levels = neck(maps)
    assert [tuple(level.shape) for level in levels] == [(1, 4, 128 // s, 192 // s) for s in (4, 8, 16, 32, 64)]
    assert torch.equal(levels[4], levels[3][..., ::2, ::2])
    assert torch.equal(levels[0], neck.pyramid(maps)[0])


def test_dialect_decides_the_path_unless_it_is_named(thin) -> None:
    def path(**switches):
        neck = thin(panet_parts="neck", **switches).neck
        return neck.chain, isinstance(neck.activation, torch.nn.ReLU)

    assert path(dialect="mm") == ("pre_conv", False)
    assert path(dialect="d2") == ("post_conv", True)
    assert path(dialect="mm", pa_chain="post_conv", pa_relu=True) == ("post_conv", True)
    assert path(dialect="d2", pa_chain="pre_conv", pa_relu=False) == ("pre_conv", False)


def pooling(layer, *, resolution=7, **switches) -> AdaptiveFeaturePooling:
    torch.manual_seed(0)
    return AdaptiveFeaturePooling(pooler=all_level_pooler(resolution, dialect="mm"), layer=layer, **switches)


LAYERS = {
    "convolution": partial(first_convolution, 4),
    "linear": partial(first_linear, 4, resolution=7, hidden=6),
}


@pytest.mark.parametrize("name", LAYERS)
def test_equal_levels_pool_like_one(name) -> None:
    module = pooling(LAYERS[name], first="shared")
    level = torch.randn(5, 4, 7, 7)
    torch.testing.assert_close(module.fused(level[:, None].expand(-1, 4, -1, -1, -1)), module.layers[0](level).relu())


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("first", ["per_level", "shared"])
@pytest.mark.parametrize("fuse", ["max", "sum"])
def test_levels_pass_their_layer_and_are_fused(name, first, fuse) -> None:
    module = pooling(LAYERS[name], first=first, fuse=fuse)
    assert len(module.layers) == (4 if first == "per_level" else 1)
    levels = torch.randn(5, 4, 4, 7, 7)
    layers = list(module.layers) * (4 // len(module.layers))
    stacked = torch.stack([layer(levels[:, i]) for i, layer in enumerate(layers)])
    expected = (stacked.amax(0) if fuse == "max" else stacked.sum(0)).relu()
    torch.testing.assert_close(module.fused(levels), expected)


def test_a_box_is_read_from_every_level() -> None:
    """A mark on any of the levels, wherever the box's size would put it, reaches the box's feature."""
    module = pooling(LAYERS["linear"], fuse="sum")
    boxes = [torch.tensor([[4.0, 4.0, 60.0, 60.0]])]
    levels = [torch.zeros(1, 4, 64 // stride, 64 // stride) for stride in (4, 8, 16, 32)]
    for marked in range(4):
        features = [torch.ones_like(level) if i == marked else level for i, level in enumerate(levels)]
        assert not torch.equal(module(features, boxes), module(levels, boxes))


def test_fusion_adds_one_map_to_every_class() -> None:
    torch.manual_seed(0)
    head = FullyConnectedFusionHead(8, outputs=3, resolution=6)
    roi = torch.randn(5, 8, 6, 6)
    after_third = roi
    for conv in head.convs[:3]:
        after_third = conv(after_third).relu()
    added = head(roi) - MaskHead.forward(head, roi)
    assert added.shape == (5, 3, 12, 12)
    for channel in range(3):
        torch.testing.assert_close(added[:, channel], head.shared_map(after_third)[:, 0], atol=1e-5, rtol=1e-4)
    assert added.abs().max() > 0.01


def test_fusion_sees_the_whole_box_and_its_relu_only_raises() -> None:
    torch.manual_seed(0)
    head = FullyConnectedFusionHead(8, outputs=1, resolution=6, relu=False)
    features = torch.randn(5, 8, 6, 6)
    free = head.shared_map(features)
    assert free.min() < 0 < free.max()
    head.fusion_relu = True
    torch.testing.assert_close(head.shared_map(features), free.clamp(min=0))
    head.fusion_relu = False
    changed = features.clone()
    changed[:, :, 0, 0] += 3
    assert (head.shared_map(changed) != free).flatten(1).all(), "one corner moves every cell"


VARIANTS = [
    {"panet_parts": "neck"},
    {"panet_parts": "neck+fcf", "fcf_relu": False},
    {"panet_parts": "full"},
    {"panet_parts": "full", "dialect": "d2", "afp_first": "shared", "afp_fuse": "sum"},
    {"panet_parts": "full", "dialect": "torchvision"},
]


@pytest.mark.parametrize("switches", VARIANTS, ids=lambda s: "-".join(str(v) for v in s.values()))
def test_trains_every_parameter_and_infers(switches, thin, scene, thin_scale) -> None:
    model = thin(**switches).train()
    samples = [scene(seed=1), scene(48, 64, seed=2)]
    losses = model([s[0] for s in samples], [s[1] for s in samples])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values()) and losses["loss_mask"] > 0
    silent = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []
    ours = ("neck.downs", "neck.outputs", ".layers.", "fusion_")
    dead = [n for n, p in model.named_parameters() if any(part in n for part in ours) and not p.grad.abs().sum() > 0]
    assert dead == []
    model.roi_heads.rule = dataclasses.replace(model.roi_heads.rule, score_threshold=0.0)
    with torch.no_grad():
        found = model.eval()([s[0] for s in samples])
    assert [tuple(one["masks"].shape[1:]) for one in found] == [(64, 64), (48, 64)]
    assert all(len(one["boxes"]) > 0 for one in found)


@pytest.mark.parametrize("switches", VARIANTS[1:4], ids=lambda s: "-".join(str(v) for v in s.values()))
def test_no_proposals_and_no_instances(switches, thin, scene) -> None:
    model = thin(**switches)
    features = [torch.randn(1, 32, 64 // s, 64 // s) for s in (4, 8, 16, 32, 64)]
    heads = model.roi_heads.eval()
    found = heads.mask_inference(features, None, heads.box_inference(features, None, [torch.zeros(0, 4)], [(64, 64)]))
    assert found[0]["boxes"].shape == (0, 4) and len(found[0]["masks"]) == 0
    image, target = scene(count=0)
    target["to_original"] = (1.0, 1.0)
    losses = model.roi_heads.train()(features, [torch.zeros(0, 4)], [(64, 64)], [target])
    sum(losses.values()).backward()
    assert all(loss == 0 for loss in losses.values())
    assert model.train()([image], [scene(count=0)[1]])["loss_mask"] == 0


def test_runs_under_autocast(thin, scene) -> None:
    model = thin().train()
    image, target = scene()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model([image], [target])
    assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses.values())


def test_dry_run_counts_all_first_layers(thin) -> None:
    model = thin()
    box_head = 4 * 32 * 49 * 64 + 64 * 64 + 64 * (3 + 2 * 4)
    assert flops(model, 64, 64, 5, 0) - flops(model, 64, 64, 0, 0) == 5 * box_head


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"panet_parts": "fcf"}, "panet_parts must be one of neck, neck.fcf, full, not 'fcf'"),
        ({"pa_chain": "conv"}, "pa_chain must be one of post_conv, pre_conv, not 'conv'"),
        ({"afp_first": "own"}, "afp_first must be one of per_level, shared, not 'own'"),
        ({"afp_fuse": "mean"}, "afp_fuse must be one of max, sum, not 'mean'"),
        ({"dialect": "paddle"}, "known are d2, mm, torchvision"),
    ],
)
def test_nonsense_is_refused(switches, message, thin) -> None:
    with pytest.raises(ValueError, match=message):
        thin(**switches)
