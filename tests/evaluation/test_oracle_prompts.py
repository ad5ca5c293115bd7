"""The oracle of Insight Any Instance's Table XI, by hand: which instances count as missed, and what joining gives."""

import dataclasses

import pytest
import torch
from torch import nn

from reprolib.evaluation.coco import evaluate
from reprolib.evaluation.coco_inputs import best_of_image
from reprolib.evaluation.oracle_prompts import evaluate_oracle, missed_boxes
from reprolib.evaluation.protocols import find_protocol
from reprolib.evaluation.rle import encode_masks
from reprolib.papers.addresses import resolve_address
from reprolib.params import load_profile, resolve
from reprolib.pipeline.run_dependencies import evaluate_plan, train_plan
from reprolib.pipeline.runs.oracle_prompts import AT_ONCE, oracle_metrics, prompt

SHIP, PLANE = 3, 7


def rle(left, top, right, bottom, size=(40, 40)):
    mask = torch.zeros((1, *size), dtype=torch.bool)
    mask[0, top:bottom, left:right] = True
    return encode_masks(mask)[0]


def instance(number, box, *, category=SHIP, image=1, crowd=0):
    left, top, right, bottom = box
    corner = [left, top, right - left, bottom - top]
    shape = {"segmentation": rle(*box), "bbox": corner, "area": corner[2] * corner[3], "iscrowd": crowd}
    return {"id": number, "image_id": image, "category_id": category, **shape}


def result(box, score, *, category=SHIP, image=1):
    left, top, right, bottom = box
    shape = {"segmentation": rle(*box), "bbox": [left, top, right - left, bottom - top]}
    return {"image_id": image, "category_id": category, "score": score, **shape}


A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (0, 20, 10, 30)


@pytest.fixture
def truth():
    """Two ships and a plane in image 1, a crowd of ships in image 2."""
    return {
        "images": [{"id": key, "height": 40, "width": 40} for key in (1, 2)],
        "categories": [{"id": SHIP, "name": "ship"}, {"id": PLANE, "name": "plane"}],
        "annotations": [
            instance(1, A),
            instance(2, B),
            instance(3, C, category=PLANE),
            instance(4, A, image=2, crowd=1),
        ],
    }


def test_missed_is_what_no_mask_of_its_class_covers_by_half(truth):
    assert missed_boxes(truth, []) == {1: [list(A), list(B), list(C)]}  # not the crowd
    half = (0, 0, 10, 5)  # IoU 50 / 100 with A, exactly the threshold: found
    assert missed_boxes(truth, [result(half, 0.01)]) == {1: [list(B), list(C)]}
    less = (0, 0, 7, 7)  # IoU 49 / 100
    assert missed_boxes(truth, [result(less, 0.99)]) == {1: [list(A), list(B), list(C)]}
    of_another_class = result(C, 0.9, category=SHIP)
    assert missed_boxes(truth, [of_another_class]) == {1: [list(A), list(B), list(C)]}
    assert missed_boxes(truth, [result(A, 0.9), result(B, 0.2), result(C, 0.1, category=PLANE)]) == {}


def test_the_prompt_is_the_box_of_the_mask_not_the_files(truth):
    truth["annotations"][0]["bbox"] = [-5, -5, 90, 90]
    assert missed_boxes(truth, [])[1][0] == list(A)


def test_an_instance_without_a_pixel_is_not_prompted(truth):
    truth["annotations"][1]["segmentation"] = rle(5, 5, 5, 5)
    assert missed_boxes(truth, []) == {1: [list(A), list(C)]}


def test_joined_results_keep_each_images_best_up_to_the_cap():
    detections = [result(A, 0.9), result(B, 0.3), result(A, 0.2, image=2)]
    prompted = [result(C, 0.5), result(C, 0.3)]
    joined = best_of_image([*detections, *prompted], limit=2)
    assert [(one["image_id"], one["score"]) for one in joined] == [(1, 0.9), (1, 0.5), (2, 0.2)]
    tie = best_of_image([result(B, 0.3), result(C, 0.3)], limit=1)
    assert tie[0]["bbox"][:2] == [20, 0]  # the detection


def test_ap_by_hand(truth):
    """Ships A and B; A is found at 0.9. Prompted B ranks below a false alarm: precision 1 up to recall 1/2, then 2/3.

    COCO reads precision at 101 recalls: 51 at 1 and 50 at 2/3. The plane stays missed, since its prompt is called a
    ship: a second false alarm, last in the ranking, and AP 0 of the planes.
    """
    detections = [result(A, 0.9), result((30, 30, 40, 40), 0.5)]
    prompted = [result(B, 0.4), result(C, 0.3)]
    found = evaluate_oracle(truth, detections, prompted, limit=100)
    ships = 100 * (51 + 50 * 2 / 3) / 101
    assert found["oracle/segm/AP"] == pytest.approx(ships / 2)
    assert found["oracle/segm/AP50"] == pytest.approx(ships / 2)
    assert evaluate(truth, detections, "segm")["segm/AP"] == pytest.approx(100 * 51 / 101 / 2)
    assert found["oracle/prompted"] == pytest.approx(100 * 2 / 3)
    assert all(name.startswith("oracle/") for name in found) and "oracle/segm/AP/ship" not in found
    capped = evaluate_oracle(truth, detections, prompted, limit=2)  # both prompts fall to the cap
    assert capped["oracle/segm/AP"] == pytest.approx(100 * 51 / 101 / 2)


def test_without_instances_there_is_no_number(truth):
    truth["annotations"] = truth["annotations"][3:]
    found = evaluate_oracle(truth, [], [], limit=100)
    assert found["oracle/segm/AP"] is None and found["oracle/prompted"] is None


class Promptable(nn.Module):
    """Fills every box; a plane where the box is left of the image's middle."""

    def __init__(self):
        super().__init__()
        self.encoded, self.asked = [], []

    def encode(self, image):
        assert image.dtype == torch.float32 and image.max() <= 1 and not self.training
        self.encoded.append(image)
        return image

    def segment(self, encoded, boxes):
        self.asked.append(len(boxes))
        masks = torch.zeros((len(boxes), 40, 40), dtype=torch.bool)
        for mask, (left, top, right, bottom) in zip(masks, boxes.long().tolist(), strict=True):
            mask[top:bottom, left:right] = True
        labels = torch.where(boxes[:, 0] < 20, 2, 1)
        return {"boxes": boxes, "labels": labels, "scores": torch.full((len(boxes),), 0.25), "masks": masks}


class Images:
    image_ids, category_ids, sizes = (1, 2), (SHIP, PLANE), [(40, 40)] * 2

    def __getitem__(self, index):
        return torch.full((3, 40, 40), 255, dtype=torch.uint8), {}


def test_each_image_is_encoded_once_and_the_model_names_the_class():
    model = Promptable()
    found = prompt(model, Images(), {1: [list(A), list(B)], 2: []}, device="cpu")
    assert len(model.encoded) == 1
    assert [(one["image_id"], one["category_id"], one["score"]) for one in found] == [(1, PLANE, 0.25), (1, SHIP, 0.25)]
    assert found[1]["bbox"] == [20, 0, 10, 10] and found[1]["segmentation"] == rle(*B)


def test_many_prompts_go_in_parts():
    model = Promptable()
    assert len(prompt(model, Images(), {2: [list(A)] * (AT_ONCE + 1)}, device="cpu")) == AT_ONCE + 1
    assert model.asked == [AT_ONCE, 1] and len(model.encoded) == 1


def test_prompted_masks_count_among_the_detections_that_a_model_may_give(truth):
    """A is found at 0.9 and a false alarm at 0.5; prompts score 0.25, so with two detections an image none is left."""
    run = resolve(load_profile("demo"), resolve_address("coco-mask_rcnn_r50"), 0)
    detections = [result(A, 0.9), result((30, 30, 40, 40), 0.5)]
    values = {}
    for limit in (2, 100):
        limited = dataclasses.replace(run, scale=dataclasses.replace(run.scale, detections=limit))
        values[limit] = oracle_metrics(
            limited, Promptable(), Images(), truth, detections, protocol=find_protocol("coco"), device="cpu"
        )
    assert values[2]["oracle/segm/AP"] == evaluate(truth, detections, "segm")["segm/AP"]
    assert values[100]["oracle/segm/AP"] > values[2]["oracle/segm/AP"]


def test_a_model_without_prompts_is_refused():
    with pytest.raises(ValueError, match="Linear takes no box prompts"):
        prompt(nn.Linear(1, 1), Images(), {1: [list(A)]}, device="cpu")


def test_asking_for_it_changes_the_plan_of_the_evaluation_alone():
    plain = resolve_address("coco-mask_rcnn_r50")
    run = resolve(load_profile("demo"), plain, 0)
    asked = dataclasses.replace(run, experiment=dataclasses.replace(plain, oracle_prompts=True))
    assert asked.id != run.id
    data = {"data_fingerprint": "0"}
    assert train_plan(asked, **data)["fingerprint"] == train_plan(run, **data)["fingerprint"]
    assert evaluate_plan(asked, **data)["fingerprint"] != evaluate_plan(run, **data)["fingerprint"]
