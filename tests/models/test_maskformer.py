"""MaskFormer: counts, six outputs, pixel losses by hand and on masks that the batch resizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmarks.given_instances import drawn_boxes
from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.input_transform import Batch, InputSize
from reprolib.models.systems.maskformer import model as maskformer
from reprolib.models.systems.maskformer.maskformer_decoder import QueryDecoder
from reprolib.models.systems.maskformer.maskformer_pixel_decoder import EncodedPyramid
from reprolib.models.systems.maskformer.pixel_criterion import PixelCriterion
from reprolib.params import Scale


def published(backbone="resnet50", num_classes=80):
    return on_meta(
        lambda: maskformer.build(num_classes=num_classes, backbone=backbone, scale=Scale(), input_size=InputSize())
    )


@pytest.mark.parametrize(
    ("backbone", "num_classes", "count"),
    [("resnet50", 80, 45_051_537), ("resnet101", 80, 64_043_665), ("resnet50", 79, 45_051_537 - 257)],
)
def test_parameters_are_as_counted(backbone, num_classes, count):
    assert count_parameters(published(backbone, num_classes))["params"] == count


def test_parameters_by_part():
    model = published()
    assert count_parameters(model.neck)["params"] == 11_826_688
    assert count_parameters(model.head)["params"] == 9_716_817


def test_the_pyramid_ends_at_stride_4_and_encodes_c5():
    torch.manual_seed(0)
    neck = EncodedPyramid([4, 8, 12, 16], channels=16, dropout=0.0)
    maps = [torch.randn(2, width, side, side) for width, side in ((4, 13), (8, 7), (12, 4), (16, 2))]
    mask_feature, encoded = neck(maps)
    assert mask_feature.shape == (2, 16, 13, 13) and encoded.shape == (2, 16, 2, 2)


def test_there_are_six_outputs_in_training_and_the_last_in_inference():
    torch.manual_seed(0)
    decoder = QueryDecoder(16, num_classes=3, queries=5, dropout=0.0)
    maps = [torch.randn(2, 16, 8, 8), torch.randn(2, 16, 2, 2)]
    trained = decoder(maps)
    assert len(trained.classes) == len(trained.masks) == 6
    (classes,), (masks,) = decoder.eval()(maps)
    torch.testing.assert_close(classes, trained.classes[-1])
    torch.testing.assert_close(masks, trained.masks[-1])
    assert (masks[0, 0] - masks[0, 1]).abs().max() > 1e-3  # positions alone tell queries apart


@pytest.fixture
def truth():
    masks = torch.zeros((2, 16, 32), dtype=torch.uint8)
    masks[0, 4:12, 8:16] = 1
    masks[1, :, 20:] = 1
    # 32 x 16 px enlarged to 64 x 32 in a batch of 64 x 64.
    batch = Batch(tensors=torch.zeros(1, 3, 64, 64), image_sizes=[(32, 64)], original_sizes=[(16, 32)])
    return PixelCriterion().truth({"masks": masks}, batch, 0)


def test_masks_are_resized_and_padded_as_the_batch(truth):
    assert truth.fine.shape == (2, 64, 64) and truth.coarse.shape == (2, 16, 16)
    assert truth.fine[0].sum() == 16 * 16 and truth.fine[0, 8:24, 16:32].all()
    assert truth.coarse[0].sum() == 4 * 4 and truth.coarse[0, 2:6, 4:8].all()
    assert not truth.fine[:, 32:].any() and not truth.coarse[:, 8:].any()


def test_losses_are_means_over_the_pixels_of_the_input(truth):
    torch.manual_seed(0)
    logits = torch.randn(1, 16, 16)
    found = PixelCriterion().losses(logits, truth, torch.tensor([1]))
    fine = F.interpolate(logits[None], scale_factor=4, mode="bilinear", align_corners=False)[0, 0]
    p, q = fine.sigmoid(), truth.fine[1].float()
    right = torch.where(q > 0, p, 1 - p)
    focal = (torch.where(q > 0, 0.25, 0.75) * (1 - right) ** 2 * -right.log()).mean()
    dice = 1 - (2 * (p * q).sum() + 1) / (p.sum() + q.sum() + 1)
    torch.testing.assert_close(found["loss_mask"], 20 * focal)
    torch.testing.assert_close(found["loss_dice"], dice)


def test_the_right_mask_costs_least(truth):
    masks = drawn_boxes(torch.tensor([[10.0, 0, 16, 8], [4, 2, 8, 6], [0, 0, 16, 16]]), (16, 16))
    cost = PixelCriterion().cost(masks, truth)
    assert cost.shape == (3, 2) and cost.argmin(0).tolist() == [1, 0]
    assert cost[1, 0] < 0.02 and cost[0, 1] < 0.02


def test_without_instances_there_is_nothing_to_pay(truth):
    none = truth._replace(fine=truth.fine[:0], coarse=truth.coarse[:0])
    assert PixelCriterion().cost(torch.zeros(3, 16, 16), none).shape == (3, 0)
    rows = torch.zeros(0, dtype=torch.long)
    found = PixelCriterion().losses(torch.zeros(0, 16, 16, requires_grad=True), none, rows)
    assert {name: loss.item() for name, loss in found.items()} == {"loss_mask": 0, "loss_dice": 0}


def test_dropout_is_on_in_training_alone():
    torch.manual_seed(0)
    decoder = QueryDecoder(16, num_classes=3, queries=5, dropout=0.1)
    maps = [torch.randn(2, 16, 8, 8), torch.randn(2, 16, 2, 2)]
    assert not torch.equal(decoder(maps).masks[-1], decoder(maps).masks[-1])
    decoder.eval()
    assert torch.equal(decoder(maps).masks[-1], decoder(maps).masks[-1])
