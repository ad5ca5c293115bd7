"""Mask2Former: counts, masked attention, point losses, ten outputs, losses of a set against a plain loop."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from benchmarks.given_instances import drawn_boxes
from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.input_transform import Batch, InputSize
from reprolib.models.layers.point_sampling import sample_maps, uncertain_points
from reprolib.models.queries.mask_classification import MaskClassification, Predictions, classification_loss
from reprolib.models.systems.mask2former import model as mask2former
from reprolib.models.systems.mask2former.mask2former_decoder import MaskedDecoder, inside_masks
from reprolib.models.systems.mask2former.point_criterion import PointCriterion, points_of
from reprolib.params import Scale


def published(backbone="resnet50", num_classes=80):
    return on_meta(
        lambda: mask2former.build(
            num_classes=num_classes, backbone=backbone, scale=Scale(), input_size=InputSize(test_size=800)
        )
    )


@pytest.mark.parametrize(
    ("backbone", "num_classes", "count"),
    [("resnet50", 80, 44_023_377), ("resnet101", 80, 63_015_505), ("resnet50", 79, 44_023_377 - 257)],
)
def test_parameters_are_as_counted(backbone, num_classes, count):
    assert count_parameters(published(backbone, num_classes))["params"] == count


def test_parameters_by_part():
    model = published()
    assert count_parameters(model.neck)["params"] == 6_035_904
    assert count_parameters(model.neck.layers[0])["params"] == 732_192
    assert count_parameters(model.head)["params"] == 14_479_441
    # Nothing of the backbone is frozen but the affine of its norms.
    assert count_parameters(model.backbone)["trainable_params"] == 23_508_032 - 53_120


def test_there_are_ten_outputs_in_training_and_the_last_in_inference():
    torch.manual_seed(0)
    decoder = MaskedDecoder(16, num_classes=3, queries=5)
    maps = [torch.randn(2, 16, side, side) for side in (8, 1, 2, 4)]
    trained = decoder(maps)
    assert len(trained.classes) == len(trained.masks) == 10
    assert trained.classes[0].shape == (2, 5, 4) and trained.masks[0].shape == (2, 5, 8, 8)
    (classes,), (masks,) = decoder.eval()(maps)
    torch.testing.assert_close(classes, trained.classes[-1])
    torch.testing.assert_close(masks, trained.masks[-1])


def test_an_empty_mask_looks_everywhere_and_others_inside():
    logits = torch.full((1, 2, 4, 4), -3.0)
    logits[0, 1, :2, :2] = 3.0
    inside = inside_masks(logits, (2, 2))
    assert inside[0].tolist() == [[True] * 4, [True, False, False, False]]


def test_queries_do_not_see_what_lies_outside_their_masks():
    torch.manual_seed(0)
    decoder = MaskedDecoder(16, num_classes=3, queries=1)
    layer, allowed = decoder.layers[0], torch.tensor([[[[True, False, True]]]])
    memory = torch.randn(1, 3, 16)
    changed = memory.clone()
    changed[:, 1] += 5
    inputs = {"position": decoder.positions.weight, "memory_position": torch.zeros(3, 16), "allowed": allowed}
    x = torch.randn(1, 1, 16)
    torch.testing.assert_close(layer(x, memory=memory, **inputs), layer(x, memory=changed, **inputs))


# Points


def target_of(masks, *, labels=None, to_original=(1.0, 1.0)):
    labels = torch.ones(len(masks), dtype=torch.long) if labels is None else labels
    return {"masks": masks, "labels": labels, "to_original": to_original}


def batch_of(side=32, count=1):
    sizes = [(side, side)] * count
    return Batch(tensors=torch.zeros(count, 3, side, side), image_sizes=sizes, original_sizes=sizes)


def test_points_of_a_constant_map_give_the_constant():
    logits = torch.full((2, 8, 8), 1.5)
    points = uncertain_points(logits, 12)
    inner = points.clamp(1 / 16, 15 / 16)  # nearer to the border maps fade out
    torch.testing.assert_close(sample_maps(logits[:, None], inner)[:, 0], torch.full((2, 12), 1.5))


def test_points_read_masks_of_the_original_size_in_units_of_the_padded_batch():
    masks = torch.zeros((2, 16, 32), dtype=torch.uint8)
    masks[1, 4:8, 10:20] = 1
    # The image of 32 x 16 px lies as 64 x 32 in a batch of 64 x 64.
    truth = PointCriterion(points=4).truth(target_of(masks, to_original=(0.5, 0.5)), batch_of(64), 0)
    points = torch.tensor([[[11 / 32, 6 / 32], [25 / 32, 6 / 32], [11 / 32, 22 / 32]]])
    assert truth.at(torch.tensor([1]), points).tolist() == [[1, 0, 0]]
    assert truth.at(torch.tensor([0]), points).tolist() == [[0, 0, 0]]


def test_point_losses_of_a_perfect_and_of_an_opposite_mask():
    masks = torch.zeros((1, 32, 32), dtype=torch.uint8)
    masks[0, 8:24, 4:20] = 1
    criterion = PointCriterion(points=400)
    truth = criterion.truth(target_of(masks), batch_of(), 0)
    logits = drawn_boxes(torch.tensor([[1.0, 2, 5, 6]]), (8, 8))
    torch.manual_seed(0)
    perfect = criterion.losses(logits, truth, torch.tensor([0]))
    opposite = criterion.losses(-logits, truth, torch.tensor([0]))
    cost = criterion.cost(torch.cat([logits, -logits]), truth)
    assert perfect["loss_mask"] < 5 * 2 < opposite["loss_mask"]
    assert perfect["loss_dice"] < 5 * 0.25 and 5 * 0.4 < opposite["loss_dice"] <= 5
    assert cost.shape == (2, 1) and cost[0] < cost[1]


def test_published_points_and_a_thin_profiles():
    assert points_of(Scale()) == 12_544 and points_of(Scale(anchor_sizes=(8, 16, 32, 64, 128))) == 784


# The losses of a set


def test_queries_without_an_instance_count_a_tenth():
    logits = torch.tensor([[[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]])
    found = classification_loss(logits, torch.tensor([[2, 0]]))
    each = [-math.log(math.e**2 / (1 + math.e + math.e**2)), -math.log(math.e / (math.e + 2))]
    assert found.item() == pytest.approx((each[0] + 0.1 * each[1]) / 1.1)


class Halves:
    """A criterion whose truth is a number for each instance, and a mask's loss the distance of its first logit."""

    class_weight = 2.0

    def truth(self, target, batch, index):
        return target["numbers"]

    def cost(self, masks, truth):
        return (masks[:, 0] - truth).abs()

    def losses(self, masks, truth, instances):
        return {"loss_mask": (masks[:, 0, 0] - truth[instances]).abs().sum()}


def test_losses_of_a_set_are_those_of_a_loop():
    head = MaskClassification(decoder=torch.nn.Identity(), criterion=Halves(), rule=None)
    torch.manual_seed(4)
    classes = [torch.randn(2, 3, 3, requires_grad=True) for _ in range(2)]
    masks = [torch.tensor([[0.0, 5, 9], [1, 2, 3]]).view(2, 3, 1, 1) + output for output in range(2)]
    targets = [
        {"labels": torch.tensor([1, 2]), "numbers": torch.tensor([9.5, 0.5])},
        {"labels": torch.zeros(0, dtype=torch.long), "numbers": torch.zeros(0)},
    ]
    found = head.losses(Predictions(classes, masks), batch_of(count=2), targets)
    # Far apart in their masks, so the first image's queries 2 and 0 take instances 0 and 1 in both outputs.
    assert found["loss_mask"].item() == pytest.approx((0.5 + 0.5 + 0.5 + 0.5) / 2)
    wanted = torch.tensor([[2, 0, 1], [0, 0, 0]])
    weight = torch.tensor([0.1, 1, 1])
    expected = sum(2 * F.cross_entropy(one.flatten(0, 1), wanted.flatten(), weight=weight) for one in classes)
    torch.testing.assert_close(found["loss_class"], expected)


def test_the_class_decides_where_masks_are_equal():
    head = MaskClassification(decoder=torch.nn.Identity(), criterion=Halves(), rule=None)
    classes = torch.tensor([[[0.0, 0, 3], [0, 3, 0]]])
    targets = [{"labels": torch.tensor([1, 2]), "numbers": torch.tensor([0.0, 0.0])}]
    found = head.losses(Predictions([classes], [torch.zeros(1, 2, 1, 1)]), batch_of(), targets)
    likely = -math.log(math.e**3 / (2 + math.e**3))
    assert found["loss_class"].item() == pytest.approx(2 * likely, rel=1e-5)
