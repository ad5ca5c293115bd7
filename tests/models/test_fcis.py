"""FCIS: counts, position-sensitive pooling, classes and masks from inside and outside, hard examples, voting."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import ps_roi_align

from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.backbones import EvalBatchNorm, build_backbone
from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import Batch, InputSize
from reprolib.models.systems.fcis import model as fcis
from reprolib.models.systems.fcis.fcis_head import Pooled, Predictions
from reprolib.models.systems.fcis.fcis_proposals import SoftmaxRPNHead
from reprolib.models.systems.fcis.mask_voting import vote
from reprolib.models.systems.fcis.position_sensitive import PositionSensitivePooler
from reprolib.models.two_stage.mask_targets import cut_masks
from reprolib.params import Scale


@pytest.mark.parametrize(("num_classes", "total"), [(80, 57_892_626), (1, 49_957_076)])
def test_parameter_counts(num_classes, total) -> None:
    model = on_meta(
        lambda: fcis.build(num_classes=num_classes, backbone="resnet101", scale=Scale(), input_size=InputSize())
    )
    assert count_parameters(model)["params"] == total
    assert model.head.scores.out_channels == 98 * (1 + num_classes) and model.head.deltas.out_channels == 392
    assert model.head.rpn.anchor_generator.num_anchors_per_location() == [12]
    assert (model.head.rpn._pre_nms_top_n, model.head.rpn._post_nms_top_n) == (
        {"training": 6000, "testing": 6000},
        {"training": 300, "testing": 300},
    )


def test_c5_stays_at_stride_16(thin_scale) -> None:
    torch.manual_seed(0)
    plain = build_backbone("resnet50", scale=thin_scale, dialect="mm").eval()
    dilated = build_backbone("resnet50", scale=thin_scale, dialect="mm", dilated_c5=True).eval()
    dilated.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 128, 96)
    with torch.no_grad():
        ours, theirs = dilated(image), plain(image)
    assert [tuple(one.shape[-2:]) for one in ours] == [(32, 24), (16, 12), (8, 6), (8, 6)]
    for one, other in zip(ours[:3], theirs[:3], strict=True):
        assert torch.equal(one, other)


def test_the_softmax_over_two_is_the_sigmoid_of_the_difference() -> None:
    torch.manual_seed(0)
    head = SoftmaxRPNHead(8, hidden=16, anchors=12)
    feature = torch.randn(2, 8, 5, 6)
    (logits,), (deltas,) = head([feature])
    pairs = head.cls_logits(head.conv(feature).relu()).unflatten(1, (2, 12))
    torch.testing.assert_close(logits.sigmoid(), pairs.softmax(1)[:, 1])
    assert deltas.shape == (2, 48, 5, 6)


# Pooling


def test_a_cell_reads_the_channels_of_its_part() -> None:
    """By a scalar loop over maps that are constant: the channel group (row // 3, column // 3)."""
    maps = torch.arange(2 * 49 * 2.0).view(2, 98, 1, 1).expand(-1, -1, 12, 16)
    boxes = [
        torch.tensor([[16.0, 16.0, 160.0, 96.0], [40.0, 30.0, 90.0, 170.0]]),
        torch.tensor([[20.0, 20.0, 99.0, 99.0]]),
    ]
    pooled = PositionSensitivePooler(stride=16, sampling=2)(maps, boxes)
    assert pooled.shape == (3, 2, 21, 21)
    for number, image in enumerate((0, 0, 1)):
        for channel in range(2):
            for row in range(21):
                for column in range(0, 21, 4):
                    group = 7 * (row // 3) + column // 3
                    assert pooled[number, channel, row, column].item() == pytest.approx(
                        maps[image, 2 * group + channel, 0, 0]
                    )


def test_the_mean_of_a_part_is_torchvision_s_position_sensitive_roi_align() -> None:
    """Three by three cells of two samples per axis are six samples. Its channels are numbered the other way round."""
    torch.manual_seed(0)
    maps = torch.randn(2, 49 * 3, 20, 30)
    boxes = [
        torch.tensor([[30.0, 20.0, 200.0, 250.0]]),
        torch.tensor([[8.0, 40.0, 77.0, 99.0], [100.0, 3.0, 300.0, 200.0]]),
    ]
    ours = F.avg_pool2d(PositionSensitivePooler(stride=16, sampling=2)(maps, boxes), 3)
    theirs = maps.unflatten(1, (49, 3)).transpose(1, 2).flatten(1, 2)
    expected = ps_roi_align(theirs, boxes, 7, spatial_scale=1 / 16, sampling_ratio=6)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_a_box_moved_by_a_part_reads_the_neighbouring_group() -> None:
    maps = torch.arange(49.0).view(1, 49, 1, 1).expand(-1, -1, 20, 20).clone()
    maps += torch.arange(20.0) * 100  # every column of the map is another
    box = torch.tensor([[64.0, 64.0, 176.0, 176.0]])  # parts of 16 px: of one map pixel
    pooler = PositionSensitivePooler(stride=16, sampling=2)
    first, moved = (pooler(maps, [one]) for one in (box, box + torch.tensor([16.0, 0, 16.0, 0])))
    # The same place in the image is a part further to the left: 1 less in its group's number.
    torch.testing.assert_close(moved[..., :18], first[..., 3:] - 1)


# Classes, masks, hard examples


def test_equal_maps_give_even_masks_and_their_mean_as_score() -> None:
    torch.manual_seed(0)
    inside = torch.randn(2, 4, 21, 21)
    pooled = Pooled(inside, inside, torch.zeros(2, 4))
    torch.testing.assert_close(pooled.logits(), inside.mean((2, 3)))
    assert (pooled.masks(torch.tensor([1, 3])).sigmoid() == 0.5).all()


def test_masks_are_the_softmax_of_inside_and_outside() -> None:
    torch.manual_seed(0)
    inside, outside = torch.randn(2, 2, 4, 21, 21)
    pooled = Pooled(inside, outside, torch.zeros(2, 4))
    pair = torch.stack([inside[1, 3], outside[1, 3]]).softmax(0)[0]
    torch.testing.assert_close(pooled.masks(torch.tensor([1, 3])).sigmoid()[1], pair)
    assert pooled.logits()[0, 2].item() == pytest.approx(
        torch.maximum(inside[0, 2], outside[0, 2]).mean().item(), abs=1e-6
    )


@pytest.fixture
def head(thin_scale, input_size):
    torch.manual_seed(0)
    return fcis.build(num_classes=2, backbone="resnet50", scale=thin_scale, input_size=input_size).head


def test_the_hardest_boxes_of_each_image_train(head) -> None:
    head.sampled = 2
    kept = head.hardest(torch.tensor([0.1, 3.0, 2.0, 9.0, 1.0]), [4, 1])
    assert kept.tolist() == [False, True, False, True, True]


def test_losses_equal_a_loop_over_the_boxes(head, monkeypatch) -> None:
    """Five candidates, two of them positive; the four with the largest loss are kept."""
    proposals = torch.tensor([[9.0, 9, 41, 52], [0.0, 0, 20, 20], [60, 60, 100, 90], [70, 20, 90, 60]])
    masks = torch.zeros(1, 128, 128, dtype=torch.uint8)
    masks[0, 10:50, 10:30] = 1
    target = {"boxes": torch.tensor([[10.0, 10, 40, 50]]), "labels": torch.tensor([2]), "masks": masks}
    target["to_original"] = (1.0, 1.0)
    monkeypatch.setattr(type(head.rpn), "forward", lambda *_: ([proposals], {}))
    head.sampled = 4
    torch.manual_seed(0)
    maps = Predictions(torch.zeros(1), torch.randn(1, 49 * 6, 8, 8), torch.randn(1, 49 * 8, 8, 8))
    losses = head.losses(
        maps,
        Batch(tensors=torch.zeros(1, 3, 128, 128), image_sizes=[(128, 128)], original_sizes=[(128, 128)]),
        [target],
    )
    boxes = torch.cat([proposals, target["boxes"]])
    labels = [2, 0, 0, 0, 2]
    pooled = head.pool(maps, [boxes])
    rows = []
    for number, label in enumerate(labels):
        of_class = -pooled.logits()[number].log_softmax(0)[label]
        of_mask = of_box = torch.zeros(())
        if label:
            x0, y0, x1, y1 = boxes[number].tolist()
            width, height = x1 - x0, y1 - y0
            shares = cut_masks(masks, boxes[number][None], torch.tensor([0]), size=21, aligned=True, binary=False)
            inside = (shares[0] >= 0.4).float()
            logits = pooled.inside[number, label] - pooled.outside[number, label]
            of_mask = F.binary_cross_entropy(logits.sigmoid(), inside, reduction="none")
            assert 0.3 < inside.mean() < 0.8
            of_mask = of_mask.mean()
            centres = [(25 - x0 - width / 2) / width / 0.2, (30 - y0 - height / 2) / height / 0.2]
            sides = [math.log(30 / width) / 0.5, math.log(40 / height) / 0.5]
            move = torch.tensor(centres + sides)
            of_box = F.smooth_l1_loss(pooled.deltas[number], move, reduction="sum")
        rows.append((of_class, of_mask, of_box))
    rows = sorted(rows, key=lambda one: -(one[0] + 10 * one[1] + one[2]).item())[:4]
    of_class, of_mask, of_box = (torch.stack(part).sum() / 4 for part in zip(*rows, strict=True))
    assert losses["loss_classifier"].item() == pytest.approx(of_class.item(), rel=1e-4)
    assert losses["loss_box_reg"].item() == pytest.approx(of_box.item(), rel=1e-4)
    assert losses["loss_mask"].item() == pytest.approx(10 * of_mask.item(), rel=1e-4)


# Voting

RULE = DetectionRule(score_threshold=0.001, detections=100, nms_threshold=0.3)


def test_neighbours_vote_by_their_scores() -> None:
    """Three boxes over one place: two with the left half, of weight 0.6 and 0.1, one with the right half, of 0.3."""
    boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0]]).repeat(3, 1)
    scores = torch.tensor([[0.4, 0.6, 0.0], [0.9, 0.1, 0.0], [0.7, 0.3, 0.0]])
    masks = torch.zeros(3, 20, 20)
    masks[:2, :, :10] = 0.41
    masks[2, :, 10:] = 1.0
    found = vote(boxes, scores, masks, size=(30, 40), rule=RULE)
    assert found["labels"].tolist() == [1] and found["scores"].tolist() == pytest.approx([0.6])
    assert found["boxes"].tolist() == [[0, 0, 10, 20]], "0.7 on the left, 0.3 on the right"
    assert found["masks"].sum() == 200
    scores[2, 1] = 0.6  # now 0.46 on the right
    assert vote(boxes, scores, masks, size=(30, 40), rule=RULE)["boxes"].tolist() == [[0, 0, 20, 20]]
    masks[:2] = 0.39
    assert vote(boxes, scores, masks, size=(30, 40), rule=RULE)["boxes"].tolist() == [[10, 0, 20, 20]]


def test_distant_boxes_do_not_vote_and_empty_masks_are_left_out() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 5, 10, 25]])
    scores = torch.tensor([[0.2, 0.8], [0.4, 0.6], [0.5, 0.5]])
    masks = torch.ones(3, 21, 21)
    masks[1] = 0
    found = vote(boxes, scores, masks, size=(40, 40), rule=RULE)
    assert found["boxes"].tolist() == [[0, 0, 10, 10], [0, 5, 10, 25]]
    none = vote(boxes, scores * 0, masks, size=(40, 40), rule=RULE)
    assert none["masks"].shape == (0, 40, 40) and none["boxes"].shape == (0, 4)


def test_norms_of_the_backbone_are_fixed_but_counted(thin_scale, input_size) -> None:
    scale = dataclasses.replace(thin_scale, norm="published")
    model = fcis.build(num_classes=1, backbone="resnet50", scale=scale, input_size=input_size)
    norms = [module for module in model.backbone.modules() if isinstance(module, EvalBatchNorm)]
    assert norms and not any(parameter.requires_grad for norm in norms for parameter in norm.parameters())
    assert any(parameter.requires_grad for parameter in model.backbone.parameters())
