"""Matched, false and missed detections: matching by hand, and what a picture shows of it."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from reprolib.figures.detection_errors import FALSE_ALARM, MATCHED, MISSED, TRUTH, detection_errors, match
from reprolib.figures.pictures import NothingToDraw

SIZE = {"height": 40, "width": 60}


def shape(left, top, wide, high, **more):
    """A rectangle as COCO instance or, with a score, as detection."""
    polygon = [left, top, left + wide, top, left + wide, top + high, left, top + high]
    return {"image_id": 1, "category_id": 3, "bbox": [left, top, wide, high], "segmentation": [polygon]} | more


def test_the_best_score_chooses_first():
    truth = [shape(10, 10, 10, 10)]
    unsure, sure = shape(10, 10, 10, 10, score=0.6), shape(10, 10, 10, 8, score=0.9)
    assert match([unsure, sure], truth, **SIZE) == ([(1, 0)], [0], [])


def test_each_takes_the_free_instance_that_it_covers_best():
    truth = [shape(10, 10, 10, 10), shape(12, 10, 10, 10)]
    found = [shape(12, 10, 10, 10, score=0.9), shape(13, 10, 10, 10, score=0.8), shape(10, 10, 10, 10, score=0.7)]
    # the second covers instance 1 better, which is taken, and instance 0 by 70/130
    assert match(found, truth, **SIZE) == ([(0, 1), (1, 0)], [2], [])


def test_the_threshold_is_reached_by_equality():
    truth, found = [shape(10, 10, 10, 10)], [shape(10, 10, 10, 5, score=0.9)]
    assert match(found, truth, **SIZE) == ([(0, 0)], [], [])
    assert match(found, truth, threshold=0.51, **SIZE) == ([], [0], [0])


def test_another_class_is_both_false_and_missed():
    found = [shape(10, 10, 10, 10, score=0.9, category_id=4)]
    assert match(found, [shape(10, 10, 10, 10)], **SIZE) == ([], [0], [0])


def test_boxes_and_masks_can_disagree():
    """A triangle fills half of the box that a square fills whole."""
    square, triangle = shape(10, 10, 20, 20), shape(10, 10, 20, 20, score=0.9)
    triangle["segmentation"] = [[10, 10, 30, 10, 10, 29]]
    assert match([triangle], [square], iou_type="bbox", **SIZE).matched == [(0, 0)]
    assert match([triangle], [square], iou_type="segm", **SIZE).matched == []
    with pytest.raises(ValueError, match="must be 'segm' or 'bbox', not 'mask'"):
        match([triangle], [square], iou_type="mask", **SIZE)


def test_detections_in_a_crowd_are_nothing():
    crowd = shape(0, 0, 40, 40, iscrowd=1)
    crowd["segmentation"] = {"size": [40, 60], "counts": [0, 1600, 800]}
    inside, outside = shape(5, 5, 6, 6, score=0.9), shape(45, 5, 6, 6, score=0.8)
    for iou_type in ("segm", "bbox"):
        assert match([inside, outside], [crowd], iou_type=iou_type, **SIZE) == ([], [1], [])


def test_empty_sides():
    assert match([], [shape(1, 1, 5, 5)], **SIZE) == ([], [], [0])
    assert match([shape(1, 1, 5, 5, score=0.5)], [], **SIZE) == ([], [0], [])


@pytest.fixture
def split(tmp_path):
    """Two images, the second without ships; writes results: `split({"a": [...]}) -> arguments`."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("L", (60, 40), 30).save(tmp_path / "images" / name)
    truth = {
        "images": [{"id": key, "file_name": name, **SIZE} for key, name in ((1, "a.png"), (2, "b.png"))],
        "categories": [{"id": 3, "name": "ship"}],
        "annotations": [shape(10, 10, 12, 8, id=1, iscrowd=0)],
    }
    (tmp_path / "val.json").write_text(json.dumps(truth))

    def write(results):
        for label, found in results.items():
            (tmp_path / f"{label}.json").write_text(json.dumps(found))
        files = {label: tmp_path / f"{label}.json" for label in results}
        return tmp_path / "images", tmp_path / "val.json", files

    return write


def shows(picture, colour: str) -> bool:
    """Whether the picture has more of a colour than its legend has."""
    pixels = np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)
    rgb = [int(colour[index : index + 2], 16) for index in (1, 3, 5)]
    below_legend = pixels[60:]
    return bool((abs(below_legend - rgb).sum(-1) < 24).sum() > 20)


def test_colours_say_what_became_of_each(split):
    hit, stray = shape(10, 10, 12, 8, score=0.9), shape(40, 20, 10, 10, score=0.8)
    picture = detection_errors(*split({"HTC": [hit]}), note="note")
    assert picture.png == detection_errors(*split({"HTC": [hit]}), note="note").png
    assert [shows(picture, colour) for colour in (TRUTH, MATCHED, FALSE_ALARM, MISSED)] == [True, True, False, False]
    picture = detection_errors(*split({"HTC": [stray]}))
    assert [shows(picture, colour) for colour in (TRUTH, MATCHED, FALSE_ALARM, MISSED)] == [True, False, True, True]
    unsure = detection_errors(*split({"HTC": [stray | {"score": 0.4}]}))
    assert not shows(unsure, FALSE_ALARM)
    assert shows(detection_errors(*split({"HTC": [stray | {"score": 0.4}]}), score=0.3), FALSE_ALARM)


def test_images_are_chosen(split):
    arguments = split({"HTC": [], "MAI-SE-Net": []})
    assert shows(detection_errors(*arguments), MISSED)
    assert not shows(detection_errors(*arguments, image_ids=[2]), MISSED)
    with pytest.raises(NothingToDraw, match="none of the images"):
        detection_errors(*arguments, image_ids=[7])


def test_without_predictions_there_is_nothing(split, tmp_path):
    images, annotations, _ = split({})
    with pytest.raises(NothingToDraw, match="evaluate a run first"):
        detection_errors(images, annotations, {"HTC": tmp_path / "none.json"})
