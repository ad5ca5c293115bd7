"""SCNet: counts and cost as published, its branches one by one, what trains the mask head and what it is shown."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import box_iou

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.cascade_mask_rcnn import model as cascade_mask_rcnn
from reprolib.models.systems.scnet import model as scnet
from reprolib.models.systems.scnet.feature_relay import FeatureRelay
from reprolib.models.systems.scnet.global_context_head import GlobalContextHead, per_box
from reprolib.models.two_stage.residual_mask_head import ResidualMaskHead, ResidualPair
from reprolib.params import Scale


def published(**switches):
    with torch.device("meta"):
        return scnet.build(scale=Scale(), input_size=InputSize(), **switches)


def parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture
def thin(thin_scale, input_size):
    def build(**switches):
        torch.manual_seed(0)
        return scnet.build(num_classes=2, backbone="resnet50", scale=thin_scale, input_size=input_size, **switches)

    return build


@pytest.fixture
def batch(scene):
    """Two images of different sizes with semantic maps, as lists."""
    pairs = [scene(64, 80, count=3, seed=1), scene(56, 64, seed=2)]
    for _, target in pairs:
        target["semantic"] = (target["masks"].amax(0) * 7).to(torch.uint8)
        target["labels"] = torch.arange(len(target["labels"])) % 2 + 1
    return [image for image, _ in pairs], [target for _, target in pairs]


@pytest.fixture
def inside(thin, batch):
    """What the RoI heads of a model get: (heads, features, proposals, sizes, targets)."""

    def make(**switches):
        model = thin(**switches).train()
        padded, targets = model.transform(*batch)
        features = model.neck(model.backbone(padded.tensors))
        proposals, _ = model.rpn(padded, features, targets)
        return model.roi_heads, features, proposals, padded.image_sizes, targets

    return make


@pytest.mark.parametrize(
    ("dialect", "backbone", "num_classes", "full", "no_semantic"),
    [
        ("mm", "resnet50", 80, 94_799_526, 91_997_423),
        ("mm", "resnet50", 1, 94_515_995, 91_713_892),
        ("mm", "resnet101", 80, 113_791_654, 110_989_551),
        ("mm", "resnet101", 1, 113_508_123, 110_706_020),
        ("d2", "resnet50", 80, 94_746_406, 91_944_303),
    ],
)
def test_published_parameter_counts(dialect, backbone, num_classes, full, no_semantic) -> None:
    switches = {"dialect": dialect, "backbone": backbone, "num_classes": num_classes}
    assert parameters(published(semantic_source="stuff", **switches)) == full
    assert parameters(published(**switches)) == no_semantic


def test_parameters_of_the_parts() -> None:
    heads = published(backbone="resnet50", num_classes=80, semantic_source="stuff").roi_heads
    assert parameters(heads.box_stages) == 41_948_415
    assert parameters(heads.mask_branch) == 7_363_920
    assert parameters(heads.semantic) == 2_802_103
    assert parameters(heads.global_context) == 2_381_137
    assert parameters(heads.relay) == 12_857_600
    without = published(backbone="resnet50", num_classes=80, glbctx_classes="K").roi_heads
    assert parameters(without.global_context) == 2_381_137 - 257


def test_mask_head_costs_1_455_billion_per_box() -> None:
    with torch.device("meta"):
        head, x = ResidualMaskHead(256, outputs=80), torch.zeros(1, 256, 14, 14)
    with FlopCounterMode(display=False) as counter:
        head(x)
    assert counter.get_total_flops() / 2e9 == pytest.approx(1.455, abs=5e-4)


def test_dry_run_counts_the_last_stage_again_and_the_relay() -> None:
    """A detection costs the mask head, the relay and one more pass of the last stage's two layers."""

    def cost(detections: int, **switches) -> int:
        model = published(backbone="resnet50", num_classes=80, semantic_source="stuff", **switches)
        with FlopCounterMode(display=False) as counter:
            model.dry_run(256, 320, proposals=10, detections=detections)
        return counter.get_total_flops() // 2

    two_layers = 12_544 * 1024 + 1024 * 1024
    assert cost(3) - cost(3, relay=False) == 3 * (two_layers + 1024 * 12_544)
    assert cost(3) - cost(2) == pytest.approx(1.455e9 + two_layers + 1024 * 12_544, rel=1e-3)
    branch = cost(0) - cost(0, glbctx=False)
    assert branch == 4 * 9 * 256**2 * 4 * 5 + 256 * 81  # P6 of 256x320 px is 4x5


def test_bad_switches_are_named(thin) -> None:
    with pytest.raises(ValueError, match="glbctx_classes must be one of K\\+1, K, not 81"):
        thin(glbctx_classes=81)
    with pytest.raises(ValueError, match="semantic_source must be one of off, stuff, from_instances, not True"):
        thin(semantic_source=True)


def test_switched_off_parts_are_absent(thin) -> None:
    heads = thin(glbctx=False, relay=False).roi_heads
    assert heads.semantic is None and heads.global_context is None and heads.relay is None
    assert thin().roi_heads.rule.score_threshold == 0.001


def test_score_threshold_of_the_scale_goes_first(thin_scale, input_size) -> None:
    scale = dataclasses.replace(thin_scale, score_threshold=0.3)
    model = scnet.build(num_classes=2, backbone="resnet50", scale=scale, input_size=input_size)
    assert model.roi_heads.rule.score_threshold == 0.3


def test_residual_pair_with_zero_second_convolution_is_the_identity() -> None:
    pair = ResidualPair(5)
    x = torch.randn(2, 5, 6, 7)
    assert not torch.equal(pair(x), x)
    torch.nn.init.zeros_(pair.conv2.weight)
    torch.testing.assert_close(pair(x), x)  # negative values too: no activation after the sum


def test_mask_head_of_identities_is_the_plain_end_of_a_mask_head() -> None:
    head = ResidualMaskHead(4, outputs=3)
    assert len(head.convs) == 6
    for pair in head.convs:
        torch.nn.init.zeros_(pair.conv2.weight)
    x = torch.randn(2, 4, 14, 14)
    torch.testing.assert_close(head(x), head.predictor(head.upsample(x).relu()))
    assert head(x).shape == (2, 3, 28, 28)


def test_relay_gives_the_mask_heads_input_size_with_aligned_corners() -> None:
    relay = FeatureRelay(10, channels=6)
    vectors = torch.randn(3, 10)
    maps = relay(vectors)
    assert maps.shape == (3, 6, 14, 14)
    with torch.no_grad():
        relay.fc.weight.zero_()
        relay.fc.bias.copy_(torch.arange(7.0).expand(6, 7, 7).flatten())  # every map a ramp from left to right
    torch.testing.assert_close(relay(vectors), torch.linspace(0, 6, 14).expand(3, 6, 14, 14))
    assert relay(vectors[:0]).shape == (0, 6, 14, 14)
    with torch.device("meta"):
        assert FeatureRelay(1024, channels=256)(torch.zeros(2, 1024)).shape == (2, 256, 14, 14)


def test_global_context_loss_knows_the_set_of_classes_only() -> None:
    torch.manual_seed(0)
    head = GlobalContextHead(4, classes=4)
    logits, context = head(torch.randn(2, 4, 3, 2))
    assert logits.shape == (2, 4) and context.shape == (2, 4)
    labels = [torch.tensor([3, 1, 3]), torch.tensor([], dtype=torch.long)]
    loss = head.loss(logits, [{"labels": one} for one in labels])
    wanted = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])  # the last output is never positive
    torch.testing.assert_close(loss, 3 * F.binary_cross_entropy(logits.sigmoid(), wanted))
    for other in ([1, 3, 3], [3, 1], [1, 3, 1, 1, 3]):
        torch.testing.assert_close(head.loss(logits, [{"labels": torch.tensor(other)}, {"labels": labels[1]}]), loss)


def test_context_goes_to_the_boxes_of_its_image() -> None:
    context = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    spread = per_box(context, [torch.zeros(2, 4), torch.zeros(0, 4), torch.zeros(1, 4)])
    assert spread.flatten(1).tolist() == [[1, 2], [1, 2], [5, 6]] and spread.shape == (3, 2, 1, 1)


def test_features_are_the_sum_of_their_sources(inside) -> None:
    heads, features, proposals, sizes, targets = inside(semantic_source="stuff")
    context, _ = heads.prepare(features, sizes, targets)
    boxes = [proposals[0][:3], proposals[1][:2]]
    image = torch.tensor([0, 0, 0, 1, 1])
    semantic = heads.semantic.pooler([context.semantic], boxes)
    of_image = context.of_image[image][:, :, None, None]
    expected = heads.box_pooler(features, boxes) + F.adaptive_avg_pool2d(semantic, 7) + of_image
    torch.testing.assert_close(heads.box_features(features, context, boxes), expected)
    vectors = torch.randn(5, heads.relay.fc.in_features)
    expected = heads.mask_branch.pooler(features, boxes) + semantic + of_image + heads.relay(vectors)
    torch.testing.assert_close(heads.mask_features(features, context, boxes, vectors), expected)


def test_without_its_branches_the_boxes_learn_as_in_a_cascade(thin, thin_scale, input_size, batch) -> None:
    ours = thin(glbctx=False, relay=False).train()
    cascade = cascade_mask_rcnn.build(num_classes=2, backbone="resnet50", scale=thin_scale, input_size=input_size)
    kept = cascade.load_state_dict(ours.state_dict(), strict=False)
    assert all("mask_branch" in key for key in (*kept.missing_keys, *kept.unexpected_keys))
    losses = []
    for model in (ours, cascade.train()):
        torch.manual_seed(3)
        losses.append(model(*batch))
    same = [name for name in losses[0] if name != "loss_mask"]
    assert len(same) == 2 + 3 * 2
    torch.testing.assert_close([losses[0][name] for name in same], [losses[1][name] for name in same])


def test_mask_head_trains_on_the_last_stages_positives(inside, monkeypatch) -> None:
    heads, features, proposals, sizes, targets = inside()
    seen, drawn, own_loss = {}, [], heads.mask_branch.loss
    draw = heads.samplers[2]

    def sample(*arguments):
        drawn.append(draw(*arguments))
        return drawn[-1]

    def loss(logits, positives, targets):
        seen["positives"], seen["loss"] = positives, own_loss(logits, positives, targets)
        return seen["loss"]

    monkeypatch.setattr(heads.mask_branch, "loss", loss)
    heads.samplers = (*heads.samplers[:2], sample)
    vectors = []
    heads.relay.register_forward_pre_hook(lambda module, inputs: vectors.append(inputs[0]))
    outputs = []
    heads.box_stages[2].head.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    losses = heads(features, proposals, sizes, targets)

    (last,) = drawn
    for boxes, matched, target in zip(seen["positives"].boxes, seen["positives"].matched, targets, strict=True):
        assert len(boxes) and (box_iou(boxes, target["boxes"])[torch.arange(len(boxes)), matched] >= 0.7).all()
    for index in range(2):
        assert torch.equal(seen["positives"].boxes[index], last.boxes[index][last.labels[index] > 0])
    assert len(outputs) == 1 and torch.equal(vectors[0], outputs[0][torch.cat(last.labels) > 0])
    torch.testing.assert_close(losses["loss_mask"], 1.75 * seen["loss"])


def test_relay_is_computed_anew_on_the_final_boxes(inside) -> None:
    heads, features, proposals, sizes, _ = inside(semantic_source="from_instances")
    shown = []
    hook = heads.relay.register_forward_pre_hook(lambda module, inputs: shown.append(inputs[0]))
    with torch.no_grad():
        context, _ = heads.eval().prepare(features, sizes, None)
        found = heads.box_inference(features, context, proposals, sizes)
        found = heads.mask_inference(features, context, found)
        hook.remove()
        boxes = [one["boxes"] for one in found]
        vectors = heads.box_stages[2].head(heads.box_features(features, context, boxes))
        logits = heads.mask_branch.head(heads.mask_features(features, context, boxes, vectors))
    assert len(shown) == 1 and len(vectors) > 1
    torch.testing.assert_close(shown[0], vectors)
    labels = torch.cat([one["labels"] for one in found])
    own = logits[torch.arange(len(labels)), labels - 1].sigmoid()
    torch.testing.assert_close(torch.cat([one["masks"] for one in found]), own)


SWITCHES = [
    {},
    {"semantic_source": "stuff"},
    {"semantic_source": "from_instances", "glbctx_classes": "K"},
    {"glbctx": False},
    {"relay": False},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: "-".join(map(str, s.values())) or "default")
def test_every_parameter_gets_a_gradient(thin, batch, switches) -> None:
    model = thin(**switches).train()
    losses = model(*batch)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    assert ("loss_semantic" in losses) == ("semantic_source" in switches)
    assert ("loss_global_context" in losses) == ("glbctx" not in switches)
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_images_without_instances_still_train(thin, scene) -> None:
    model = thin(semantic_source="from_instances").train()
    images, targets = zip(*[scene(count=0, seed=seed) for seed in (0, 1)], strict=True)
    losses = model(list(images), list(targets))
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert losses["loss_mask"] == 0 and losses["loss_box_reg_3"] == 0 and losses["loss_semantic"] > 0
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_nothing_found_is_an_empty_answer(thin, batch) -> None:
    model = thin(semantic_source="stuff").eval()
    model.roi_heads.rule = dataclasses.replace(model.roi_heads.rule, score_threshold=1.0)
    with torch.inference_mode():
        for found, image in zip(model(batch[0]), batch[0], strict=True):
            assert found["boxes"].shape == (0, 4) and found["masks"].shape == (0, *image.shape[1:])


def test_detections_keep_the_contract(thin, batch) -> None:
    model = thin(semantic_source="stuff").eval()
    with torch.inference_mode():
        first, second = model(batch[0]), model(batch[0])
    for found, again, image in zip(first, second, batch[0], strict=True):
        count = len(found["boxes"])
        assert 0 < count <= 100 and found["masks"].shape == (count, *image.shape[1:])
        assert found["masks"].dtype == torch.bool and (found["scores"] > 0.001).all()
        assert all(torch.equal(found[key], again[key]) for key in found)


@pytest.mark.parametrize("dialect", ["d2", "torchvision"])
def test_other_dialects_train_and_predict(thin, batch, dialect) -> None:
    model = thin(dialect=dialect, semantic_source="from_instances")
    losses = model.train()(*batch)
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.inference_mode():
        assert len(model.eval()(batch[0])) == 2


def test_autocast_keeps_losses_in_float32(thin, batch) -> None:
    model = thin(semantic_source="stuff").train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(*batch)
    assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses.values())


def test_stuff_needs_maps(thin, batch) -> None:
    images, targets = batch
    del targets[1]["semantic"]
    with pytest.raises(ValueError, match=r"target 1 \(image_id 2\) has no 'semantic' map"):
        thin(semantic_source="stuff").train()(images, targets)
