"""SEANet's box geometry: locations, their targets, GIoU and the losses, by hand and against torchvision."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou, generalized_box_iou

from reprolib.models.losses import focal_class_loss
from reprolib.models.two_stage.samples import Samples
from reprolib.papers.seanet.box_losses import box_loss, iou_loss, iou_targets, paired_giou, paired_iou
from reprolib.papers.seanet.locations import decode, encode, location_targets, locations


def boxes_of(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def samples_of(boxes, labels, matched):
    """One image's samples."""
    labels = torch.tensor(labels, dtype=torch.long)
    return Samples([boxes], [labels], [torch.tensor(matched, dtype=torch.long)], [torch.zeros(len(labels)).bool()])


def target_of(boxes, labels):
    return {"boxes": boxes, "labels": torch.tensor(labels, dtype=torch.long)}


sides = st.floats(0.5, 300, width=32)
corners = st.floats(-100, 500, width=32)
a_box = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), corners, corners, sides, sides)
some_pairs = st.lists(st.tuples(a_box, a_box), min_size=1, max_size=8)


def paired(pairs):
    return boxes_of(*(a for a, _ in pairs)), boxes_of(*(b for _, b in pairs))


def test_locations_are_the_centres_of_cells_row_by_row():
    points = locations(boxes_of([0, 0, 70, 140], [7, 14, 14, 21]), size=7)
    assert points.shape == (2, 49, 2)
    assert points[0, [0, 1, 7, 24, 48]].tolist() == [[5, 10], [15, 10], [5, 30], [35, 70], [65, 130]]
    assert points[1, [0, 48]].tolist() == [[7.5, 14.5], [13.5, 20.5]]


def test_floored_locations_are_whole_pixels_of_boxes_of_at_least_one():
    points = locations(boxes_of([10.3, 20.7, 10.5, 27.7]), size=7, floor=True)
    assert points[0, [0, 6, 42, 48]].tolist() == [[10, 21], [11, 21], [10, 27], [11, 27]]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(some_pairs)
def test_decode_undoes_encode(pairs):
    rois, boxes = paired(pairs)
    points = locations(rois, size=7)
    distances = encode(points, boxes[:, None].expand(-1, 49, -1))
    torch.testing.assert_close(decode(points, distances), boxes[:, None].expand(-1, 49, -1), rtol=0, atol=1e-3)
    ones = [1] * len(rois)
    samples, targets = samples_of(rois, ones, range(len(rois))), [target_of(boxes, ones)]
    found = location_targets(points, samples, targets, any_instance=False)
    assert torch.equal(found.labels > 0, (distances > 0).all(-1))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(some_pairs)
def test_giou_and_iou_of_pairs_are_torchvisions(pairs):
    first, second = (boxes.double() for boxes in paired(pairs))
    giou, iou = paired_giou(first, second), paired_iou(first, second)
    torch.testing.assert_close(giou, generalized_box_iou(first, second).diag(), rtol=0, atol=1e-5)
    torch.testing.assert_close(iou, box_iou(first, second).diag(), rtol=0, atol=1e-5)
    torch.testing.assert_close(giou, paired_giou(second, first))
    assert (giou <= iou + 1e-6).all() and (giou > -1).all() and (giou <= 1).all()
    torch.testing.assert_close(paired_giou(first, first), torch.ones_like(giou), rtol=0, atol=1e-5)


def test_targets_are_the_matched_instance_strictly_inside():
    """RoI 0..70: cell centres at 5, 15 .. 65. The instance ends on the fourth centre, which is outside."""
    rois = boxes_of([0, 0, 70, 70], [0, 0, 70, 70])
    truth = boxes_of([0, 0, 35, 20], [0, 0, 70, 70])
    points = locations(rois, size=7)
    found = location_targets(points, samples_of(rois, [2, 0], [0, 0]), [target_of(truth, [2, 1])], any_instance=False)
    expected = torch.zeros(7, 7, dtype=torch.long)
    expected[:2, :3] = 2
    assert torch.equal(found.labels[0].view(7, 7), expected)
    assert (found.labels[1] == 0).all()  # a background RoI, though instance 1 covers it
    assert found.boxes[0, 8].tolist() == [0, 0, 35, 20]


def test_targets_of_any_instance_prefer_the_smallest():
    rois = boxes_of([0, 0, 70, 70], [70, 0, 140, 70])
    truth = boxes_of([0, 0, 100, 70], [10, 10, 30, 30])
    points = locations(rois, size=7)
    found = location_targets(points, samples_of(rois, [1, 0], [0, 0]), [target_of(truth, [1, 3])], any_instance=True)
    expected = torch.ones(7, 7, dtype=torch.long)
    expected[1:3, 1:3] = 3
    assert torch.equal(found.labels[0].view(7, 7), expected)
    assert found.boxes[0, 8].tolist() == [10, 10, 30, 30] and found.boxes[0, 0].tolist() == [0, 0, 100, 70]
    assert found.labels[1].view(7, 7)[0].tolist() == [1, 1, 1, 0, 0, 0, 0]  # though the RoI is background


@pytest.mark.parametrize("any_instance", [False, True])
def test_targets_of_several_images_are_each_images_own(any_instance):
    rois = [boxes_of([0, 0, 70, 70]), boxes_of([0, 0, 70, 70], [35, 35, 70, 70]), boxes_of()]
    truth = [boxes_of(), boxes_of([0, 0, 70, 70]), boxes_of([1, 1, 2, 2])]
    targets = [target_of(boxes, [2] * len(boxes)) for boxes in truth]
    parts = [samples_of(*row) for row in zip(rois, ([0], [2, 0], []), ([0], [0, 0], []), strict=True)]
    samples = Samples(
        *([one for part in field for one in part] for field in zip(*(one[:4] for one in parts), strict=True))
    )
    found = location_targets(locations(torch.cat(rois), size=7), samples, targets, any_instance=any_instance)
    positives = (found.labels > 0).sum(-1).tolist()
    assert positives == [0, 49, 49 if any_instance else 0]


def test_class_loss_is_the_focal_loss_per_positive_location_and_roi():
    logits = torch.randn(2, 49, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, 49, dtype=torch.long)
    labels[0, :5], labels[1, 7] = 1, 3
    total = 0.0
    for roi in range(2):
        for cell in range(49):
            for channel in range(3):
                p = torch.sigmoid(logits[roi, cell, channel]).item()
                if labels[roi, cell] == channel + 1:
                    total -= 0.25 * (1 - p) ** 2 * math.log(p)
                else:
                    total -= 0.75 * p**2 * math.log(1 - p)
    assert focal_class_loss(logits, labels, added=len(labels)).item() == pytest.approx(total / (6 + 2), rel=1e-5)


def test_box_loss_by_hand():
    truth = boxes_of([0, 0, 2, 2])
    shifted, apart, inner = boxes_of([1, 0, 3, 2]), boxes_of([4, 0, 6, 2]), boxes_of([0, 0, 1, 1])
    # GIoU: 2/6; disjoint, union 8 of a hull of 12: -1/3; contained: 1/4, whose hull is the truth.
    for found, giou in ((shifted, 1 / 3), (apart, -1 / 3), (inner, 1 / 4), (truth, 1)):
        assert box_loss(found, truth, clamp="half").item() == pytest.approx(-math.log((giou + 1) / 2), abs=1e-6)
        expected = -math.log((max(giou, 0) + 1) / 2)
        assert box_loss(found, truth, clamp="giou").item() == pytest.approx(expected, abs=1e-5)
    both = box_loss(torch.cat([apart, truth]), truth.repeat(2, 1), clamp="half")
    assert both.item() == pytest.approx(math.log(3) / 2, abs=1e-6)  # the mean


@pytest.mark.parametrize("clamp", ["half", "giou"])
def test_gradient_of_the_box_loss(clamp):
    wanted = torch.tensor([[0.0, 0.0, 20.0, 10.0]] * 3, dtype=torch.float64)
    found = torch.tensor([[1.0, 2.0, 11.0, 8.0], [-3.0, 1.0, 9.0, 14.0], [5.0, -40.0, 6.0, 50.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: box_loss(x, wanted, clamp=clamp), found.requires_grad_())
    # Contained with area a in area g the loss is -ln((a / g + 1) / 2): moving the right side by d adds 6 d to a.
    gradient = torch.autograd.grad(box_loss(found[:1], wanted[:1], clamp=clamp), found)[0][0]
    assert gradient[2].item() == pytest.approx(-6 / (60 + 200), rel=1e-5)
    # A cross of negative GIoU: it is to shrink, and learns nothing where GIoU itself is clamped.
    assert paired_giou(found[2:], wanted[2:]) < 0
    gradient = torch.autograd.grad(box_loss(found[2:], wanted[2:], clamp=clamp), found)[0][2]
    assert bool(gradient[3] > 0) == (clamp == "half") and bool((gradient == 0).all()) == (clamp == "giou")


def test_iou_targets_by_their_reading():
    truth = boxes_of([0, 0, 2, 2]).repeat(3, 1)
    found = boxes_of([0, 0, 2, 2], [1, 1, 3, 3], [4, 0, 6, 2])
    # The second pair: 1 of a union of 7, a hull of 9.
    expected = {
        "iou": [1.0, 1 / 7, 0.0],
        "giou": [1.0, 1 / 7 - 2 / 9, -1 / 3],
        "clamped_giou": [1.0, 0.0, 0.0],
    }
    for kind, values in expected.items():
        torch.testing.assert_close(iou_targets(found, truth, kind=kind), torch.tensor(values), rtol=0, atol=1e-6)


def test_iou_loss_is_the_mean_square():
    assert iou_loss(torch.tensor([0.5, 1.0]), torch.tensor([1.0, 0.0])).item() == pytest.approx((0.25 + 1) / 2)
