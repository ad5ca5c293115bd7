"""The lint reports everything at once, and raises nothing."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from PIL import Image

from reprolib.data.coco import CocoInstances
from reprolib.data.lint import DataError, lint


def report(made):
    return lint(made.annotations, made.images)


def test_a_sound_set_has_no_errors_and_is_counted(make_set, document):
    found = report(make_set(document))
    assert found.errors == ()
    expected = {"images": 3, "annotations": 4, "small": 3, "medium": 0, "large": 0, "crowds": 1}
    assert {key: found.counts[key] for key in expected} == expected
    assert found.counts["images without annotation"] == 1
    text = "\n".join(found.warnings)
    assert "annotation 0: id 0 counts as unmatched" in text
    assert "medium, large: size class without instances" in text
    assert "box reaches out" not in text


@pytest.mark.parametrize(
    ("annotation", "warning"),
    [
        ({"area": 1100, "segmentation": [[0, 0, 40, 0, 40, 25, 0, 25]]}, "area 1100, mask 1000 px"),
        ({"bbox": [30, 5, 12, 5]}, "annotation 1: box reaches out of its image"),
        ({"bbox": [30, 5, 0.5, 5]}, "annotation 1: box narrower or lower than 1 px"),
        ({"segmentation": [[1, 1, 2, 2]]}, "fewer than 3 points"),
        ({"segmentation": []}, "annotation 1: mask without a pixel"),
        ({"area": None}, "annotation 1: has no `area`"),
        ({"bbox": None}, "annotation 1: has no `bbox`"),
        ({"category_id": 0}, "plane: class without instances"),
    ],
)
def test_warnings(make_set, document, annotation, warning):
    document["annotations"][1].update(annotation)
    document["annotations"] = document["annotations"][:3]
    found = report(make_set(document))
    assert found.errors == ()
    assert warning in "\n".join(found.warnings)


def test_images_are_compared_with_the_json(make_set, document):
    document["images"][1]["file_name"] = "a.png"
    document["images"].append({"id": 10, "file_name": "text.png", "width": 40, "height": 30})
    made = make_set(document)
    (made.images / "empty.png").unlink()
    Image.new("RGB", (30, 40)).save(made.images / "a.png")
    (made.images / "text.png").write_text("no image")
    found = report(made)
    text = "\n".join(found.errors)
    assert "image 9 (empty.png): file missing" in text
    assert "image 0 (a.png): the file is 30 x 40, the annotations say 40 x 30" in text
    assert "image 10 (text.png)" in text and "image unreadable" in text
    assert "image 7 (a.png): `file_name` used by an earlier image too" in "\n".join(found.warnings)


def test_the_same_fault_many_times_is_one_line(make_set, document):
    document["annotations"] += [
        {"id": 100 + k, "image_id": 99, "category_id": 0, "segmentation": []} for k in range(500)
    ]
    found = report(make_set(document))
    assert len(found.errors) == 1
    assert "annotation 100 (image_id 99)" in found.errors[0] and "and 497 more" in found.errors[0]
    assert "1 kinds of errors" in found.text()


@pytest.mark.parametrize("where", ["images", "annotations", "categories"])
@pytest.mark.parametrize("value", [None, "x", -1, 1.5, [1], {"a": 1}, True, float("nan"), 10**30])
def test_no_field_of_any_kind_raises(make_set, document, where, value):
    """Whatever a field holds, the lint reports or accepts it, and the loader raises DataError or accepts it."""
    made = make_set(document)
    for field in list(document[where][0]):
        original, document[where][0][field] = document[where][0][field], value
        made.annotations.write_text(json.dumps(document))
        found = report(made)
        assert isinstance(found.text(), str)
        try:
            CocoInstances(made.images, made.annotations, train=True)
        except DataError:
            assert found.errors, f"{where}.{field}: refused by the loader, yet no error found"
        document[where][0][field] = original


def test_unreadable_json_is_a_report(tmp_path):
    (tmp_path / "x.json").write_text("{")
    found = lint(tmp_path / "x.json", tmp_path)
    assert len(found.errors) == 1 and "not valid JSON" in found.errors[0]
    assert "not valid JSON" in found.text()
    assert "no such annotation file" in lint(tmp_path / "none.json", tmp_path).errors[0]


def test_thousands_of_instances_take_seconds(make_set, document):
    rng = np.random.default_rng(0)
    document["images"] = [dict(document["images"][0], id=k, file_name=f"{k}.png") for k in range(400)]
    document["annotations"] = [
        {
            "id": k + 1,
            "image_id": k % 400,
            "category_id": 0,
            "area": 50,
            "bbox": [0, 0, 40, 30],
            "segmentation": [(rng.random(20) * np.tile([40, 30], 10)).tolist()],
        }
        for k in range(8000)
    ]
    made = make_set(document)
    begin = time.process_time()
    assert report(made).errors == ()
    assert time.process_time() - begin < 5
