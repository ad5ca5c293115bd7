"""The data report describes what is on disk, and its fingerprint follows the data, not the place."""

from __future__ import annotations

import json
import shutil

import pytest

from reprolib.data.catalog import prepare
from reprolib.data.foreground import count_by_band
from reprolib.data.report import data_report


def prepared(images, annotations):
    options = {
        f"{split}_{kind}": str(path)
        for split in ("train", "val")
        for kind, path in (("images", images), ("annotations", annotations))
    }
    return prepare("mine", {"kind": "coco_folder", **options})


def square(x, y, side):
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def test_report(make_set, document):
    found = data_report(prepared(*make_set(document)))
    json.dumps(found, allow_nan=False)
    train = found["splits"]["train"]
    assert (train["images"], train["instances"], train["crowds"]) == (3, 3, 1)
    assert train["classes"] == {"plane": 2, "ship": 1}
    assert train["size_classes"] == {"small": 3, "medium": 0, "large": 0}
    assert train["foreground"] == pytest.approx((100 + 50 + 120) / 3600)
    assert train["lint"]["errors"] == []


def test_images_by_foreground_ratio(make_set, document):
    """Of 1200 px: image 0 has two instances that share 60, and a crowd; image 7 exactly a tenth; image 9 nothing."""
    first, second = document["annotations"][:2]
    first |= {"segmentation": [square(0, 0, 10)], "area": 100}
    second |= {"segmentation": [square(4, 0, 10)], "area": 150}
    found = data_report(prepared(*make_set(document)))
    expected = {"[0.0,0.1)": 1, "[0.1,0.2)": 2, "[0.2,1.0]": 0}  # 140 / 1200, 120 / 1200, 0
    assert found["splits"]["train"]["images_by_foreground_ratio"] == expected
    by_area = {"[0.0,0.1)": 1, "[0.1,0.2)": 1, "[0.2,1.0]": 1}  # 250 / 1200, 120 / 1200, 0
    assert found["splits"]["train"]["images_by_foreground_ratio_by_area"] == by_area
    # Both splits are the same images here, so the shares of all are those of one.
    assert found["foreground_ratio_share"] == pytest.approx(
        {"[0.0,0.1)": 100 / 3, "[0.1,0.2)": 200 / 3, "[0.2,1.0]": 0}
    )
    assert found["foreground_ratio_share_by_area"] == pytest.approx(dict.fromkeys(by_area, 100 / 3))


def test_shares_are_over_the_images_of_all_splits(make_set, document):
    whole = make_set(document)
    document["images"] = [image for image in document["images"] if image["id"] == 7]
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] == 7]
    part = make_set(document, name="part")
    options = {"train_images": whole.images, "train_annotations": whole.annotations}
    options |= {"val_images": part.images, "val_annotations": part.annotations}
    both = prepare("mine", {"kind": "coco_folder"} | {key: str(path) for key, path in options.items()})
    # Of a, b and empty in train (150, 120 and 0 of 1200 px) and b again in val, three reach a tenth.
    found = data_report(both)["foreground_ratio_share"]
    assert found == {"[0.0,0.1)": 25.0, "[0.1,0.2)": 75.0, "[0.2,1.0]": 0.0}


@pytest.mark.parametrize(
    ("ratio", "band"),
    [(0.0, "[0.0,0.1)"), (119 / 1200, "[0.0,0.1)"), (120 / 1200, "[0.1,0.2)"), (0.2, "[0.2,1.0]"), (1.3, "[0.2,1.0]")],
)
def test_bands_begin_where_they_say(ratio, band):
    assert [name for name, count in count_by_band([ratio]).items() if count] == [band]


def test_fingerprint_follows_the_data(make_set, document, tmp_path):
    made = make_set(document)
    first = data_report(prepared(*made))["fingerprint"]
    shutil.copytree(made.images.parent, tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere"
    assert data_report(prepared(moved / "images", moved / "set.json"))["fingerprint"] == first
    with (moved / "images" / "a.png").open("ab") as file:
        file.write(b"\0")
    assert data_report(prepared(moved / "images", moved / "set.json"))["fingerprint"] != first
    document["annotations"][0]["category_id"] = 5
    other = make_set(document, name="other")
    assert data_report(prepared(*other))["fingerprint"] != first


def test_broken_splits_are_reported_not_raised(make_set, document):
    document["annotations"][0]["image_id"] = 55
    found = data_report(prepared(*make_set(document)))
    assert found["splits"]["train"]["instances"] is None and found["splits"]["train"]["fingerprint"] is None
    assert found["splits"]["train"]["images_by_foreground_ratio"] is None and found["foreground_ratio_share"] is None
    assert "refers to no image" in found["splits"]["train"]["lint_text"]
