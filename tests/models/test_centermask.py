"""CenterMask: counts, levels by area, spatial attention, which boxes masks learn from, mask scores, switches."""

from __future__ import annotations

import math

import pytest
import torch

from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.centermask import model as centermask
from reprolib.models.systems.centermask.area_ratio_pooler import AreaRatioPooler, SizedMaps
from reprolib.models.systems.centermask.attention_mask_head import SpatialAttention
from reprolib.models.two_stage.mask_iou_head import mask_iou_targets
from reprolib.models.two_stage.roi_pooler import RoIPooler
from reprolib.params import Scale


def published(backbone="resnet50", num_classes=80, **switches):
    arguments = {"num_classes": num_classes, "backbone": backbone, "scale": Scale(), "input_size": InputSize()}
    return on_meta(lambda: centermask.build(**arguments | switches))


@pytest.mark.parametrize(
    ("backbone", "mask_iou", "count"),
    [
        ("resnet50", True, 51_280_972),
        ("resnet101", True, 70_273_100),
        ("resnet50", False, 34_940_668),
        ("resnet101", False, 53_932_796),
    ],
)
def test_parameters_are_as_counted(backbone, mask_iou, count):
    assert count_parameters(published(backbone, centermask_maskiou=mask_iou))["params"] == count


def test_parameters_by_part():
    model = published()
    branch = model.head.mask_branch
    assert count_parameters(model.neck)["params"] == 3_868_672
    assert count_parameters(branch.head)["params"] == 2_643_298
    assert count_parameters(branch.head.attention)["params"] == 18
    assert count_parameters(branch.iou_head)["params"] == 16_340_304
    assert count_parameters(model.head)["params"] - count_parameters(branch)["params"] == 4_920_666
    fewer = published(num_classes=79)
    assert count_parameters(model)["params"] - count_parameters(fewer)["params"] == 3_587


def test_the_level_is_that_of_the_share_of_the_image():
    pooler = AreaRatioPooler(resolution=2, sampling=2, aligned=False)
    boxes = torch.tensor(
        [[0.0, 0, 200, 100], [0, 0, 100, 100], [0, 0, 99, 100], [0, 0, 101, 100], [0, 0, 100, 50], [3, 3, 4, 4]]
    )
    assert pooler.levels_in(boxes, (100, 200)).tolist() == [2, 1, 1, 2, 0, 0]
    for box, level in zip(boxes, pooler.levels_in(boxes, (100, 200)), strict=True):
        share = 20_000 / (box[2:] - box[:2]).prod().item()
        assert level.item() + 3 == min(5, max(3, math.ceil(5 - math.log2(share))))


def test_boxes_are_read_from_the_level_of_their_own_image():
    pooler = AreaRatioPooler(resolution=2, sampling=2, aligned=False)
    maps = [torch.full((2, 1, side, side), float(level)) for level, side in enumerate((16, 8, 4, 2, 1), start=3)]
    boxes = [torch.tensor([[0.0, 0, 64, 64], [0, 0, 30, 30]]), torch.tensor([[0.0, 0, 64, 64]])]
    read = pooler(SizedMaps(maps, [(64, 64), (128, 128)]), boxes)
    assert read.shape == (3, 1, 2, 2) and read.mean((1, 2, 3)).tolist() == [5, 3, 3]
    by_size = AreaRatioPooler(resolution=2, sampling=2, aligned=False, by_area=False)
    plain = RoIPooler(resolution=2, sampling=2, aligned=False, strides=(8, 16, 32))
    large = [torch.tensor([[0.0, 0, 128, 128], [0, 0, 30, 30]]), torch.zeros(0, 4)]
    assert torch.equal(by_size(SizedMaps(maps, [(128, 128)] * 2), large), plain(maps, large))


def test_attention_is_a_share_of_the_input():
    torch.manual_seed(0)
    attention, x = SpatialAttention(), torch.randn(3, 8, 5, 5)
    shares = attention(x) / x
    assert (shares > 0).all() and (shares < 1).all()
    torch.testing.assert_close(shares, shares[:, :1].expand_as(shares), atol=1e-5, rtol=0)
    seen = torch.stack([x.mean(1), x.max(1).values], dim=1)
    expected = torch.nn.functional.conv2d(seen, attention.conv.weight, padding=1).sigmoid()
    torch.testing.assert_close(attention(x), x * expected)


def test_identical_masks_have_an_iou_of_one():
    mask = torch.zeros(1, 28, 28)
    mask[0, 4:20, 5:9] = 1
    assert mask_iou_targets(mask > 0, mask, torch.ones(1)).item() == 1
    assert mask_iou_targets(mask > 0, mask, torch.tensor([0.5])).item() == 0.5  # half of it lies outside the box


@pytest.fixture
def build(thin_scale, input_size):
    def built(**switches):
        torch.manual_seed(0)
        arguments = {"num_classes": 2, "backbone": "resnet50", "scale": thin_scale, "input_size": input_size}
        return centermask.build(**arguments | switches)

    return built


def test_masks_learn_from_instances_and_boxes_that_overlap_them_by_half(build):
    target = {"boxes": torch.tensor([[0.0, 0, 10, 10], [30, 30, 50, 50]]), "labels": torch.tensor([2, 1])}
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    found = torch.tensor([[0.0, 0, 10, 5.1], [0, 0, 10, 4.9], [30, 30, 50, 52], [60, 60, 70, 70]])
    samples = build().head.samples([found, found], [target, none])
    assert samples.labels[0].tolist() == [2, 1, 2, 1] and samples.matched[0].tolist() == [0, 1, 0, 1]
    assert torch.equal(samples.boxes[0], torch.cat([found[[0, 2]], target["boxes"]]))
    assert not len(samples.boxes[1])


def test_masks_have_scores_of_their_own(build, scene):
    model = build().eval()
    torch.nn.init.constant_(model.head.classes.bias, 1)
    image, _ = scene()
    with torch.inference_mode():
        torch.nn.init.constant_(model.head.mask_branch.iou_head.predictor.bias, 0.5)
        (found,) = model([image])
    assert len(found["boxes"]) and (found["mask_scores"] < found["scores"]).all()
    without = build(centermask_maskiou=False)
    losses = without.train()([image], [scene()[1]])
    assert losses.keys() == {"loss_class", "loss_box", "loss_centreness", "loss_mask"}
    with torch.inference_mode():
        assert "mask_scores" not in without.eval()([image])[0]


def test_box_loss_is_weighted_giou_by_hand(build):
    model = build().train()
    head = model.head
    images = [torch.rand(3, 64, 64)]
    masks = torch.zeros(1, 64, 64, dtype=torch.uint8)
    masks[0, 8:40, 8:40] = 1
    targets = [{"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([1]), "masks": masks}]
    batch, inner = model.transform(images, targets)
    predictions = head(model.pyramid(batch))
    sides = torch.full_like(predictions.sides, 16.0)
    found = head.losses(predictions._replace(sides=sides), batch, inner)
    total, weights = 0.0, 0.0
    # Stride 8 alone: centres 20 and 28 lie within 12 px of 24, and 12 and 36 do not.
    for x in (20, 28):
        for y in (20, 28):
            weight = 12 / 20
            across, down = 32 - abs(x - 24), 32 - abs(y - 24)
            together, hull = across * down, (32 + abs(x - 24)) * (32 + abs(y - 24))
            union = 2 * 32**2 - together
            total += weight * (1 - together / union + (hull - union) / hull)
            weights += weight
    assert found["loss_box"].item() == pytest.approx(total / weights, rel=1e-5)


def test_switches(build):
    assert build(roi_aligned=True).head.mask_branch.pooler.aligned
    assert not build(roi_map="fpn224").head.mask_branch.pooler.by_area
    with pytest.raises(ValueError, match="roi_map must be one of area_ratio, fpn224, not 'p3'"):
        build(roi_map="p3")
