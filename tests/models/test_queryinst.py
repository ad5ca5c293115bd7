"""QueryInst: counts, dynamic convolutions by hand, who reads which queries, assignment and losses by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.queries.assignment import Matched
from reprolib.models.queries.dynamic_convolution import DynamicConvolution
from reprolib.models.systems.queryinst import model as queryinst
from reprolib.models.systems.queryinst.query_inst_losses import mask_loss, match, stage_losses
from reprolib.params import Scale


def published(backbone="resnet50", num_classes=80, **switches):
    arguments = {"num_classes": num_classes, "backbone": backbone, "scale": Scale(), "input_size": InputSize()}
    return on_meta(lambda: queryinst.build(**arguments | switches))


@pytest.mark.parametrize(
    ("backbone", "queries", "count"),
    [
        ("resnet50", 100, 172_688_808),
        ("resnet50", 300, 172_740_808),
        ("resnet101", 100, 191_680_936),
        ("resnet101", 300, 191_732_936),
    ],
)
def test_parameters_are_as_counted(backbone, queries, count):
    assert count_parameters(published(backbone, queries=queries))["params"] == count


def test_parameters_by_part():
    head = published().head
    assert [count_parameters(one)["params"] for one in head.stages] == [13_235_412] * 6
    assert [count_parameters(one)["params"] for one in head.mask_heads] == [11_066_320] * 6
    fewer = published(num_classes=79)
    assert count_parameters(published())["params"] - count_parameters(fewer)["params"] == 3_084


def test_norms_of_the_mask_head_follow_the_profile():
    assert isinstance(published().head.mask_heads[0].convs[0][1], nn.BatchNorm2d)
    assert isinstance(published(mask_norm="group").head.mask_heads[0].convs[0][1], nn.GroupNorm)
    with pytest.raises(ValueError, match="mask_norm must be one of batch, group"):
        published(mask_norm="layer")


@pytest.fixture
def head(thin_scale, input_size):
    torch.manual_seed(0)
    scale = dataclasses.replace(thin_scale, norm="group", rpn_post_nms=(20, 6))
    return queryinst.build(num_classes=2, backbone="resnet50", scale=scale, input_size=input_size).head


@pytest.fixture
def pyramid():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn((1, 32, side, side), generator=generator) for side in (16, 8, 4, 2, 1)]


def test_a_thin_profile_has_fewer_queries_and_their_boxes_cover_the_image(head, pyramid):
    boxes = []
    head.box_pooler.register_forward_pre_hook(lambda _, inputs: boxes.append(inputs[1]))
    head(pyramid)
    assert len(boxes) == 6 and boxes[0][0].shape == (6, 4)
    torch.testing.assert_close(boxes[0][0], torch.tensor([[0.0, 0, 64, 64]]).expand(6, -1))


def test_the_first_boxes_cover_each_image_whatever_its_neighbours_in_the_batch(head, pyramid):
    boxes = []
    head.box_pooler.register_forward_pre_hook(lambda _, inputs: boxes.append(inputs[1]))
    head([level.repeat(2, 1, 1, 1) for level in pyramid], [(64, 40), (32, 64)])
    torch.testing.assert_close(boxes[0][0], torch.tensor([[0.0, 0, 40, 64]]).expand(6, -1))
    torch.testing.assert_close(boxes[0][1], torch.tensor([[0.0, 0, 64, 32]]).expand(6, -1))


def test_the_detector_tells_its_head_the_sizes_of_images(head, thin_scale, input_size):
    model = queryinst.build(num_classes=2, backbone="resnet50", scale=thin_scale, input_size=input_size).eval()
    boxes = []
    model.head.box_pooler.register_forward_pre_hook(lambda _, inputs: boxes.append(inputs[1]))
    with torch.inference_mode():
        batch, _ = model.transform([torch.rand(3, 50, 90), torch.rand(3, 90, 50)])
        model([torch.rand(3, 50, 90), torch.rand(3, 90, 50)])
    assert batch.image_sizes[0] == batch.image_sizes[1][::-1]
    for first, (height, width) in zip(boxes[0], batch.image_sizes, strict=True):
        torch.testing.assert_close(first[0], torch.tensor([0.0, 0, width, height]))


def test_dynamic_convolution_by_hand():
    torch.manual_seed(0)
    layer = DynamicConvolution(8)
    features, queries = torch.randn(3, 8, 2, 2), torch.randn(3, 8)
    found = layer(features, queries)
    weights = layer.weights(queries)
    for row in range(3):
        first, second = weights[row, :16].view(8, 2), weights[row, 16:].view(2, 8)
        for y in range(2):
            for x in range(2):
                inner = F.layer_norm(features[row, :, y, x] @ first, (2,)).relu()
                outer = F.layer_norm(inner @ second, (8,)).relu()
                torch.testing.assert_close(found[row, :, y, x], outer)


def test_masks_read_the_attended_queries_and_not_the_stages_new_ones(head, pyramid):
    predictions = head(pyramid)
    target = {
        "labels": torch.tensor([1]),
        "boxes": torch.tensor([[8.0, 8, 40, 40]]),
        "masks": torch.ones((1, 64, 64), dtype=torch.uint8),
        "to_original": (1.0, 1.0),
    }
    predictions.boxes[5] = target["boxes"].expand(1, 6, -1)
    loss = head._mask_loss(5, predictions, [Matched(torch.tensor([2]), torch.tensor([0]))], [target])
    loss.backward()
    last, before = head.stages[5], head.stages[4]
    assert all(p.grad is None for p in last.feed_forward.parameters())
    assert last.attention.attention.weight.grad.any()
    assert before.feed_forward.expand.weight.grad.any()  # the queries come from there
    assert all(p.grad is None for p in before.deltas.parameters())  # boxes are not learnt from masks


def test_stages_learn_from_their_own_boxes_alone(head, pyramid):
    predictions = head(pyramid)
    predictions.boxes[1].sum().backward()
    assert head.stages[0].deltas.weight.grad is None and head.stages[1].deltas.weight.grad.any()
    assert head.boxes.grad is None
    head(pyramid).boxes[0].sum().backward()
    assert head.boxes.grad.any()


def test_the_mask_of_the_last_stage_is_all_that_inference_has(head, pyramid):
    assert head(pyramid).masks is None
    assert head.eval()(pyramid).masks.shape == (1, 6, 2, 28, 28)


TARGET = {"labels": torch.tensor([2, 1]), "boxes": torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 30]])}


def test_the_box_or_else_the_class_decides_the_assignment():
    boxes = torch.tensor([[20.0, 20, 40, 30], [50, 50, 60, 60], [0, 0, 10, 11]])
    found = match(torch.zeros(3, 2), boxes, TARGET, (100, 100))
    assert (found.queries.tolist(), found.instances.tolist()) == ([0, 2], [1, 0])
    same = torch.tensor([[0.0, 0, 10, 10]]).expand(2, -1)
    target = {"labels": torch.tensor([1, 2]), "boxes": same}
    found = match(torch.tensor([[-2.0, 2], [2, -2]]), same, target, (100, 100))
    assert found.instances.tolist() == [1, 0]


def test_losses_of_a_stage_by_hand():
    boxes = torch.tensor([[[0.0, 0, 10, 20], [5, 5, 6, 6]]])
    matched = [Matched(torch.tensor([0]), torch.tensor([0]))]
    target = {"labels": torch.tensor([2]), "boxes": torch.tensor([[0.0, 0, 10, 10]])}
    found = stage_losses(torch.zeros(1, 2, 2), boxes, matched, [target], [(50, 100)])
    assert found["loss_box"].item() == pytest.approx(5 * 10 / 50)
    assert found["loss_giou"].item() == pytest.approx(2 * (1 - 0.5))
    # Logits of 0: one positive of 0.25 and three negatives of 0.75, each times 0.25 log 2.
    assert found["loss_class"].item() == pytest.approx(2 * (0.25 + 3 * 0.75) * 0.25 * math.log(2))


def test_without_instances_the_classes_learn_and_boxes_get_zeros():
    boxes = torch.tensor([[[0.0, 0, 10, 20]]], requires_grad=True)
    none = {"labels": torch.zeros(0, dtype=torch.long), "boxes": torch.zeros(0, 4)}
    matched = [match(torch.zeros(1, 2), boxes[0].detach(), none, (50, 50))]
    found = stage_losses(torch.zeros(1, 1, 2), boxes, matched, [none], [(50, 50)])
    assert found["loss_class"] > 0 and found["loss_box"] == 0 and found["loss_giou"] == 0
    sum(found.values()).backward()
    assert not boxes.grad.any()


def test_mask_loss_by_hand():
    logits = torch.tensor([[[50.0, -50.0]]])
    assert mask_loss(logits, torch.tensor([[[1.0, 0.0]]])).item() == pytest.approx(8 * (1 - 2 / 2.002), rel=1e-3)
    assert mask_loss(logits, torch.tensor([[[0.0, 1.0]]])).item() == pytest.approx(8)
