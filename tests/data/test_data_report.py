"""The data report describes what is on disk, and its fingerprint follows the data, not the place."""

from __future__ import annotations

import json
import shutil

import pytest

from reprolib.data.catalog import prepare
from reprolib.data.report import data_report


def prepared(images, annotations):
    options = {
        f"{split}_{kind}": str(path)
        for split in ("train", "val")
        for kind, path in (("images", images), ("annotations", annotations))
    }
    return prepare("mine", {"kind": "coco_folder", **options})


def test_report(make_set, document):
    found = data_report(prepared(*make_set(document)))
    json.dumps(found, allow_nan=False)
    train = found["splits"]["train"]
    assert (train["images"], train["instances"], train["crowds"]) == (3, 3, 1)
    assert train["classes"] == {"plane": 2, "ship": 1}
    assert train["size_classes"] == {"small": 3, "medium": 0, "large": 0}
    assert train["foreground"] == pytest.approx((100 + 50 + 120) / 3600)
    assert train["lint"]["errors"] == []


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
    assert "refers to no image" in found["splits"]["train"]["lint_text"]
