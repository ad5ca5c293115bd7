from __future__ import annotations

import json

import pytest
import torch
from pycocotools import mask as coco_mask

from reprolib.engine.inference import coco_results, predict


def test_results_are_coco_results_in_the_data_sets_own_words(toy):
    model, data = toy.toy_model(), toy.ToyData()
    model.train()
    results, speed = predict(model, data, device="cpu")
    assert model.training
    assert [result["image_id"] for result in results] == data.image_ids
    assert {result["category_id"] for result in results} == {9}  # label 2
    assert results[0]["bbox"] == [3.0, 2.0, 5.0, 4.0]
    assert results[0]["segmentation"]["size"] == [16, 16]
    assert coco_mask.toBbox(results[0]["segmentation"]).tolist() == [3.0, 2.0, 5.0, 4.0]
    assert coco_mask.area(results[0]["segmentation"]) == 20
    model.eval()
    with torch.inference_mode():
        expected = model([data[4][0].float() / 255])[0]
    assert results[4]["score"] == expected["scores"].item()
    assert results[4]["mask_score"] == expected["mask_scores"].item()
    json.dumps(results, allow_nan=False)
    assert speed["images"] == 9 and speed["batch_size"] == 1 and speed["device"] == "cpu"
    assert speed["images_per_second"] == pytest.approx(9 / speed["seconds"])
    assert speed["hardware"] and "first batch excluded" in speed["includes"]


def test_the_batch_size_changes_neither_order_nor_results_of_equal_images(toy):
    model, data = toy.toy_model(), toy.ToyData()
    ones, _ = predict(model, data, device="cpu")
    fours, speed = predict(model, data, device="cpu", batch_size=4)
    assert speed["images"] == 6  # batches of 4, 4, 2; the first is not timed
    assert [result["image_id"] for result in fours] == data.image_ids
    for one, four in zip(ones, fours, strict=True):
        assert one["score"] == pytest.approx(four["score"], abs=1e-6)
        assert one["segmentation"] == four["segmentation"]


def test_a_single_image_is_timed_with_its_warm_up_and_says_so(toy):
    _, speed = predict(toy.toy_model(), toy.ToyData(images=1), device="cpu")
    assert speed["images"] == 1 and "first batch included" in speed["includes"]


def output(**changes):
    return {
        "boxes": torch.tensor([[0.0, 0.0, 2.0, 2.0]]),
        "labels": torch.tensor([1]),
        "scores": torch.tensor([0.5]),
        "masks": torch.ones(1, 4, 6, dtype=torch.bool),
    } | changes


def test_torchvisions_probabilities_are_cut_at_a_half():
    probabilities = torch.full((1, 1, 4, 6), 0.4)
    probabilities[..., :2] = 0.6
    (result,) = coco_results(output(masks=probabilities), image_id=1, category_ids=[3], size=(4, 6))
    assert coco_mask.area(result["segmentation"]) == 8
    assert "mask_score" not in result


def test_an_image_without_detections_gives_none():
    empty = output(
        boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), scores=torch.zeros(0),
        masks=torch.zeros(0, 4, 6, dtype=torch.bool),
    )  # fmt: skip
    assert coco_results(empty, image_id=1, category_ids=[3], size=(4, 6)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": torch.tensor([0])}, "labels 0 to 0, expected 1 to 1"),
        ({"masks": torch.ones(1, 6, 4, dtype=torch.bool)}, r"masks are \[1, 6, 4\], expected \[1, 4, 6\]"),
        ({"scores": torch.tensor([float("nan")])}, "non-finite"),
    ],
)
def test_outputs_that_break_the_contract_name_the_image(changes, message):
    with pytest.raises(ValueError, match=f"image 77: .*{message}"):
        coco_results(output(**changes), image_id=77, category_ids=[3], size=(4, 6))


def test_a_detector_without_masks_is_refused():
    boxes_only = output()
    del boxes_only["masks"]
    with pytest.raises(ValueError, match="lacks 'masks'"):
        coco_results(boxes_only, image_id=77, category_ids=[3], size=(4, 6))
