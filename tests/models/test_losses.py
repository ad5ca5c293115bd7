"""The losses that several systems use: values by hand, and nothing to learn from."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import box_iou

from reprolib.models.losses import (
    dice_loss,
    focal_class_loss,
    focal_loss,
    mask_cross_entropy,
    mean_binary_cross_entropy,
    mean_loss,
    side_iou_loss,
    squared_dice_loss,
    weighted_mean,
)


def test_focal_loss_by_hand():
    logits = torch.tensor([[0.0, math.log(3)]])  # probabilities 1/2 and 3/4
    positive, negative = 0.25 * 0.5**2 * math.log(2), 0.75 * 0.75**2 * math.log(4)
    torch.testing.assert_close(focal_loss(logits, torch.tensor([1])), torch.tensor([[positive, negative]]))


@pytest.mark.parametrize(("labels", "added", "divisor"), [([0, 2, 0], 2, 3), ([0, 2, 1], 0, 2), ([0, 0, 0], 0, 1)])
def test_the_class_loss_is_divided_by_positives_and_what_is_added(labels, added, divisor):
    logits, labels = torch.zeros(3, 2), torch.tensor(labels)
    positives = (labels > 0).sum().item()
    total = (positives * 0.25 + (6 - positives) * 0.75) * 0.25 * math.log(2)
    assert focal_class_loss(logits, labels, added=added).item() == pytest.approx(total / divisor)
    stacked = focal_class_loss(logits[None], labels[None], added=added)
    assert stacked == focal_class_loss(logits, labels, added=added)


def test_dice_by_hand():
    p, q = torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.0]])
    assert dice_loss(p, q, smooth=1).item() == pytest.approx(1 - 3 / (1.5 + 1 + 1))
    assert dice_loss(p[..., None], q[..., None], smooth=0.5).item() == pytest.approx(1 - 2.5 / (1.5 + 1 + 0.5))


def test_squared_dice_of_equal_and_of_disjoint_masks():
    masks = torch.zeros((3, 4, 4), dtype=torch.bool)
    masks[:, :2] = True
    predicted = torch.stack([masks[0].float(), (~masks[0]).float(), torch.full((4, 4), 0.5)])
    losses = squared_dice_loss(predicted, masks, epsilon=1e-3)
    # The third: 1 - 2 * 8 * 0.5 / (16 * 0.25 + 8).
    torch.testing.assert_close(losses, torch.tensor([0.0, 1.0, 1 / 3]), atol=2e-4, rtol=0)
    assert losses[0].item() == pytest.approx(1 - 16 / 16.002, rel=1e-2)  # epsilon counts twice


def test_cross_entropies_by_hand():
    logits, masks = torch.tensor([[[0.0, math.log(3)]], [[0.0, 0.0]]]), torch.tensor([[[1.0, 1.0]], [[0.0, 1.0]]])
    per_mask = torch.tensor([(math.log(2) + math.log(4 / 3)) / 2, math.log(2)])
    torch.testing.assert_close(mask_cross_entropy(logits, masks), per_mask)
    torch.testing.assert_close(mean_binary_cross_entropy(logits, masks), per_mask.mean())
    weights = torch.tensor([[[2.0, 0.0]], [[0.0, 0.0]]])
    assert mean_binary_cross_entropy(logits, masks, weights=weights).item() == pytest.approx(math.log(2) / 2)


def test_means_by_hand():
    assert mean_loss(torch.tensor([1.0, 4.0])) == 2.5
    assert weighted_mean(torch.tensor([1.0, 4.0]), torch.tensor([0.5, 0.25])).item() == pytest.approx(1.5 / 0.75)


def test_nothing_to_learn_from_costs_nothing_and_has_a_zero_gradient():
    logits = torch.ones((2, 3), requires_grad=True)
    none, targets = logits[:0], torch.zeros(0, 3)
    losses = [
        mean_binary_cross_entropy(none, targets, weights=targets),
        mean_loss(mask_cross_entropy(none, targets)),
        mean_loss(dice_loss(none.sigmoid(), targets, smooth=1)),
        weighted_mean(none[:, 0], targets[:, 0]),
        focal_class_loss(none, targets[:, 0].long(), added=0),
    ]
    sum(losses).backward()
    assert all(loss == 0 for loss in losses) and torch.equal(logits.grad, torch.zeros(2, 3))


def test_the_iou_loss_of_sides_is_that_of_the_boxes():
    generator = torch.Generator().manual_seed(0)
    sides, target_sides = (1 + 20 * torch.rand((6, 4), generator=generator) for _ in range(2))
    signs = torch.tensor([-1.0, -1, 1, 1])
    iou = box_iou(signs * sides, signs * target_sides).diagonal()
    torch.testing.assert_close(side_iou_loss(sides, target_sides), -iou.log())
    assert side_iou_loss(sides, sides).abs().max() < 1e-6
