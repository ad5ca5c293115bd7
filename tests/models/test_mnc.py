"""MNC, modernised: counts, the two paths, labels by mask, the second cascade, and what inference gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.cards import inferred
from reprolib.models.systems.mnc import model as mnc
from reprolib.models.systems.mnc.mnc_heads import RunOutputs, network_cascade_heads
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Scale


@pytest.mark.parametrize(
    ("backbone", "num_classes", "total"),
    [
        ("resnet50", 80, 69_192_174),
        ("resnet50", 1, 68_220_948),
        ("resnet101", 80, 88_184_302),
        ("resnet101", 1, 87_213_076),
    ],
)
def test_parameter_counts(backbone, num_classes, total) -> None:
    model = on_meta(
        lambda: mnc.build(num_classes=num_classes, backbone=backbone, scale=Scale(), input_size=InputSize())
    )
    assert count_parameters(model)["params"] == total


def test_it_is_labelled_as_modernised() -> None:
    assert "modernised" in inferred(mnc.__name__).lower()


@pytest.fixture
def heads(thin_scale):
    torch.manual_seed(0)
    return network_cascade_heads(num_classes=3, scale=thin_scale, dialect="mm")


def found(masks: torch.Tensor, *, mask_logits: torch.Tensor) -> RunOutputs:
    rows = len(masks)
    return RunOutputs(masks, torch.zeros(rows, 4), mask_logits, torch.zeros(rows, 4, 4))


def test_the_masked_path_sees_features_times_the_mask(heads) -> None:
    torch.manual_seed(1)
    roi = torch.randn(2, 32, 14, 14)
    whole = heads.run(roi)
    shown = F.interpolate(whole.masks.sigmoid()[:, None], size=(14, 14), mode="bilinear", align_corners=False)
    vectors = torch.cat(
        [heads.box_stage.head(F.max_pool2d(roi, 2)), heads.mask_path(F.max_pool2d(roi * shown, 2))], dim=1
    )
    torch.testing.assert_close(whole.mask_logits, heads.mask_classifier(vectors))
    torch.testing.assert_close(whole.box_logits, heads.box_stage.predict(vectors)[0])
    assert whole.masks.shape == (2, 21, 21) and whole.deltas.shape == (2, 4, 4)


def test_classes_train_the_masks_that_may_learn_by_them_alone(heads) -> None:
    roi = torch.randn(3, 32, 14, 14)
    given = []
    heads.mask_layers.register_forward_hook(lambda _, __, output: given.append(output) or output.retain_grad())
    masks = heads.mask_layers(roi)
    heads.classified(roi, masks, learns=torch.tensor([False, True, False])).mask_logits.square().sum().backward()
    assert given[0].grad[1].any() and not given[0].grad[[0, 2]].any()


def test_losses_by_hand(heads) -> None:
    """Two boxes on one instance that fills the left half of them, and a background box.

    The first box's mask is right, the second's wrong: by mask only the first is of its class.
    """
    box = torch.tensor([[0.0, 0.0, 42.0, 42.0]])
    masks = torch.zeros(1, 42, 42, dtype=torch.uint8)
    masks[0, :, :22] = 1  # of 21 cells across the first 11
    labels = torch.tensor([2, 2, 0])
    samples = Samples([box.repeat(3, 1)], [labels], [torch.zeros(3).long()], [torch.zeros(3, dtype=torch.bool)])
    target = {"boxes": box, "labels": torch.tensor([2]), "masks": masks, "to_original": (1.0, 1.0)}
    logits = torch.full((3, 21, 21), -10.0)
    logits[0, :, :11], logits[1, :, 11:] = 10.0, 10.0
    mask_logits = torch.tensor([[0.0, 0, 3, 0], [3, 0, 0, 0], [3, 0, 0, 0]])
    samples = samples.with_positive()
    truth = heads.truth(logits, samples, [target])
    assert truth.labels.tolist() == [2, 0, 0]
    losses = heads.losses(found(logits, mask_logits=mask_logits), samples, [target], truth)
    right, wrong = F.softplus(torch.tensor(-10.0)).item(), F.softplus(torch.tensor(10.0)).item()
    assert losses["loss_mask"].item() == pytest.approx(2 * (right + wrong) / 2, rel=1e-5)
    sure = -torch.tensor([3.0, 0, 0, 0]).log_softmax(0)[0].item()
    assert losses["loss_mask_classifier"].item() == pytest.approx(sure, rel=1e-5), "all three as they are labelled"
    assert losses["loss_classifier"].item() == pytest.approx(1.386294, rel=1e-5)
    assert losses["loss_box_reg"] == 0


def test_a_mask_in_a_box_that_holds_little_of_its_instance_is_background(heads) -> None:
    """The mask is right inside the box, but the box holds two fifths of the instance."""
    masks = torch.ones(1, 20, 50, dtype=torch.uint8)
    box = torch.tensor([[0.0, 0.0, 20.0, 20.0]])
    samples = Samples([box], [torch.tensor([1])], [torch.zeros(1).long()], [torch.zeros(1, dtype=torch.bool)])
    target = {"boxes": torch.tensor([[0.0, 0, 50, 20]]), "labels": torch.tensor([1]), "masks": masks}
    target["to_original"] = (1.0, 1.0)
    mask_logits = torch.tensor([[5.0, 0, 0, 0]])
    logits = torch.full((1, 21, 21), 9.0)
    truth = heads.truth(logits, samples, [target])
    losses = heads.losses(found(logits, mask_logits=mask_logits), samples, [target], truth)
    background = -torch.tensor([5.0, 0, 0, 0]).log_softmax(0)[0].item()
    assert losses["loss_mask_classifier"].item() == pytest.approx(background, rel=1e-4)


def test_a_cell_is_of_the_mask_from_two_fifths(heads) -> None:
    """Of cells of 3 px, one has 4 pixels of the instance, one 3."""
    samples = Samples(
        [torch.tensor([[0.0, 0, 63, 63]])], [torch.tensor([1])], [torch.zeros(1).long()], [torch.zeros(1).bool()]
    )
    masks = torch.zeros(1, 63, 63, dtype=torch.uint8)
    masks[0, :2, :2] = 1
    masks[0, 30, 30:33] = 1
    target = {"masks": masks, "to_original": (1.0, 1.0)}
    wanted = heads.truth(torch.zeros(1, 21, 21), samples, [target]).masks
    assert wanted.nonzero().tolist() == [[0, 0, 0]]


def test_boxes_move_as_their_class(heads) -> None:
    boxes = [torch.tensor([[10.0, 10.0, 30.0, 30.0]]), torch.tensor([[10.0, 10.0, 30.0, 30.0]])]
    deltas = torch.zeros(2, 4, 4)
    deltas[:, 2, 0], deltas[:, 3, 0] = 1.0, -2.0  # tenths of the width
    moved = heads.regressed(boxes, deltas, torch.tensor([2, 3]), [(40, 40)] * 2)
    assert [one.tolist() for one in moved] == [[[12.0, 10.0, 32.0, 30.0]], [[6.0, 10.0, 26.0, 30.0]]]
    moved = heads.regressed(boxes, deltas, torch.tensor([0, 3]), [(40, 40)] * 2)
    assert [one.tolist() for one in moved] == [boxes[0].tolist(), [[6.0, 10.0, 26.0, 30.0]]]


def test_background_moves_in_training_as_its_best_class_and_stays_in_inference(heads, monkeypatch) -> None:
    seen = []
    regressed = heads.regressed
    monkeypatch.setattr(heads, "regressed", lambda *given: seen.append(given[2]) or regressed(*given))
    nn.init.zeros_(heads.mask_classifier.weight)
    with torch.no_grad():
        heads.mask_classifier.bias.copy_(torch.tensor([3.0, 0, 1, 0]))
    features = [torch.randn(1, 32, 32 >> level, 32 >> level) for level in range(5)]
    proposals, sizes = [torch.tensor([[22.0, 20.0, 60.0, 60.0], [80.0, 80.0, 100.0, 100.0]])], [(128, 128)]
    target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "to_original": (1.0, 1.0)}
    heads(features, proposals, sizes, [target | {"masks": torch.zeros(0, 128, 128, dtype=torch.uint8)}])
    heads.box_inference(features, None, proposals, sizes)
    assert [one.tolist() for one in seen] == [[2, 2], [0, 0]]


def test_the_second_cascade_trains_on_regressed_boxes_and_the_truth(heads, monkeypatch) -> None:
    seen = []
    losses = heads.losses
    monkeypatch.setattr(
        heads, "losses", lambda found, samples, *truth: seen.append(samples) or losses(found, samples, *truth)
    )
    features = [torch.randn(1, 32, 32 >> level, 32 >> level) for level in range(5)]
    target = {
        "boxes": torch.tensor([[20.0, 20.0, 60.0, 60.0]]),
        "labels": torch.tensor([3]),
        "masks": torch.ones(1, 128, 128, dtype=torch.uint8),
        "to_original": (1.0, 1.0),
    }
    proposals = [torch.tensor([[22.0, 20.0, 60.0, 60.0], [80.0, 80.0, 100.0, 100.0]])]
    total = heads(features, proposals, [(128, 128)], [target])
    first, second = seen
    assert len(first.boxes[0]) == 3 and len(second.boxes[0]) == 4
    assert torch.equal(second.boxes[0][-1], target["boxes"][0]) and second.labels[0][-1] == 3
    assert not torch.equal(second.boxes[0][:3], first.boxes[0])
    names = ("classifier", "box_reg", "mask", "mask_classifier")
    assert set(total) == {f"loss_{name}_{number}" for name in names for number in (1, 2)}


def test_detections_come_from_both_cascades_scored_by_mask(heads, monkeypatch) -> None:
    runs = []

    def run(roi_features, **_):
        logits = torch.tensor([[0.0, 2.0, 0, 0]]) if not runs else torch.tensor([[0.0, 0, 0, 3.0]])
        deltas = torch.zeros(1, 4, 4)
        deltas[:, 1, 0] = 10.0  # a width to the right
        runs.append(RunOutputs(torch.zeros(1, 21, 21), torch.zeros(1, 4), logits, deltas))
        return runs[-1]

    monkeypatch.setattr(heads, "run", run)
    features = [torch.zeros(1, 32, 32 >> level, 32 >> level) for level in range(5)]
    (one,) = heads.box_inference(features, None, [torch.tensor([[10.0, 10.0, 30.0, 30.0]])], [(128, 128)])
    assert len(runs) == 2
    best = {
        (label, box[0]): score
        for label, box, score in zip(*(one[k].tolist() for k in ("labels", "boxes", "scores")), strict=True)
    }
    assert best[1, 10.0] == pytest.approx(torch.tensor([0.0, 2, 0, 0]).softmax(0)[1].item())
    assert best[3, 30.0] == pytest.approx(torch.tensor([0.0, 0, 0, 3]).softmax(0)[3].item())


def test_a_pixel_is_of_the_mask_from_two_fifths(heads) -> None:
    nn.init.zeros_(heads.mask_layers.predictor.weight)
    for bias, wanted in ((-0.35, True), (-0.45, False)):  # probabilities 0.413 and 0.389
        nn.init.constant_(heads.mask_layers.predictor.bias, bias)
        features = [torch.zeros(1, 32, 16 >> level, 16 >> level) for level in range(4)]
        (one,) = heads.mask_inference(features, None, [{"boxes": torch.tensor([[4.0, 4.0, 30.0, 30.0]])}])
        assert one["masks"].shape == (1, 21, 21) and ((one["masks"] > 0.5) == wanted).all()
