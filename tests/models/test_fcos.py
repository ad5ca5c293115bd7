"""What systems on FCOS share: locations, which instance each learns, losses and selection by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import box_iou

from reprolib.evaluation.cost import count_parameters
from reprolib.models.detections import DetectionRule
from reprolib.models.one_stage.fcos_inference import select
from reprolib.models.one_stage.fcos_losses import centreness_loss, class_loss, iou_loss, weighted
from reprolib.models.one_stage.fcos_pyramid import FCOSPyramid
from reprolib.models.one_stage.fcos_targets import (
    RANGES,
    STRIDES,
    assign,
    centreness,
    from_sides,
    make_locations,
    to_sides,
)

CPU = torch.device("cpu")
SIZES = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]  # of 128 x 192 px


def middles(boxes):
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def test_the_pyramid_has_its_parameters_and_levels():
    neck = FCOSPyramid([256, 512, 1024, 2048], channels=256)
    assert count_parameters(neck)["params"] == 2_688_512 + 1_180_160
    thin = FCOSPyramid([4, 8, 8, 8], channels=8)
    maps = [torch.rand(1, width, side, side + 1) for width, side in ((4, 33), (8, 17), (8, 9), (8, 5))]
    assert [tuple(one.shape[1:]) for one in thin(maps)] == [(8, 17, 18), (8, 9, 10), (8, 5, 6), (8, 3, 3), (8, 2, 2)]
    coarsest = thin(maps)[-2:]
    torch.testing.assert_close(coarsest[1], thin.p7(coarsest[0].relu()))


def test_locations_are_the_centres_of_cells():
    found = make_locations(SIZES, device=CPU)
    assert len(found.points) == sum(height * width for height, width in SIZES)
    assert found.points[:2].tolist() == [[4, 4], [12, 4]] and found.points[24].tolist() == [4, 12]
    assert found.points[-1].tolist() == [192, 64]
    assert found.strides.unique().tolist() == list(STRIDES)


def by_loops(locations, boxes, centres):
    found = []
    for (x, y), stride, low, high in zip(*(part.tolist() for part in locations), strict=True):
        best = (math.inf, -1)
        for index, ((x0, y0, x1, y1), (cx, cy)) in enumerate(zip(boxes.tolist(), centres.tolist(), strict=True)):
            near = abs(x - cx) < 1.5 * stride and abs(y - cy) < 1.5 * stride
            inside = x0 < x < x1 and y0 < y < y1
            if near and inside and low <= max(x - x0, x1 - x, y - y0, y1 - y) <= high:
                best = min(best, ((x1 - x0) * (y1 - y0), index))
        found.append(best[1])
    return found


def test_assignment_equals_plain_loops():
    generator = torch.Generator().manual_seed(0)
    locations = make_locations(SIZES, device=CPU)
    for _ in range(5):
        corner = torch.rand((9, 2), generator=generator) * 100
        boxes = torch.cat([corner, corner + 5 + 120 * torch.rand((9, 2), generator=generator)], dim=1)
        centres = middles(boxes) + 4 * torch.randn((9, 2), generator=generator)
        found = assign(locations, boxes, centres)
        assert found.tolist() == by_loops(locations, boxes, centres) and (found >= 0).any()


def test_levels_are_by_the_distance_to_the_furthest_side():
    locations = make_locations([(side, side) for side in (128, 64, 32, 16, 8)], device=CPU)
    for size, level in ((60, 0), (124, 0), (190, 1), (400, 2), (700, 3), (1020, 4)):
        boxes = torch.tensor([[0.0, 0, size, size]])
        learning = assign(locations, boxes, middles(boxes)) == 0
        assert STRIDES[level] in locations.strides[learning], size
    assert RANGES[0][1] == RANGES[1][0] == 64


def test_no_instances_and_those_without_a_centre_are_learnt_nowhere():
    locations = make_locations(SIZES, device=CPU)
    assert (assign(locations, torch.zeros(0, 4), torch.zeros(0, 2)) == -1).all()
    boxes = torch.tensor([[0.0, 0, 60, 60]])
    assert (assign(locations, boxes, torch.full((1, 2), torch.nan)) == -1).all()


def test_sides_and_back():
    points, boxes = torch.tensor([[10.0, 20]]), torch.tensor([[4.0, 5, 30, 26]])
    sides = to_sides(points, boxes)
    assert sides.tolist() == [[6, 15, 20, 6]]
    assert torch.equal(from_sides(points, sides), boxes)
    assert centreness(sides).item() == pytest.approx(math.sqrt(6 / 20 * 6 / 15))
    assert centreness(torch.tensor([[3.0, 5, 3, 5]])).item() == 1


def test_losses_by_hand():
    logits, labels = torch.zeros(3, 2), torch.tensor([0, 2, 0])
    assert class_loss(logits, labels, images=2).item() == pytest.approx((0.25 + 5 * 0.75) * 0.25 * math.log(2) / 3)
    assert centreness_loss(torch.zeros(2), torch.tensor([0.2, 0.9])).item() == pytest.approx(math.log(2))
    assert weighted(torch.tensor([1.0, 4.0]), torch.tensor([0.5, 0.25])).item() == pytest.approx(1.5 / 0.75)
    none = torch.zeros(0, requires_grad=True)
    assert centreness_loss(none, none.detach()) == 0 and weighted(none, none.detach()) == 0


def test_iou_loss_is_that_of_the_boxes():
    generator = torch.Generator().manual_seed(0)
    one, other = (1 + 20 * torch.rand((6, 4), generator=generator) for _ in range(2))
    points = torch.rand((6, 2), generator=generator) * 50
    iou = box_iou(from_sides(points, one), from_sides(points, other)).diagonal()
    torch.testing.assert_close(iou_loss(one, other), -iou.log())
    assert iou_loss(one, one).abs().max() < 1e-6


def chosen(classes, quality, boxes, *, per_level=10, **rule):
    rule = DetectionRule(**{"score_threshold": 0.1, "detections": 10} | rule)
    return select(
        classes, quality, lambda rows: boxes[rows], counts=[2, 2], per_level=per_level, size=(50, 60), rule=rule
    )


def test_the_threshold_is_of_the_class_and_the_score_has_the_quality():
    classes = torch.tensor([[0.9, 0.05], [0.2, 0.3], [0.0, 0.8], [0.0, 0.0]])
    quality = torch.tensor([0.1, 0.5, 1.0, 1.0])
    boxes = torch.tensor([[0.0, 0, 9, 9], [20, 20, 30, 30], [40, 40, 90, 90], [0, 0, 1, 1]])
    found = chosen(classes, quality, boxes)
    assert found.rows.tolist() == [2, 1, 1, 0] and found.labels.tolist() == [2, 2, 1, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.8, 0.15, 0.1, 0.09]))
    assert found.boxes[0].tolist() == [40, 40, 60, 50]
    assert chosen(classes, quality, boxes, per_level=1).rows.tolist() == [2, 1]
    assert chosen(classes, quality, boxes, detections=2).rows.tolist() == [2, 1]
    assert not len(chosen(classes, quality, boxes, score_threshold=1.0).rows)


def test_nms_is_within_a_class_and_boxes_outside_the_image_go():
    classes = torch.tensor([[0.9, 0.5], [0.8, 0.0], [0.7, 0.0], [0.0, 0.0]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [70, 0, 80, 9], [0, 0, 1, 1]])
    found = chosen(classes, torch.ones(4), boxes)
    assert list(zip(found.rows.tolist(), found.labels.tolist(), strict=True)) == [(0, 1), (0, 2)]
