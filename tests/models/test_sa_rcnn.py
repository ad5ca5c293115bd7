"""SA R-CNN: its three attentions against plain references, what each adds to the count, and that it trains."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn
from torchvision.models.detection.rpn import RPNHead

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.backbones import build_backbone
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.models.systems.sa_rcnn import model as sa_rcnn
from reprolib.models.systems.sa_rcnn.anchor_attention import (
    AttentiveRPNHead,
    attention_loss,
    centre_regions,
    nearest_level,
)
from reprolib.models.systems.sa_rcnn.balanced_pyramid import BalancedPyramid
from reprolib.params import Scale


def published(system=sa_rcnn, *, num_classes: int = 80, **switches) -> nn.Module:
    return on_meta(
        lambda: system.build(
            num_classes=num_classes,
            backbone="resnet50",
            scale=Scale(),
            input_size=InputSize(),
            dialect="mm",
            **switches,
        )
    )


def params(model: nn.Module) -> int:
    return count_parameters(model)["params"]


@pytest.mark.parametrize(
    ("parts", "ratio", "classes", "count"),
    [
        ("gam", 1 / 16, 80, 46_918_077),
        ("gam", 1 / 16, 1, 46_492_899),
        ("gam+sam+aam", 1 / 16, 80, 47_181_502),
        ("gam+sam+aam", 1 / 16, 1, 46_756_324),
    ],
)
def test_published_counts(parts, ratio, classes, count) -> None:
    assert params(published(num_classes=classes, sa_parts=parts, gcb_ratio=ratio)) == count


def test_what_each_part_adds() -> None:
    plain = params(published(mask_rcnn))
    parts = {name: params(published(sa_parts=name)) for name in ("gam", "gam+sam", "gam+sam+aam")}
    assert parts["gam"] - plain == 2_521_741
    assert params(published(sa_parts="gam", gcb_ratio=1 / 4)) - plain == 10_000_909
    assert parts["gam+sam"] - parts["gam"] == 263_168
    assert parts["gam+sam+aam"] - parts["gam+sam"] == 256 + 1
    assert parts["gam+sam+aam"] == params(published())


def test_attention_is_part_of_the_counted_flops() -> None:
    """On 64x64, the location map is one product of 256 at every position of P2..P6."""
    without, with_aam = (
        flops(published(sa_parts=parts), 64, 64, proposals=1, detections=1) for parts in ("gam+sam", "gam+sam+aam")
    )
    assert with_aam - without == 256 * (16**2 + 8**2 + 4**2 + 2**2 + 1)


@pytest.mark.parametrize(("stand_in", "blocks"), [("resnet10t", 3), ("resnet26", 6)])
@pytest.mark.parametrize("norm", ["published", "batch", "group"])
def test_global_context_is_added_before_the_shortcut(thin_scale, stand_in, blocks, norm) -> None:
    """Behind the last norm of every block of res3..res5, of two convolutions or three."""
    scale = dataclasses.replace(thin_scale, backbones={"resnet50": stand_in}, norm=norm)
    backbone = build_backbone("resnet50", scale=scale, dialect="mm")
    image = torch.rand(1, 3, 64, 64)
    before = backbone.eval()(image)
    sa_rcnn.add_global_context(backbone, ratio=1 / 4)
    body = backbone.eval().body
    assert all(torch.equal(a, b) for a, b in zip(before, backbone(image), strict=True))  # an identity at the start
    assert all(block.se is None for block in body.layer1)
    found = [block for layer in (body.layer2, body.layer3, body.layer4) for block in layer]
    assert len(found) == blocks and all(block.se is not None for block in found)

    block, x = body.layer2[0], torch.rand(1, backbone.channels[0], 8, 8)
    activation = "act3" if hasattr(block, "conv3") else "act2"
    with torch.no_grad():
        setattr(block, activation, nn.Identity())
        total = block(x)  # the branch and the shortcut
        setattr(block, activation, nn.ReLU())
        block.se.mlp_add.fc2.bias.fill_(-0.5)
        assert torch.allclose(block(x), (total - 0.5).relu(), atol=1e-6)


def test_a_backbone_without_residual_stages_is_refused(thin_scale) -> None:
    scale = dataclasses.replace(thin_scale, backbones={"resnet50": "hrnet_w18_small"})
    with pytest.raises(ValueError, match=r"plain residual blocks layer2..layer4, which HighResolutionNetFeatures"):
        sa_rcnn.add_global_context(build_backbone("resnet50", scale=scale, dialect="mm"), ratio=1 / 16)
    backbone = build_backbone("resnet50", scale=thin_scale, dialect="mm")
    sa_rcnn.add_global_context(backbone, ratio=1 / 16)
    with pytest.raises(ValueError, match="plain residual blocks"):
        sa_rcnn.add_global_context(backbone, ratio=1 / 16)


def test_every_level_gets_the_mean_of_all() -> None:
    pyramid = BalancedPyramid(4)
    levels = [torch.full((1, 4, side, side), float(value)) for value, side in enumerate((16, 8, 4, 2, 1), start=1)]
    for value, (level, given) in enumerate(zip(pyramid(levels), levels, strict=True), start=1):
        assert torch.equal(level, torch.full_like(given, value + 3.0))


def test_finer_levels_give_their_largest_values_and_coarser_ones_are_repeated() -> None:
    """One spike on P2 and one on P6; P4 has 13x6, which P5 and P6 halve unevenly."""
    pyramid = BalancedPyramid(1)
    shapes = [(52, 24), (26, 12), (13, 6), (7, 3), (4, 2)]
    levels = [torch.zeros(1, 1, *shape) for shape in shapes]
    levels[0][0, 0, 5, 22] = 10.0
    levels[4][0, 0, 3, 0] = 5.0
    with torch.no_grad():
        found = pyramid(levels)
    gathered = torch.zeros(13, 6)
    gathered[1, 5] += 10 / 5  # 5 // 4, 22 // 4
    gathered[10:13, 0:3] += 5 / 5  # rows whose 4/13 lands in the last of four, columns in the first of two
    assert torch.equal(found[2][0, 0], gathered)
    assert found[0][0, 0, 4:8, 20:24].sub(levels[0][0, 0, 4:8, 20:24]).unique().tolist() == [2.0]
    assert found[4][0, 0].tolist() == [[0, 2], [0, 0], [1, 0], [6, 0]]


def test_balanced_pyramid_refines_by_attention_over_all_positions() -> None:
    torch.manual_seed(0)
    pyramid = BalancedPyramid(4)
    levels = [torch.rand(1, 4, side, side) for side in (16, 8, 4, 2, 1)]
    before = pyramid(levels)
    nn.init.normal_(pyramid.refine.output.weight)
    x = sum(torch.nn.functional.adaptive_max_pool2d(a, 4) for a in levels[:3]) / 5
    x = x + sum(torch.nn.functional.interpolate(a, size=4) for a in levels[3:]) / 5
    refined = pyramid.refine(x)
    assert torch.allclose(pyramid(levels)[2], levels[2] + refined, atol=1e-5)
    assert not torch.allclose(before[2], levels[2] + refined, atol=1e-3)


SIZES = (8, 16, 32, 64, 128)


def test_an_object_belongs_to_the_nearest_anchor_size() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 11, 11], [0, 0, 12, 12], [0, 0, 16, 64], [0, 0, 900, 900]])
    assert nearest_level(boxes, SIZES).tolist() == [0, 0, 1, 2, 4]
    assert nearest_level(boxes[:0], SIZES).tolist() == []
    assert nearest_level(torch.zeros(1, 4), SIZES).tolist() == [0]


def test_centre_regions_by_hand() -> None:
    """64x64 px; P2 has positions of 4 px. The middle fifth of a box marks all it touches on its own level."""
    shapes = [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)]
    boxes = [torch.tensor([[10.0, 20, 18, 28], [4, 4, 44, 24], [0, 0, 64, 64]]), torch.zeros(0, 4)]
    found = centre_regions(boxes, shapes=shapes, image_size=(64, 64), sizes=SIZES)
    assert [tuple(level.shape) for level in found] == [(2, 1, *shape) for shape in shapes]
    assert not any(level[1].any() for level in found)
    expected = [torch.zeros(shape) for shape in shapes]
    expected[0][5:7, 3] = 1  # x 13.2..14.8, y 23.2..24.8
    expected[2][0, 1] = 1  # x 20..28, y 12..16 touches row 1 too
    expected[2][1, 1] = 1
    expected[3][0:2, 0:2] = 1  # x and y 25.6..38.4
    assert all(torch.equal(level[0, 0], want) for level, want in zip(found, expected, strict=True))


def test_centre_regions_equal_a_loop_over_positions() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(30, 2, generator=generator) * torch.tensor([90.0, 60.0])
    boxes = torch.cat([corner, corner + 1 + 60 * torch.rand(30, 2, generator=generator) ** 2], dim=1)
    shapes = [(24, 32), (12, 16), (6, 8), (3, 4), (2, 2)]  # P6 of 96x128 px has rows of 48 px
    found = centre_regions([boxes], shapes=shapes, image_size=(96, 128), sizes=SIZES)
    for level, (height, width) in enumerate(shapes):
        wanted = torch.zeros(height, width)
        for x1, y1, x2, y2 in boxes.tolist():
            if min(range(5), key=lambda i: abs(math.log2(math.sqrt((x2 - x1) * (y2 - y1)) / SIZES[i]))) != level:
                continue
            x1, x2 = (0.6 * x1 + 0.4 * x2), (0.4 * x1 + 0.6 * x2)
            y1, y2 = (0.6 * y1 + 0.4 * y2), (0.4 * y1 + 0.6 * y2)
            for row in range(height):
                for column in range(width):
                    top, left = row * 96 / height, column * 128 / width
                    if top <= y2 and top + 96 / height > y1 and left <= x2 and left + 128 / width > x1:
                        wanted[row, column] = 1
        assert torch.equal(found[level][0, 0], wanted)


def test_attention_loss_equals_its_formula() -> None:
    logits = [torch.tensor([[[[0.5, -1.0], [2.0, 0.0]]]]), torch.tensor([[[[-3.0]]]])]
    wanted = [torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]]), torch.tensor([[[[0.0]]]])]
    total = 0.0
    for z, t in ((0.5, 1), (-1.0, 0), (2.0, 1), (0.0, 0), (-3.0, 0)):
        p = 1 / (1 + math.exp(-z))
        total += -0.25 * (1 - p) ** 2 * math.log(p) if t else -0.75 * p**2 * math.log(1 - p)
    assert attention_loss(logits, wanted).item() == pytest.approx(total / 2, rel=1e-5)
    nothing = attention_loss(logits, [torch.zeros_like(level) for level in wanted])
    assert nothing.isfinite() and nothing > 0


@pytest.mark.parametrize(("gate", "open_", "shut"), [("multiply", 1.0, 0.0), ("residual", 2.0, 1.0)])
def test_attention_gates_the_shared_map(gate, open_, shut) -> None:
    torch.manual_seed(0)
    head, plain = AttentiveRPNHead(8, 3, aam_gate=gate), RPNHead(8, 3)
    plain.load_state_dict(head.state_dict(), strict=False)
    features = [torch.rand(2, 8, side, side) for side in (6, 3)]
    for bias, factor in ((50.0, open_), (-50.0, shut)):
        nn.init.constant_(head.location.bias, bias)
        for found, expected in zip(head(features), plain(features), strict=True):  # logits, then deltas; no biases
            for level, reference in zip(found, expected, strict=True):
                assert torch.allclose(level, factor * reference, atol=1e-6)
    with pytest.raises(ValueError, match="aam_gate must be one of multiply, residual, not 'add'"):
        AttentiveRPNHead(8, 3, aam_gate="add")


@pytest.mark.parametrize("parts", sa_rcnn.PARTS)
def test_trains_and_detects_on_thin_networks(thin_scale, input_size, scene, parts) -> None:
    scale = dataclasses.replace(thin_scale, norm="group")
    torch.manual_seed(0)
    model = sa_rcnn.build(num_classes=2, backbone="resnet50", scale=scale, input_size=input_size, sa_parts=parts)
    image, target = scene(64, 96)
    losses = model.train()([image], [target])
    assert ("loss_anchor_attention" in losses) == ("aam" in parts)
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    with torch.no_grad():
        (found,) = model.eval()([image])
    assert found["masks"].shape == (len(found["boxes"]), 64, 96)


def test_an_image_without_objects_trains_the_attention_too(thin_scale, input_size, scene) -> None:
    model = sa_rcnn.build(num_classes=1, backbone="resnet50", scale=thin_scale, input_size=input_size).train()
    image, target = scene(64, 64)
    target |= {"boxes": torch.zeros(0, 4), "labels": target["labels"][:0], "masks": target["masks"][:0]}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model([image], [target])
    loss = losses["loss_anchor_attention"]
    assert loss.dtype == torch.float32 and loss.isfinite() and loss > 0
    loss.backward()
    assert model.rpn.head.location.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"sa_parts": "sam"}, r"sa_parts must be one of gam, gam\+sam, gam\+sam\+aam, not 'sam'"),
        ({"gcb_ratio": 16}, "gcb_ratio must be above 0 and at most 1, not 16"),
    ],
)
def test_unknown_switches_are_named(switches, message) -> None:
    with pytest.raises(ValueError, match=message):
        published(num_classes=1, **switches)
