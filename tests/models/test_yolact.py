"""YOLACT: published counts in both forms, anchors and their matching, losses by hand, Fast NMS."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import box_iou

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.backbones import EvalBatchNorm
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.yolact import model as yolact
from reprolib.models.systems.yolact.fast_nms import fast_nms, pairwise_iou
from reprolib.models.systems.yolact.yolact_anchors import make_anchors, match, own_anchors
from reprolib.models.systems.yolact.yolact_losses import class_loss, inside_boxes, mask_loss, semantic_loss
from reprolib.models.systems.yolact.yolact_pyramid import YOLACTPyramid
from reprolib.params import Scale


def published(*, backbone: str = "resnet50", **switches):
    arguments = {"num_classes": 80, "backbone": backbone, "scale": Scale(), "input_size": InputSize()}
    return on_meta(lambda: yolact.build(**arguments | switches))


@pytest.mark.parametrize(
    ("backbone", "form", "count", "giga"),
    [
        ("resnet50", "paper", 31_164_943, 59.1),
        ("resnet101", "paper", 50_157_071, 82.3),
        ("resnet50", "mmdetection", 35_293_711, 59.5),
        ("resnet101", "mmdetection", 54_285_839, 82.7),
    ],
)
def test_parameters_and_multiply_adds_are_as_counted(backbone, form, count, giga):
    model = published(backbone=backbone, yolact_form=form)
    assert count_parameters(model)["params"] == count
    assert flops(model, 550, 550, 0, 0) / 1e9 == pytest.approx(giga, abs=0.05)


def test_parameters_by_part():
    head = published().head
    parts = [count_parameters(part)["params"] for part in (head.prototypes, head.branches, head.semantic)]
    assert parts == [2_368_544, 1_399_135, 20_560]
    assert count_parameters(published(num_classes=81))["params"] - count_parameters(published())["params"] == 7_172


def test_five_levels_and_19248_anchors_at_550():
    model = published()
    seen = []
    model.head.branches.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    model.dry_run(550, 550, detections=1)
    assert seen == [(side, side) for side in (69, 35, 18, 9, 5)]
    anchors = make_anchors(seen, model.head.scales, size=(550, 550), squares=False, device=torch.device("cpu"))
    assert anchors.shape == (19_248, 4)
    assert model.head.scales == (24, 48, 96, 192, 384)


@pytest.mark.parametrize(("test_size", "side"), [(800, 550), (550, 550), (512, 512)])
def test_images_become_squares_of_550_px_at_most(test_size, side):
    transform = published(input_size=InputSize(test_size=test_size, min_sizes=(640, 700, 800))).transform
    batch, _ = transform.eval()([torch.rand(3, 30, 60, device="meta")])
    assert batch.tensors.shape == (1, 3, side, side) and batch.to_original(0) == (60 / side, 30 / side)
    assert transform.min_sizes == (550,)


@pytest.mark.parametrize(
    ("form", "images", "trained"), [("mmdetection", 4, True), ("paper", 8, True), ("paper", 4, False)]
)
def test_when_batch_norm_trains(form, images, trained):
    model = published(yolact_form=form, images_per_batch=images)
    norms = [one for one in model.modules() if isinstance(one, nn.BatchNorm2d)]
    assert norms and all(isinstance(one, EvalBatchNorm) != trained for one in norms)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("switch", "message"), [({"yolact_form": "mm"}, "yolact_form must be one of"), ({"nms": "soft"}, "nms must be")]
)
def test_unknown_switches_are_refused(switch, message):
    with pytest.raises(ValueError, match=message):
        published(**switch)


def test_anchors_by_hand():
    shape = {"size": (20, 40), "device": torch.device("cpu")}
    boxes = make_anchors([(1, 2)], [8.0], squares=False, **shape)
    wide = 8 * math.sqrt(2)
    assert boxes[0].tolist() == [6, 6, 14, 14] and boxes[3].tolist() == [26, 6, 34, 14]
    sides = boxes[:, 2:] - boxes[:, :2]
    torch.testing.assert_close(sides[:3], torch.tensor([[8, 8], [wide / 2, wide], [wide, wide / 2]]))
    squares = make_anchors([(1, 2)], [24.0], squares=True, **shape)
    sides = (squares[:, 2:] - squares[:, :2])[:3]
    torch.testing.assert_close(sides, torch.tensor([[24.0], [24 / 2**0.5], [24 * 2**0.5]]).expand(3, 2))


def test_matching_by_iou():
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5.5], [0, 0, 10, 4.5], [0, 0, 10, 3], [40, 40, 50, 50]])
    box = torch.tensor([[0.0, 0, 10, 10]])  # IoU 1, 0.55, 0.45, 0.3, 0
    instance, label = match(anchors, box, torch.tensor([7]))
    assert label.tolist() == [7, 7, -1, 0, 0] and not instance.any()
    instance, label = match(anchors, box[:0], torch.tensor([], dtype=torch.long))
    assert not label.any() and not instance.any()


def test_every_instance_has_an_anchor_of_its_own():
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 8, 10, 18], [90, 90, 99, 99]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 1, 10, 11], [60, 60, 61, 61]])
    # Both first boxes overlap anchor 0 most; the first has it, for it fits better. The third overlaps nothing.
    assert own_anchors(box_iou(boxes, anchors)).tolist() == [0, 1, 2]
    instance, label = match(anchors, boxes, torch.tensor([1, 2, 3]))
    assert instance.tolist() == [0, 1, 2] and label.tolist() == [1, 2, 3]


def test_class_loss_takes_the_hardest_backgrounds():
    doubt = torch.tensor([0.0, 5, 1, 4, 3, 2, 9])  # logit of the class against a background of 0
    logits = torch.stack([torch.zeros(7), doubt], dim=1)
    labels = torch.tensor([1, 0, 0, 0, 0, 0, -1])
    hard = F.cross_entropy(logits[[0, 1, 3, 4]], labels[[0, 1, 3, 4]], reduction="sum")
    torch.testing.assert_close(class_loss(logits, labels, without_positives=True), hard)
    none = labels.clamp(max=0)
    entropy = F.cross_entropy(logits[:6], none[:6].clamp(min=0), reduction="sum")
    torch.testing.assert_close(class_loss(logits, none, without_positives=True), entropy)
    assert class_loss(logits, none, without_positives=False) == 0


def mask_case(sharpness: float, *, count: int = 1, rescale: bool = True) -> float:
    """A 16 x 16 input with one 8 x 8 instance, prototypes of 8 x 8 pixels whose first is its mask."""
    masks = torch.zeros((1, 16, 16), dtype=torch.uint8)
    masks[0, 4:12, 4:12] = 1
    target = {"boxes": torch.tensor([[4.0, 4, 12, 12]]), "masks": masks}
    prototypes = torch.full((1, 8, 8), -1.0)
    prototypes[0, 2:6, 2:6] = 1.0
    coefficients, instance = torch.full((count, 1), sharpness), torch.zeros(count, dtype=torch.long)
    return mask_loss(prototypes, coefficients, instance, target, size=(16, 16), rescale=rescale).item()


def test_a_perfect_mask_costs_nothing_and_pixels_are_counted_per_box_pixel():
    assert mask_case(100.0) == pytest.approx(0)
    assert mask_case(0.0) == pytest.approx(math.log(2) * 36 / 16)  # the box grown by a pixel, per pixel of the box


def test_masks_beyond_100_are_stood_for_or_left_out():
    assert mask_case(0.0, count=250) == pytest.approx(250 * math.log(2) * 36 / 16, rel=1e-5)
    assert mask_case(0.0, count=250, rescale=False) == pytest.approx(100 * math.log(2) * 36 / 16, rel=1e-5)


def test_semantic_targets_are_unions_of_a_class():
    masks = torch.zeros((3, 8, 8), dtype=torch.uint8)
    masks[0, :4, :4] = masks[1, 4:, 4:] = masks[2, :, 4:] = 1
    target = {"masks": masks, "labels": torch.tensor([2, 2, 1])}
    perfect = torch.full((2, 4, 4), -50.0)
    perfect[1, :2, :2] = perfect[1, 2:, 2:] = perfect[0, :, 2:] = 50.0
    assert semantic_loss(perfect, target) == pytest.approx(0)
    assert semantic_loss(torch.zeros(2, 4, 4), target) == pytest.approx(2 * math.log(2))


def test_crops_leave_a_pixel_around_the_box():
    inside = inside_boxes(torch.tensor([[2.0, 3, 4, 4], [0, 0, 8, 8]]), torch.zeros(2, 6, 8))
    assert inside[1].all()
    rows, columns = torch.where(inside[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 4, 1, 4)


def test_fast_nms_lets_removed_boxes_remove():
    """Three in a chain: standard NMS keeps the third, whose better neighbour is gone."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 2, 10, 12], [0, 4, 10, 14]])  # IoU 2/3, 2/3, 3/7
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    kept = fast_nms(boxes, scores)
    of = {label: kept.rows[kept.labels == label].tolist() for label in (1, 2)}
    assert of == {1: [0], 2: [2]}
    assert torch.equal(kept.scores, torch.tensor([0.9, 0.3]))
    assert fast_nms(boxes, scores, threshold=0.7).scores.tolist() == sorted(scores.flatten().tolist(), reverse=True)
    assert len(fast_nms(boxes, scores, threshold=0.7, most=2).rows) == 4
    assert len(fast_nms(boxes[:0], scores[:0]).rows) == 0


def test_pairwise_iou_is_torchvisions():
    corners = torch.rand((2, 6, 2), generator=torch.Generator().manual_seed(0))
    boxes = torch.cat([corners, corners + 0.5], dim=2)
    torch.testing.assert_close(pairwise_iou(boxes), torch.stack([box_iou(one, one) for one in boxes]))


@pytest.mark.parametrize("as_published", [True, False])
def test_where_p6_comes_from(as_published):
    torch.manual_seed(0)
    neck = YOLACTPyramid([4, 8, 16, 32], channels=6, as_published=as_published)
    maps = [torch.randn(1, width, side, side) for width, side in ((4, 24), (8, 11), (16, 6), (32, 3))]
    levels = neck(maps)
    assert [tuple(level.shape) for level in levels] == [(1, 6, side, side) for side in (11, 6, 3, 2, 1)]
    assert (min(level.min() for level in levels[:3]) >= 0) == as_published
    torch.testing.assert_close(levels[3], neck.p6(levels[2] if as_published else maps[3]))
    torch.testing.assert_close(levels[4], neck.p7(levels[3]))


def test_a_second_score_threshold_belongs_to_mmdetections_form():
    """Two classes of one anchor, the second below the threshold."""
    scale = dataclasses.replace(Scale(), norm="group", pretrained=False, backbones={"resnet50": "test_resnet"})
    boxes, scores = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.9, 0.01]])
    for form, count in (("paper", 2), ("mmdetection", 1)):
        arguments = {"num_classes": 2, "backbone": "resnet50", "scale": scale, "input_size": InputSize()}
        head = on_meta(lambda form=form, arguments=arguments: yolact.build(**arguments, yolact_form=form)).head
        assert len(head._kept(boxes, scores).rows) == count
