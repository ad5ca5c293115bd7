"""Boxes and classes as a user writes them."""

import json

import pytest

from reprolib.prompting.request import RequestError, parse_boxes, parse_labels

NAMES = ["ship", "baseball diamond", "plane"]


def test_typed_boxes_keep_their_order():
    assert parse_boxes(["1,2,3,4", "5, 6.5, 7, 8", "9 10 11 12"], image="a.png").tolist() == [
        [1, 2, 3, 4],
        [5, 6.5, 7, 8],
        [9, 10, 11, 12],
    ]


def test_a_list_is_corners_and_coco_is_corner_and_size(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text("[[1, 2, 30, 40]]")
    assert parse_boxes([str(path), "0,0,1,1"], image="a.png").tolist() == [[1, 2, 30, 40], [0, 0, 1, 1]]
    path.write_text(json.dumps([{"image_id": 3, "bbox": [1, 2, 30, 40]}]))
    assert parse_boxes([str(path)], image="a.png").tolist() == [[1, 2, 31, 42]]


def test_of_a_coco_document_the_images_own_boxes_are_taken_without_crowds(tmp_path):
    path = tmp_path / "instances.json"
    annotations = [
        {"image_id": 1, "bbox": [0, 0, 5, 5]},
        {"image_id": 2, "bbox": [1, 1, 2, 3]},
        {"image_id": 2, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ]
    images = [{"id": 1, "file_name": "val/a.png"}, {"id": 2, "file_name": "val/b.png"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    assert parse_boxes([str(path)], image="/elsewhere/b.png").tolist() == [[1, 1, 3, 4]]
    with pytest.raises(RequestError, match=r"instances.json: 0 of its `images` have the file name c.png"):
        parse_boxes([str(path)], image="c.png")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "boxes.json is not JSON"),
        ("[]", "boxes.json: no boxes in it"),
        ("{}", "boxes.json: field 'annotations' is missing"),
        ("[[1, 2, 3]]", "boxes.json: entry 0 must be a list of four numbers"),
        ('[[1, 2, 3, 4], [1, 2, 3, "4"]]', "boxes.json: entry 1 must be a list of four numbers"),
        ("[[1, 2, 3, true]]", "four numbers"),
        ('[{"image_id": 1}]', "boxes.json: entry 0, bbox must be a list of four numbers, not None"),
        ('[{"image_id": 1, "bbox": [1, 2, 3, 4]}, {"image_id": 2, "bbox": [1, 2, 3, 4]}]', "boxes of 2 images"),
        ("7", "boxes.json: no boxes in it"),
    ],
)
def test_a_bad_file_is_named_with_its_field(tmp_path, content, message):
    path = tmp_path / "boxes.json"
    path.write_text(content)
    with pytest.raises(RequestError, match=message):
        parse_boxes([str(path)], image="a.png")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "no boxes: give --boxes"),
        (["1,2,3,4", "1,2,3"], "box 1: '1,2,3' is neither x1,y1,x2,y2 in pixels nor a JSON file"),
        (["a,b,c,d"], "box 0"),
        (["no.json"], r"no.json: cannot be read \(No such file or directory\)"),
    ],
)
def test_bad_text_is_named_by_its_number(texts, message):
    with pytest.raises(RequestError, match=message):
        parse_boxes(texts, image="a.png")


def test_labels_are_names_or_numbers_one_for_all_or_each():
    assert parse_labels([], names=NAMES, count=2) is None
    assert parse_labels(["baseball diamond"], names=NAMES, count=3).tolist() == [2, 2, 2]
    assert parse_labels(["plane", "1"], names=NAMES, count=2).tolist() == [3, 1]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["ship", "plane"], "--labels: 2 for 3 boxes; give one for all or one for each"),
        (["boat"], "no class 'boat'; there are ship, baseball diamond, plane"),
        (["0"], "no class '0'"),
        (["4"], "or their numbers, 1 to 3"),
    ],
)
def test_labels_that_are_no_class_are_refused(texts, message):
    with pytest.raises(RequestError, match=message):
        parse_labels(texts, names=NAMES, count=3)
