"""SOLOv2: published counts, the level table, what cells learn, losses by hand, point NMS and Matrix NMS."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import InputSize
from reprolib.models.losses import focal_loss, squared_dice_loss
from reprolib.models.systems.solov2 import model as solov2
from reprolib.models.systems.solov2.matrix_nms import class_iou, mask_iou, matrix_nms, points_nms
from reprolib.models.systems.solov2.solov2_head import solov2_head
from reprolib.models.systems.solov2.solov2_inference import image_detections
from reprolib.models.systems.solov2.solov2_levels import FORMS, Level, level_maps, levels_of
from reprolib.models.systems.solov2.solov2_losses import solov2_losses
from reprolib.models.systems.solov2.solov2_targets import (
    Cells,
    CellTargets,
    both_masks,
    cell_labels,
    centre_cells,
    instance_targets,
    last_wins,
    mass_centres,
)
from reprolib.models.systems.solov2.unified_mask_feature import UnifiedMaskFeature, with_coordinates
from reprolib.params import Scale

LEVEL = Level(stride=8, grid=10, smallest=1, largest=100, noise=8)


def published(*, backbone: str = "resnet50", **switches):
    arguments = {"num_classes": 80, "backbone": backbone, "scale": Scale(), "input_size": InputSize()}
    return on_meta(lambda: solov2.build(**arguments | switches))


@pytest.mark.parametrize(
    ("backbone", "switches", "count"),
    [
        ("resnet50", {}, 46_592_912),
        ("resnet101", {}, 65_585_040),
        ("resnet50", {"num_classes": 5}, 46_247_237),
        ("resnet101", {"num_classes": 5}, 65_239_365),
        ("resnet50", {"solo_form": "light_448"}, 31_340_560),
    ],
)
def test_parameters_are_as_counted(backbone, switches, count):
    assert count_parameters(published(backbone=backbone, **switches))["params"] == count


def test_parameters_by_part():
    model = published()
    assert count_parameters(model.head)["params"] - count_parameters(model.head.mask_feature)["params"] == 18_081_104
    assert count_parameters(model.head.mask_feature)["params"] == 1_659_392
    assert count_parameters(model.neck)["params"] == 3_344_384


def test_a_mask_costs_its_dynamic_convolution():
    model = published()
    assert flops(model, 64, 128, 0, 7) - flops(model, 64, 128, 0, 0) == 7 * 256 * 16 * 32


def test_the_published_level_table():
    levels = published().head.levels
    assert [(one.stride, one.grid, one.smallest, one.largest, one.noise) for one in levels] == [
        (8, 40, 1, 96, 8),
        (8, 36, 48, 192, 8),
        (16, 24, 96, 384, 16),
        (32, 16, 192, 768, 32),
        (32, 12, 384, 2048, 32),
    ]


@pytest.mark.parametrize("side", [448, 512, 680, 800, 1024])
def test_no_published_input_changes_a_grid(side):
    levels = levels_of(FORMS["full"], scale=Scale(), short_side=side)
    assert [level.grid for level in levels] == [40, 36, 24, 16, 12]


def test_the_light_form_has_its_own_ranges_and_input():
    model = published(solo_form="light_448", input_size=InputSize(min_sizes=(640, 800, 400)))
    assert [level.largest for level in model.head.levels] == [56, 112, 224, 448, 896]
    assert [level.smallest for level in model.head.levels] == [1, 28, 56, 112, 224]
    assert [level.grid for level in model.head.levels] == [40, 36, 24, 16, 12]
    assert (model.transform.min_sizes, model.transform.test_size, model.transform.max_size) == ((400, 448), 448, 768)


def test_a_thin_profile_has_smaller_ranges_and_no_grid_finer_than_its_map():
    levels = levels_of(FORMS["full"], scale=Scale(anchor_sizes=(8, 16, 32, 64, 128)), short_side=128)
    assert [level.largest for level in levels] == [24, 48, 96, 192, 512]
    assert [level.noise for level in levels] == [0.5, 0.5, 1, 2, 2]
    assert [level.grid for level in levels] == [18, 18, 9, 5, 5]  # maps of 16, 16, 8, 4 and 4 cells, times 8/7


def test_level_maps_are_p2_halved_and_p6_enlarged():
    features = [torch.rand(1, 2, side, 2 * side) for side in (32, 16, 8, 4, 2)]
    maps = level_maps(features)
    assert [tuple(one.shape[-2:]) for one in maps] == [(16, 32), (16, 32), (8, 16), (4, 8), (4, 8)]
    torch.testing.assert_close(maps[0], F.avg_pool2d(features[0], 2))  # bilinear at half size
    assert maps[1] is features[1] and maps[3] is features[3]


@pytest.mark.parametrize("name", ["solo_form", "collision"])
def test_unknown_switches_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be one of"):
        published(**{name: "warp"})


def cells_of(box, *, centre=None, level=LEVEL):
    """(row, column) of the cells of a 100 x 100 px grid of 10 x 10 cells."""
    box = torch.tensor([box], dtype=torch.float32)
    centre = (box[:, :2] + box[:, 2:]) / 2 if centre is None else torch.tensor([centre])
    return torch.nonzero(centre_cells(box, centre, level, size=(100, 100))[0]).tolist()


def test_a_centre_region_has_at_most_three_by_three_cells():
    assert cells_of([5, 5, 95, 95], level=dataclasses.replace(LEVEL, grid=50)) == [
        [row, column] for row in (24, 25, 26) for column in (24, 25, 26)
    ]  # the region of 18 px touches 9 cells of 2 px a side


def test_a_small_region_has_the_cells_that_it_touches():
    assert cells_of([41, 42, 49, 48]) == [[4, 4]]  # centre (45, 45), region 43.8 .. 46.2
    # Centre (50, 45): 48 .. 52 lies in columns 4 and 5, 44.4 .. 45.6 in row 4.
    assert cells_of([40, 42, 60, 48]) == [[4, 4], [4, 5]]


def test_the_region_lies_around_the_mass_and_not_the_box():
    assert cells_of([10, 10, 30, 30], centre=[15.0, 26.0]) == [[2, 1]]  # 13 .. 17 and 24 .. 28


@pytest.mark.parametrize(("side", "learnt"), [(0.9, False), (1, True), (100, True), (100.5, False)])
def test_both_ends_of_a_range_belong_to_it(side, learnt):
    assert bool(cells_of([50 - side / 2, 50 - side / 2, 50 + side / 2, 50 + side / 2])) == learnt


def test_nothing_lies_outside_the_grid():
    assert cells_of([90, 90, 100, 100], centre=[99.9, 99.9]) == [[9, 9]]


def test_mass_centres_are_means_of_pixel_centres():
    masks = torch.zeros((2, 4, 6), dtype=torch.uint8)
    masks[0, 1, 2:5] = 1
    centres = mass_centres(masks)
    assert centres[0].tolist() == [3.5, 1.5] and centres[1].isnan().all()


def test_targets_of_an_image():
    """A padded, scaled image: 32 x 48 px as given, twice that inside, 64 x 128 with its padding."""
    masks = torch.zeros((2, 32, 48), dtype=torch.uint8)
    masks[0, 8:24, 16:32] = 1
    target = {
        "boxes": torch.tensor([[32.0, 16, 64, 48], [0, 0, 8, 8]]),
        "labels": torch.tensor([3, 1]),
        "masks": masks,
        "to_original": (0.5, 0.5),
    }
    level = Level(stride=8, grid=8, smallest=1, largest=100, noise=8)
    wanted = instance_targets(target, [level], image_size=(64, 96), mask_size=(16, 32))
    expected = torch.zeros((2, 16, 32), dtype=torch.bool)
    expected[0, 4:12, 8:16] = True
    assert torch.equal(wanted.masks, expected)
    # Centre (48, 32); cells 16 px wide and 8 px high; region 44.8 .. 51.2 by 28.8 .. 35.2.
    assert torch.nonzero(wanted.candidates[0].reshape(8, 8)).tolist() == [[3, 2], [3, 3], [4, 2], [4, 3]]
    assert not wanted.candidates[1].any()  # no pixel, no centre
    assert cell_labels(wanted.candidates, wanted.labels).sum() == 4 * 3


def test_collisions():
    """Two instances claim the cell in the middle."""
    claims = torch.tensor([[True, True, False], [False, True, True]])
    wanted = CellTargets(claims, torch.tensor([2, 1]), torch.zeros((2, 4, 4), dtype=torch.bool))
    cells = Cells(torch.zeros(3, 2), torch.zeros(3, 1), torch.zeros(1, 4, 4))
    assert cell_labels(claims, wanted.labels).tolist() == [2, 1, 1]
    assert torch.equal(both_masks(wanted, cells), claims)
    assert last_wins(wanted, cells).tolist() == [[True, False, False], [False, True, True]]
    assert cell_labels(claims[:0], wanted.labels[:0]).tolist() == [0, 0, 0]
    assert last_wins(CellTargets(claims[:0], wanted.labels[:0], wanted.masks[:0]), cells).shape == (0, 3)


def test_the_mask_loss_counts_three_times_and_is_zero_without_positives():
    masks = torch.rand((2, 4, 4), requires_grad=True)
    target_masks = torch.ones((2, 4, 4), dtype=torch.bool)
    logits, labels = torch.zeros((5, 2)), torch.tensor([0, 1, 0, 2, 0])
    losses = solov2_losses(logits, labels, masks, target_masks)
    torch.testing.assert_close(losses["loss_mask"], 3 * squared_dice_loss(masks, target_masks, epsilon=1e-3).mean())
    torch.testing.assert_close(losses["loss_category"], focal_loss(logits, labels).sum() / 3)
    without = solov2_losses(logits, labels * 0, masks[:0], target_masks[:0])["loss_mask"]
    without.backward()
    assert without == 0 and not masks.grad.any()


def test_points_nms_keeps_the_larger_of_neighbours():
    scores = torch.tensor([[0.1, 0.5, 0.2], [0.4, 0.3, 0.9], [0.6, 0.6, 0.0]])[None, None]
    # Each is compared with those above, to the left, and above to the left.
    kept = torch.tensor([[0.1, 0.5, 0.0], [0.4, 0.0, 0.9], [0.6, 0.6, 0.0]])[None, None]
    assert torch.equal(points_nms(scores), kept)


def test_matrix_nms_decays_a_copy_by_exp_minus_two():
    masks = torch.tensor([[1, 1, 0, 0]] * 2, dtype=torch.bool)
    scores = torch.tensor([0.9, 0.8])
    decayed = matrix_nms(masks, torch.tensor([1, 1]), scores)
    torch.testing.assert_close(decayed, torch.tensor([0.9, 0.8 * math.exp(-2)]))
    assert torch.equal(matrix_nms(masks, torch.tensor([1, 2]), scores), scores)  # other classes leave each other be


def test_matrix_nms_compensates_for_what_was_covered_itself():
    """A third copy is as likely as the second: what covers it is itself covered (the second's decay is 1 for it)."""
    masks = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]], dtype=torch.bool)
    decayed = matrix_nms(masks, torch.tensor([1, 1, 1]), torch.ones(3))
    # IoU of 1 and 2: 2/3; of 2 and 3: 1/4; of 1 and 3: 0.
    third = min(math.exp(0), math.exp(-2 * ((1 / 4) ** 2 - (2 / 3) ** 2)))
    torch.testing.assert_close(decayed, torch.tensor([1.0, math.exp(-2 * (2 / 3) ** 2), third]))


def matrix_nms_by_loops(masks, labels, scores):
    iou = lambda i, j: ((masks[i] & masks[j]).sum() / (masks[i] | masks[j]).sum()).item()  # noqa: E731
    decayed = []
    for j in range(len(masks)):
        factors = [1.0]
        for i in (i for i in range(j) if labels[i] == labels[j]):
            covered = max((iou(k, i) for k in range(i) if labels[k] == labels[i]), default=0.0)
            factors.append(math.exp(-2 * (iou(i, j) ** 2 - covered**2)))
        better = factors[1:] or [1.0]
        decayed.append(scores[j].item() * min(better))
    return torch.tensor(decayed)


def test_matrix_nms_is_that_of_two_loops():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand((12, 1, 40), generator=generator) < 0.5
    masks[7], masks[9] = masks[2], masks[2]
    masks, labels = masks.flatten(1), torch.randint(1, 3, (12,), generator=generator)
    scores = torch.rand(12, generator=generator).sort(descending=True).values
    torch.testing.assert_close(matrix_nms(masks, labels, scores), matrix_nms_by_loops(masks, labels, scores))
    assert matrix_nms(masks[:0], labels[:0], scores[:0]).shape == (0,)
    assert class_iou(masks, labels)[0, 0] == 1
    at_once = mask_iou(masks).masked_fill(labels[:, None] != labels, 0)  # on a GPU
    assert torch.equal(at_once, class_iou(masks, labels))


def decoded(cells, *, noise=2.0, **changes):
    """What a 16 x 16 image of two classes is decoded to from 4 cells whose kernels pick maps of the mask feature."""
    rule = DetectionRule(score_threshold=0.1, detections=100)
    sizes = {"image_size": (16, 16), "original_size": (16, 16)}
    return image_detections(cells, noise=torch.full((4,), noise), rule=rule, **sizes | changes)


def four_cells() -> Cells:
    """Mask feature of 4 x 4: a quarter at the upper left, a half below, one pixel, the same quarter less sure."""
    maps = torch.full((4, 4, 4), -9.0)
    maps[0, :2, :2] = maps[1, 2:] = maps[2, 0, 3] = 9.0
    maps[3, :2, :2] = math.log(3)  # probability 3/4
    scores = torch.tensor([[0.9, 0.0], [0.0, 0.6], [0.8, 0.0], [0.8, 0.09]])
    return Cells(scores, torch.eye(4), maps)


def test_detections_by_hand():
    """The pixel is noise; the less sure quarter is rescored to 0.6 and decays to 0.6 exp(-2).

    Enlarged, its probability of 3/4 falls below 1/2 a pixel earlier: 3/4 * 5/8 at the eighth.
    """
    found = decoded(four_cells())
    assert found["labels"].tolist() == [1, 2, 1]
    sure = torch.tensor(9.0).sigmoid().item()
    torch.testing.assert_close(found["scores"], torch.tensor([0.9 * sure, 0.6 * sure, 0.6 * math.exp(-2)]))
    boxes = found["boxes"].tolist()
    assert boxes == [[0, 0, 8, 8], [0, 8, 16, 16], [0, 0, 7, 7]]
    assert found["masks"].sum((1, 2)).tolist() == [63, 128, 49]  # the first without its corner: 5/8 * 5/8


def test_a_mask_of_more_than_noise_counts():
    assert len(decoded(four_cells(), noise=0.0)["labels"]) == 4 and len(decoded(four_cells(), noise=4.0)["labels"]) == 1


def test_coordinates_go_from_minus_one_to_one():
    x = with_coordinates(torch.zeros(2, 1, 2, 3))
    assert x.shape == (2, 3, 2, 3)
    assert x[1, 1].tolist() == [[-1, 0, 1]] * 2 and x[1, 2].tolist() == [[-1] * 3, [1] * 3]


def test_the_mask_feature_has_the_size_of_p2_where_levels_are_odd():
    module = UnifiedMaskFeature(4, width=8, out_channels=4)
    features = [torch.rand(1, 4, *size) for size in ((25, 19), (13, 10), (7, 5), (4, 3), (2, 2))]
    assert module(features).shape == (1, 4, 25, 19)


def test_parts_can_be_replaced():
    """What another method needs: its own mask feature, rule for collisions, and losses."""
    scale = Scale(channels=32, anchor_sizes=(8, 16, 32, 64, 128))
    seen = []

    def nothing(wanted, cells):
        seen.append(torch.is_grad_enabled())
        return torch.zeros_like(wanted.candidates)

    head = solov2_head(
        num_classes=2,
        scale=scale,
        test_size=64,
        mask_feature=torch.nn.Conv2d(32, 32, 1),
        assign=nothing,
        criterion=lambda logits, labels, masks, wanted: {"loss_all": logits.sum() * 0 + len(masks) + labels.sum()},
    )
    head.mask_feature.forward = lambda features: features[5]
    features = [torch.rand(1, 32, side, side) for side in (16, 8, 4, 2, 1, 16)]
    predictions = head(features)
    assert torch.equal(predictions.mask_feature, features[5])
    target = {
        "boxes": torch.tensor([[8.0, 8, 40, 40]]),
        "labels": torch.tensor([1]),
        "masks": torch.ones((1, 64, 64), dtype=torch.uint8),
        "to_original": (1.0, 1.0),
    }
    batch = type("Batch", (), {"image_sizes": [(64, 64)]})()
    assert head.losses(predictions, batch, [target]) == {"loss_all": 0.0} and seen == [False]
