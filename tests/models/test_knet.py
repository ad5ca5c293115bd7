"""K-Net: counts, the localisation pyramid's sizes, kernels' sums by hand, assignment before an update, losses."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from benchmarks.given_instances import drawn_boxes
from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.input_transform import Batch, InputSize
from reprolib.models.queries.assignment import Matched
from reprolib.models.systems.knet import model as knet
from reprolib.models.systems.knet.knet_feature import KernelHead, LocalisationPyramid, group_features
from reprolib.models.systems.knet.knet_head import KNetHead, Predictions, soft_masks
from reprolib.models.systems.knet.knet_losses import class_loss, mask_losses, match, semantic_loss
from reprolib.models.systems.knet.knet_stage import AdaptiveUpdate, KernelUpdate
from reprolib.params import Scale


def published(backbone="resnet50", num_classes=80, **switches):
    arguments = {"num_classes": num_classes, "backbone": backbone, "scale": Scale(), "input_size": InputSize()}
    return on_meta(lambda: knet.build(**arguments | switches))


@pytest.mark.parametrize(
    ("backbone", "num_classes", "count"),
    [("resnet50", 80, 37_482_368), ("resnet101", 80, 56_474_496), ("resnet50", 79, 37_482_368 - 1_028)],
)
def test_parameters_are_as_counted(backbone, num_classes, count):
    assert count_parameters(published(backbone, num_classes))["params"] == count


def test_parameters_by_part():
    model = published()
    assert count_parameters(model.neck)["params"] == 3_344_384
    assert count_parameters(model.head.localisation)["params"] == 4_264_448
    assert count_parameters(model.head.first)["params"] == 178_256
    assert [count_parameters(one)["params"] for one in model.head.updates] == [2_062_416] * 3


def test_unknown_switches_are_refused():
    with pytest.raises(ValueError, match="match_on must be one of before, current"):
        published(match_on="after")


def test_features_have_stride_8_and_masks_stride_4():
    torch.manual_seed(0)
    head = KNetHead(16, num_classes=3, queries=5, rule=None)
    pyramid = [torch.randn(2, 16, *size) for size in ((16, 24), (8, 12), (4, 6), (2, 3), (1, 2))]
    found = head(pyramid)
    assert [one.shape for one in found.masks] == [(2, 5, 16, 24)] * 4
    assert [one.shape for one in found.classes] == [(2, 5, 3)] * 3
    assert found.semantic.shape == (2, 3, 8, 12)
    last = head.eval()(pyramid)
    assert len(last.masks) == len(last.classes) == 1
    torch.testing.assert_close(last.masks[0], found.masks[-1])


def test_levels_are_convolved_as_often_as_they_are_enlarged_and_once():
    assert [len(convs) for convs in LocalisationPyramid(16).levels] == [1, 1, 2, 3]
    assert LocalisationPyramid(16).levels[0][0][0].stride == (2, 2)


def test_group_features_are_sums_and_not_means():
    masks = torch.tensor([[[[1.0, 2.0, -1.0]], [[-1.0, -2.0, -3.0]]]], requires_grad=True)
    feature = torch.tensor([[[[1.0, 2.0, 4.0]], [[3.0, 5.0, 7.0]]]], requires_grad=True)
    found = group_features(masks, feature)
    assert found.tolist() == [[[3, 8], [0, 0]]]
    found.sum().backward()
    assert masks.grad is None and feature.grad.any()


def test_first_kernels_are_finite_where_masks_are_empty():
    torch.manual_seed(0)
    head = KernelHead(16, num_classes=2, queries=3)
    torch.nn.init.zeros_(head.kernels.weight)
    feature, kernels, masks, _ = head(torch.randn(1, 16, 4, 4), torch.randn(1, 16, 4, 4))
    assert not masks.any() and torch.equal(kernels, torch.zeros(1, 3, 16))
    _, classes, found = KernelUpdate(16, num_classes=2)(feature, kernels, masks)
    assert classes.isfinite().all() and found.isfinite().all()


def test_permuted_kernels_give_permuted_outputs():
    torch.manual_seed(0)
    update, order = KernelUpdate(16, num_classes=2), torch.tensor([2, 0, 3, 1])
    feature, kernels, masks = torch.randn(1, 16, 4, 4), torch.randn(1, 4, 16), torch.randn(1, 4, 4, 4)
    plain = update(feature, kernels, masks)
    permuted = update(feature, kernels[:, order], masks[:, order])
    for one, other in zip(plain, permuted, strict=True):
        torch.testing.assert_close(one[:, order], other, atol=1e-5, rtol=1e-4)


def test_the_adaptive_update_by_hand():
    torch.manual_seed(0)
    update = AdaptiveUpdate(4)
    group, kernels = torch.randn(1, 2, 4), torch.randn(1, 2, 4)
    a, b = update.group(group), update.kernel(kernels)
    both = a[..., :4] * b[..., :4]
    gates = [F.layer_norm(gate(both), (4,)).sigmoid() for gate in update.gates]
    fused = gates[0] * F.layer_norm(b[..., 4:], (4,)) + gates[1] * F.layer_norm(a[..., 4:], (4,))
    expected = F.layer_norm(update.fuse[0](fused), (4,)).relu()
    torch.testing.assert_close(update(group, kernels), expected)


# Assignment and losses

BOXES = torch.tensor([[0.0, 0, 4, 4], [4, 4, 8, 8]])
WANTED = drawn_boxes(BOXES, (8, 8)) > 0


def test_masks_decide_and_classes_where_they_are_equal():
    masks = drawn_boxes(BOXES.flip(0), (8, 8))
    found = match(masks, WANTED, None, torch.tensor([1, 1]))
    assert found.instances.tolist() == [1, 0]
    same = torch.zeros(2, 8, 8)
    found = match(same, WANTED, torch.tensor([[-3.0, 3], [3, -3]]), torch.tensor([1, 2]))
    assert found.instances.tolist() == [1, 0]


def test_the_cost_of_masks_by_hand(monkeypatch):
    costs = []
    monkeypatch.setattr("reprolib.models.systems.knet.knet_losses.hungarian", costs.append)
    masks = torch.tensor([[[40.0, 40.0, -40.0, -40.0]]])
    match(masks, torch.tensor([[[True, False, False, False]]]), None, torch.tensor([1]))
    # p = 1 1 0 0, q = 1 0 0 0: dice 2 / 3, three of four pixels agree.
    assert costs[0].item() == pytest.approx(4 * (1 - 2 / 3.002) - 3 / 4, rel=1e-5)


def head_and_predictions(match_on="before"):
    torch.manual_seed(0)
    head = KNetHead(16, num_classes=2, queries=2, rule=None, match_on=match_on)
    first, updated = drawn_boxes(BOXES, (8, 8)), drawn_boxes(BOXES.flip(0), (8, 8))
    masks = [one[None] for one in (first, updated, updated, updated)]
    predictions = Predictions([torch.zeros(1, 2, 2)] * 3, masks, torch.zeros(1, 2, 4, 4))
    sizes = [(32, 32)]
    target = {"labels": torch.tensor([1, 2]), "masks": WANTED.repeat_interleave(4, 1).repeat_interleave(4, 2)}
    batch = Batch(tensors=torch.zeros(1, 3, 32, 32), image_sizes=sizes, original_sizes=sizes)
    return head, predictions, batch, target


def test_an_update_is_assigned_by_the_masks_before_it_and_the_first_one_without_classes():
    head, predictions, batch, target = head_and_predictions()
    found = head.losses(predictions, batch, [target])
    # The first masks are right, and the first update is assigned by them, so that its own, exchanged ones are wrong.
    # The later ones are assigned by masks that are exchanged already.
    assert found["loss_mask"].item() == pytest.approx(10 * 32 / 64, rel=1e-3)
    assert found["loss_dice"].item() == pytest.approx(4, rel=1e-3)
    assert found["loss_class"].item() == pytest.approx(3 * 2 * (2 * 0.25 + 2 * 0.75) * 0.25 * math.log(2) / 2)


def test_current_masks_may_assign_instead():
    head, predictions, batch, target = head_and_predictions("current")
    found = head.losses(predictions, batch, [target])
    assert found["loss_mask"].item() < 0.01 and found["loss_dice"].item() < 0.01


def test_masks_are_means_over_positives_and_pixels():
    masks = torch.zeros(3, 2, 2)
    found = mask_losses([masks], [Matched(torch.tensor([2]), torch.tensor([0]))], [torch.ones(1, 2, 2).bool()])
    assert found["loss_mask"].item() == pytest.approx(math.log(2))
    assert found["loss_dice"].item() == pytest.approx(4 * (1 - 4 / 5.002), rel=1e-4)
    none = mask_losses([masks], [Matched(*torch.zeros(2, 0, dtype=torch.long))], [torch.zeros(0, 2, 2).bool()])
    assert none["loss_mask"] == 0 and none["loss_dice"] == 0


@pytest.mark.parametrize("width", [130, 133])
def test_targets_lie_at_a_fourth_of_their_place_also_where_sides_are_no_multiples_of_four(width):
    """An image of 100 x width px that fills as much of its batch, its last 20 columns an instance."""
    masks = torch.zeros(2, 100, width, dtype=torch.uint8)
    masks[0, :, -20:] = 1
    masks[1, 50:53, 50:52] = 1  # one of the four pixels in the middle of the cell at 48 px, none of another's
    soft = soft_masks(masks, (100, width), (32, 40))
    edge = soft[0, 10].cumsum(0)
    assert edge[-1].item() * 4 == pytest.approx(20, abs=2) and not soft[0, 25:].any()
    first = (width - 20) / 4
    assert not soft[0, 10, : int(first)].any() and soft[0, 10, int(first) + 1] == 1
    assert soft[1].unique().tolist() == [0, 0.25]
    assert soft_masks(masks[:0], (100, width), (32, 40)).shape == (0, 32, 40)


def test_classes_are_divided_by_positives():
    logits, labels = torch.zeros(1, 3, 2), [torch.tensor([2, 1])]
    found = class_loss(logits, [Matched(torch.tensor([0, 2]), torch.tensor([0, 1]))], labels)
    assert found.item() == pytest.approx(2 * (2 * 0.25 + 4 * 0.75) * 0.25 * math.log(2) / 2)


def test_later_instances_are_painted_over_earlier_ones():
    masks = torch.tensor([[[True, True, False]], [[False, True, False]]])
    logits = torch.tensor([[[[9.0, -9, -9]], [[-9.0, 9, -9]]]])
    assert semantic_loss(logits, [masks], [torch.tensor([1, 2])]) < 1e-4
    assert semantic_loss(logits, [masks], [torch.tensor([2, 1])]) > 1
