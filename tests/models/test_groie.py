"""GRoIE: counts and cost, sum over levels, attention by content and offset."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.groie import model as groie
from reprolib.models.systems.groie.generic_roi_extractor import (
    GenericRoIExtractor,
    RelativePositionAttention,
    encode_offsets,
)
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.models.two_stage.roi_pooler import all_level_pooler
from reprolib.params import Scale


def published(system=groie, *, dialect="mm", backbone="resnet50", num_classes=80):
    def build():
        return system.build(
            num_classes=num_classes,
            backbone=backbone,
            scale=Scale(pretrained=False),
            input_size=InputSize(),
            dialect=dialect,
        )

    return on_meta(build)


def params(module) -> int:
    return count_parameters(module)["params"]


@pytest.fixture
def thin(thin_scale, input_size):
    def build(**switches):
        torch.manual_seed(0)
        return groie.build(num_classes=2, backbone="resnet50", scale=thin_scale, input_size=input_size, **switches)

    return build


def extractor(channels: int = 12, resolution: int = 7) -> GenericRoIExtractor:
    torch.manual_seed(0)
    return GenericRoIExtractor(pooler=all_level_pooler(resolution, dialect="mm"), channels=channels)


def attention(channels: int) -> RelativePositionAttention:
    """In double precision and away from its identity."""
    torch.manual_seed(1)
    module = RelativePositionAttention(channels).double()
    nn.init.constant_(module.gamma, 0.7)
    nn.init.normal_(module.project.bias)
    return module


@pytest.mark.parametrize(
    ("dialect", "backbone", "num_classes", "total"),
    [
        ("mm", "resnet50", 80, 48_190_258),
        ("mm", "resnet50", 1, 47_765_080),
        ("mm", "resnet101", 80, 67_182_386),
        ("mm", "resnet101", 1, 66_757_208),
        ("d2", "resnet50", 80, 48_137_138),
    ],
)
def test_counts_of_the_spec(dialect, backbone, num_classes, total) -> None:
    assert params(published(dialect=dialect, backbone=backbone, num_classes=num_classes)) == total


def test_counts_of_the_parts() -> None:
    heads = published().roi_heads
    for module, resolution in ((heads.box_pooler, 7), (heads.mask_branch.pooler, 14)):
        assert params(module) == 1_896_961
        assert params(module.pre) == 1_638_656
        assert params(module.attention) == 258_305
        assert module.pooler.resolution == resolution


@pytest.mark.parametrize(("resolution", "billions"), [(7, 0.321), (14, 1.285)])
def test_flops_of_an_extractor(resolution, billions) -> None:
    """The specification's numbers are the 5x5 convolution's; the attention adds a few percent."""
    module = on_meta(lambda: extractor(256, resolution))
    features = [torch.empty(1, 256, 2, 2, device="meta")]
    with FlopCounterMode(display=False) as counter:
        assert module.placeholder(features, 1000).shape == (1000, 256, resolution, resolution)
    by_module = {name: sum(ops.values()) / 2e12 for name, ops in counter.get_flop_counts().items()}
    assert by_module["Conv2d"] == pytest.approx(billions, abs=5e-4)
    assert 0.02 * billions < by_module["RelativePositionAttention"] < 0.04 * billions


def test_flops_of_the_system_are_those_of_mask_rcnn_and_two_extractors() -> None:
    model, plain = published(), published(mask_rcnn)
    more = flops(model, 64, 64, 1000, 100) - flops(plain, 64, 64, 1000, 100)
    assert more / 1e9 == pytest.approx(321.1 + 128.5, rel=0.04)
    assert more / 1e9 > 321.1 + 128.5


def test_at_the_start_it_is_the_sum_over_levels() -> None:
    module = extractor()
    levels = torch.randn(5, 4, 12, 7, 7)
    expected = module.pre(levels.flatten(0, 1)).relu().unflatten(0, (5, 4)).sum(1)
    torch.testing.assert_close(module.aggregate(levels), expected)


def test_the_order_of_the_levels_does_not_matter() -> None:
    module = extractor().double()
    nn.init.ones_(module.attention.gamma)
    levels = torch.randn(5, 4, 12, 7, 7).double()
    torch.testing.assert_close(module.aggregate(levels[:, [2, 0, 3, 1]]), module.aggregate(levels))


def test_a_box_is_read_from_every_level() -> None:
    module = extractor()
    boxes = [torch.tensor([[4.0, 4.0, 60.0, 60.0], [8.0, 8.0, 20.0, 20.0]]), torch.zeros(0, 4)]
    blank = [torch.zeros(2, 12, 64 // stride, 64 // stride) for stride in (4, 8, 16, 32)]
    assert module(blank, boxes).shape == (2, 12, 7, 7)
    for marked in range(4):
        features = [torch.ones_like(level) if i == marked else level for i, level in enumerate(blank)]
        assert (module(features, boxes) != module(blank, boxes)).flatten(1).any(1).all()


def plain_attention(module: RelativePositionAttention, x: torch.Tensor, *, heads: int = 6) -> torch.Tensor:
    """One box [C,h,w], query by query and key by key, with one softmax over all keys."""
    channels, height, width = x.shape
    size = channels // heads
    matrix = {name: getattr(module, name).weight.flatten(1) for name in ("query", "value", "down", "across", "project")}
    frequencies = matrix["down"].shape[1] // 2

    def embedded(name: str, offset: int, head: int) -> torch.Tensor:
        angles = [offset / 1000 ** (k / frequencies) for k in range(frequencies)]
        wave = torch.tensor([math.sin(a) for a in angles] + [math.cos(a) for a in angles]).double()
        return (matrix[name] @ wave)[head * size : (head + 1) * size] / math.sqrt(2)

    result = torch.zeros_like(x)
    keys = [(j, i) for j in range(0, height, 2) for i in range(0, width, 2)]
    for row in range(height):
        for column in range(width):
            query, read = matrix["query"] @ x[:, row, column], []
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                energy = torch.stack(
                    [
                        query[part] @ (embedded("down", row - j, head) + embedded("across", column - i, head))
                        for j, i in keys
                    ]
                )
                values = torch.stack([(matrix["value"] @ x[:, j, i])[part] for j, i in keys])
                read.append(energy.softmax(0) @ values)
            result[:, row, column] = matrix["project"] @ torch.cat(read) + module.project.bias
    return x + module.gamma * result


@pytest.mark.parametrize("size", [(5, 4), (7, 7)])
def test_attention_equals_a_plain_one(size) -> None:
    module = attention(18)
    boxes = torch.randn(2, 18, *size).double()
    with torch.no_grad():
        expected = torch.stack([plain_attention(module, one) for one in boxes])
        torch.testing.assert_close(module(boxes), expected)
        assert (expected - boxes).abs().max() > 0.1


def test_offsets_count_in_cells_of_the_query() -> None:
    encoded = encode_offsets(7, frequencies=64, like=torch.zeros(()))
    assert encoded.shape == (7, 4, 128)
    assert torch.equal(encoded[6, 3], torch.cat([torch.zeros(64), torch.ones(64)])), "key 3 sits on query 6"
    assert encoded[0, 3, 0] == pytest.approx(math.sin(-6)) and encoded[0, 3, 64] == pytest.approx(math.cos(6))
    assert encoded[0, 3, 32] == pytest.approx(math.sin(-6 / math.sqrt(1000)))


@pytest.mark.parametrize(("channels", "inner"), [(256, 252), (48, 48), (32, 30), (4, 6)])
def test_heads_share_the_width_evenly(channels, inner) -> None:
    module = RelativePositionAttention(channels)
    assert module.query.out_channels == module.value.out_channels == module.project.in_channels == inner
    x = torch.randn(2, channels, 7, 7)
    assert torch.equal(module(x), x), "the identity at the start"


@pytest.mark.parametrize("dialect", ["mm", "d2"])
def test_trains_every_parameter_and_infers(dialect, thin, scene) -> None:
    model = thin(dialect=dialect).train()
    for module in (model.roi_heads.box_pooler, model.roi_heads.mask_branch.pooler):
        nn.init.constant_(module.attention.gamma, 0.1)
    samples = [scene(seed=1), scene(48, 64, seed=2)]
    losses = model([s[0] for s in samples], [s[1] for s in samples])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values()) and losses["loss_mask"] > 0
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    ours = [(name, p) for name, p in model.named_parameters() if ".pre." in name or ".attention." in name]
    assert len(ours) == 18 and [name for name, p in ours if not p.grad.abs().sum() > 0] == []
    model.roi_heads.rule = dataclasses.replace(model.roi_heads.rule, score_threshold=0.0)
    with torch.no_grad():
        found = model.eval()([s[0] for s in samples])
    assert [tuple(one["masks"].shape[1:]) for one in found] == [(64, 64), (48, 64)]
    assert all(len(one["boxes"]) > 0 for one in found)


def test_the_attention_leaves_its_start() -> None:
    """gamma gets a gradient while the attention still changes nothing."""
    module = extractor()
    module.aggregate(torch.randn(3, 4, 12, 7, 7)).square().sum().backward()
    assert module.attention.gamma.grad.abs() > 0


def test_no_proposals_and_no_instances(thin, scene) -> None:
    model = thin()
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
