"""What systems on FCOS share: locations, which instance each learns, selection by hand, a head with a branch more."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import generalized_box_iou

from reprolib.evaluation.cost import count_parameters
from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import Batch
from reprolib.models.one_stage.fcos_head import FCOSHead, at_positives
from reprolib.models.one_stage.fcos_inference import select
from reprolib.models.one_stage.fcos_pyramid import FCOSPyramid
from reprolib.models.one_stage.fcos_targets import (
    RANGES,
    STRIDES,
    assign,
    centreness,
    find_positives,
    from_sides,
    make_locations,
    to_sides,
)
from reprolib.models.one_stage.fcos_tower import conv3x3, per_location

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


def test_positives_hold_what_their_locations_learn():
    locations = make_locations(SIZES, device=CPU)
    target = {"boxes": torch.tensor([[8.0, 8, 40, 40], [60, 60, 90, 100]]), "labels": torch.tensor([2, 5])}
    positives = find_positives(locations, target)
    instances = assign(locations, target["boxes"], middles(target["boxes"]))
    assert torch.equal(positives.rows, torch.where(instances >= 0)[0])
    assert torch.equal(positives.instances, instances[positives.rows]) and positives.instances.unique().tolist() == [
        0,
        1,
    ]
    assert torch.equal(positives.labels, target["labels"][positives.instances])
    assert torch.equal(positives.points, locations.points[positives.rows])
    assert torch.equal(from_sides(positives.points, positives.sides), target["boxes"][positives.instances])
    elsewhere = find_positives(locations, target, centres=torch.tensor([[torch.nan, 0], [80.0, 90]]))
    assert elsewhere.instances.unique().tolist() == [1]
    assert (elsewhere.points[elsewhere.instances == 1] - torch.tensor([80.0, 90])).abs().max() < 1.5 * 16


class ControlledHead(FCOSHead):
    """As CondInst (Tian et al., ECCV 2020): every location also predicts the parameters of its instance's mask head."""

    def __init__(self, channels, *, num_classes, parameters, **fcos):
        super().__init__(**fcos)
        self.add_layers(channels, num_classes=num_classes)
        self.controller = conv3x3(channels, parameters)

    def branches(self, level, class_features, box_features, index):
        return {"parameters": per_location(self.controller(box_features))}


@pytest.fixture
def head():
    torch.manual_seed(0)
    rule = DetectionRule(score_threshold=0.1, detections=10)
    return ControlledHead(8, num_classes=3, parameters=6, per_level=10, rule=rule)


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(1)
    return [torch.rand((2, 8, *size), generator=generator) for size in SIZES]


def test_a_branch_is_read_at_the_locations_of_all_levels(head, features):
    predictions = head(features)
    count = len(predictions.locations.points)
    assert predictions.classes.shape == (2, count, 3) and predictions.sides.shape == (2, count, 4)
    parameters = predictions.branches["parameters"]
    assert parameters.shape == (2, count, 6)
    start = SIZES[0][0] * SIZES[0][1]
    first_of_p4 = head.controller(head.box_tower(features[1]))[0, :, 0, 0]
    torch.testing.assert_close(parameters[0, start], first_of_p4)


def test_each_level_scales_the_exponents_of_its_sides(head, features):
    before = head(features).sides.log()
    torch.nn.init.constant_(head.scales, 1)
    head.scales.data[1] = 3
    after = head(features).sides.log()
    start, end = 16 * 24, 16 * 24 + 8 * 12
    torch.testing.assert_close(after[:, start:end], 3 * before[:, start:end])
    torch.testing.assert_close(after[:, end:], before[:, end:])


@pytest.mark.parametrize("tower", ["box", "class"])
def test_centreness_is_read_from_one_of_the_towers(features, tower):
    rule = DetectionRule(score_threshold=0.1, detections=10)
    head = ControlledHead(8, num_classes=3, parameters=6, per_level=10, rule=rule, centreness_tower=tower)
    head(features).centreness.sum().backward()
    trained = {name: getattr(head, f"{name}_tower")[0].weight.grad is not None for name in ("box", "class")}
    assert trained == {"box": tower == "box", "class": tower == "class"}


def test_losses_of_locations_are_those_of_a_plain_loop(head, features):
    predictions = head(features)
    targets = [
        {"boxes": torch.tensor([[8.0, 8, 40, 40], [60, 60, 90, 100]]), "labels": torch.tensor([2, 1])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)},
    ]
    positives = [find_positives(predictions.locations, target) for target in targets]
    losses = head.location_losses(predictions, positives)
    total = boxes = centre = weights = 0.0
    rows = {row: index for index, row in enumerate(positives[0].rows.tolist())}
    for image in range(2):
        for row, logits in enumerate(predictions.classes[image].sigmoid().tolist()):
            label = positives[0].labels[rows[row]].item() if image == 0 and row in rows else 0
            for number, p in enumerate(logits, start=1):
                true = number == label
                total -= 0.25 * (1 - p) ** 2 * math.log(p) if true else 0.75 * p**2 * math.log(1 - p)
    for row, index in rows.items():
        weight = centreness(positives[0].sides[index]).item()
        point = positives[0].points[index]
        box, own = (from_sides(point, sides)[None] for sides in (predictions.sides[0, row], positives[0].sides[index]))
        boxes += weight * (1 - generalized_box_iou(box, own).item())
        p = predictions.centreness[0, row].sigmoid().item()
        centre -= weight * math.log(p) + (1 - weight) * math.log(1 - p)
        weights += weight
    assert losses["loss_class"].item() == pytest.approx(total / (len(rows) + 2), rel=1e-4)
    assert losses["loss_box"].item() == pytest.approx(boxes / weights, rel=1e-4)
    assert losses["loss_centreness"].item() == pytest.approx(centre / len(rows), rel=1e-4)
    even = head.location_losses(predictions, positives, torch.ones(len(rows)))
    assert even["loss_class"] == losses["loss_class"] and even["loss_box"] != losses["loss_box"]
    learnt = at_positives(predictions.branches["parameters"], positives)
    assert torch.equal(learnt, predictions.branches["parameters"][0, positives[0].rows])


def test_selected_locations_lead_to_their_branch(head, features):
    torch.nn.init.constant_(head.classes.bias, 1)
    predictions = head(features)
    sizes = [(128, 192), (100, 150)]
    batch = Batch(tensors=torch.zeros(2, 3, 128, 192), image_sizes=sizes, original_sizes=sizes)
    for image, (selected, size) in enumerate(zip(head.selected(predictions, batch), sizes, strict=True)):
        assert 0 < len(selected.rows) <= 10 and (selected.boxes[:, 2:] <= torch.tensor(size[::-1])).all()
        scores = predictions.classes[image].sigmoid() * predictions.centreness[image].sigmoid()[:, None]
        torch.testing.assert_close(selected.scores, scores[selected.rows, selected.labels - 1])
        assert predictions.branches["parameters"][image, selected.rows].shape == (len(selected.rows), 6)
