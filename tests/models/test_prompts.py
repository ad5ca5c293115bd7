"""Boxes given by hand: what is refused, what comes back, what an encoded image saves. All systems: test_systems.py."""

from __future__ import annotations

import pytest
import torch

from reprolib.models.systems.cascade_mask_rcnn import model as cascade_mask_rcnn
from reprolib.models.two_stage.prompts import MOST_BOXES, check_boxes

BOXES = torch.tensor([[4.0, 5.0, 40.0, 30.0], [20.5, 10.0, 60.0, 47.25]])
CPU = torch.device("cpu")


@pytest.fixture
def model(small_model):
    return small_model(num_classes=3).eval()


@pytest.fixture
def image(scene):
    return scene(48, 64)[0]


@pytest.mark.parametrize(
    ("box", "complaint"),
    [
        ([float("nan"), 0, 9, 9], r"box 1 \(nan, 0, 9, 9\) has a coordinate that is no finite number"),
        ([0, 0, float("inf"), 9], r"box 1 \(0, 0, inf, 9\) has a coordinate that is no finite number"),
        ([9, 0, 3, 9], r"box 1 \(9, 0, 3, 9\) is inverted: boxes are x0 y0 x1 y1"),
        ([0, 9, 9, 3], r"box 1 \(0, 9, 9, 3\) is inverted"),
        ([3, 0, 3, 9], r"box 1 \(3, 0, 3, 9\) has no area"),
        ([0, 4, 3, 4], r"box 1 \(0, 4, 3, 4\) has no area"),
        ([-1, 0, 3, 9], r"box 1 \(-1, 0, 3, 9\) reaches outside the image, which is 64 px wide and 48 px high"),
        ([0, 0, 3, 48.5], r"box 1 \(0, 0, 3, 48.5\) reaches outside the image"),
        ([100, 100, 120, 120], "reaches outside the image"),
    ],
)
def test_a_bad_box_is_named_with_what_is_wrong(model, image, box, complaint) -> None:
    boxes = torch.stack([BOXES[0], torch.tensor(box), BOXES[1]])
    with pytest.raises(ValueError, match=complaint):
        model.segment(image, boxes)
    with pytest.raises(ValueError, match=complaint):
        model.segment(model.encode(image), boxes.tolist())


@pytest.mark.parametrize("boxes", [[1, 2, 3, 4], [[1, 2, 3]], [[[1, 2, 3, 4]]], torch.zeros(0, 5)])
def test_boxes_of_another_shape_are_refused(model, image, boxes) -> None:
    with pytest.raises(ValueError, match=r"boxes must be \[N,4\], x0 y0 x1 y1 in pixels, not \[[0-9, ]+\]"):
        model.segment(image, boxes)


@pytest.mark.parametrize("boxes", [[["a", "b", "c", "d"]], [[1, 2, 3, 4], [1, 2]], None])
def test_what_is_no_table_of_numbers_is_refused(model, image, boxes) -> None:
    with pytest.raises(ValueError, match=r"boxes must be numbers \[N,4\]"):
        model.segment(image, boxes)


def test_too_many_boxes_are_refused(model, image) -> None:
    with pytest.raises(ValueError, match=f"1001 boxes are too many for one call; give at most {MOST_BOXES}"):
        model.segment(image, BOXES[:1].expand(1001, 4))
    assert len(check_boxes(BOXES[:1].expand(1000, 4), (48, 64), device=CPU)) == 1000


def test_a_border_is_inside_and_so_is_its_rounding_error() -> None:
    whole = [[0, 0, 64, 48], [-1e-5, 0, 64 + 1e-5, 48]]
    assert check_boxes(whole, (48, 64), device=CPU).tolist() == torch.tensor(whole).tolist()
    assert check_boxes([], (48, 64), device=CPU).shape == (0, 4)


def test_labels_can_be_given_and_their_scores_are_of_them(model, image) -> None:
    encoded = model.encode(image)
    free = model.segment(encoded, BOXES)
    every = torch.stack([model.segment(encoded, BOXES, torch.full((2,), k))["scores"] for k in (1, 2, 3)])
    assert torch.equal(free["scores"], every.amax(0)) and torch.equal(free["labels"], every.argmax(0) + 1)
    given = model.segment(encoded, BOXES, [3, 1])
    assert given["labels"].tolist() == [3, 1]
    assert torch.equal(given["scores"], every[[2, 0], [0, 1]])


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ([1], r"labels must be 2 whole numbers, one per box, not torch.int64 \[1\]"),
        ([1.5, 2.0], "labels must be 2 whole numbers"),
        ([1, 4], "box 1 has label 4; this model's labels are 1 to 3"),
        ([0, 1], "box 0 has label 0; this model's labels are 1 to 3"),
    ],
)
def test_bad_labels_are_refused(model, image, labels, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        model.segment(image, BOXES, labels)


def test_the_classes_of_a_box_are_read_where_it_is_given(model, image) -> None:
    """The score is the box head's softmax on the box itself, not on one that it was refined to."""
    batch, _ = model.transform([image])
    x, y = batch.to_original(0)
    inside = BOXES / torch.tensor([x, y, x, y])
    features = model.pyramid(batch)
    logits, _ = model.roi_heads.box_stage(model.roi_heads.box_pooler(features, [inside]))
    best, label = logits.softmax(-1)[:, 1:].max(1)
    found = model.segment(image, BOXES)
    torch.testing.assert_close(found["scores"], best)
    assert torch.equal(found["labels"], label + 1)


@pytest.mark.parametrize("programme", ["mm", "d2"])
def test_all_stages_of_a_cascade_read_the_box_given(thin_scale, input_size, image, programme) -> None:
    torch.manual_seed(0)
    build = {"num_classes": 3, "backbone": "resnet50", "scale": thin_scale, "input_size": input_size}
    model = cascade_mask_rcnn.build(**build, cascade_dialect=programme).eval()
    encoded, heads = model.encode(image), model.roi_heads
    x, y = encoded.batch.to_original(0)
    pooled = heads.box_pooler(encoded.features, [BOXES / torch.tensor([x, y, x, y])])
    logits = torch.stack([stage(pooled)[0] for stage in heads.box_stages])
    expected = logits.mean(0).softmax(-1) if programme == "mm" else logits.softmax(-1).mean(0)
    torch.testing.assert_close(model.segment(encoded, BOXES)["scores"], expected[:, 1:].amax(1))


def test_an_encoded_image_is_not_encoded_again(model, image, monkeypatch) -> None:
    encoded = model.encode(image)
    expected = model.segment(image, BOXES)

    def refuse(*_):
        raise AssertionError("encoded again")

    monkeypatch.setattr(model.backbone, "forward", refuse)
    monkeypatch.setattr(model.rpn, "forward", refuse)  # never asked: the boxes are given
    for _ in range(2):
        assert torch.equal(model.segment(encoded, BOXES)["masks"], expected["masks"])


def test_training_goes_on_as_before(model, image) -> None:
    expected = model.segment(image, BOXES)["masks"]
    model.train()
    assert torch.equal(model.segment(model.encode(image), BOXES)["masks"], expected)
    assert model.training and model.backbone.training
    with pytest.raises(ValueError, match=r"an image must be \[3,H,W\]"):
        model.encode(torch.zeros(4, 9, 9))
    assert model.training
