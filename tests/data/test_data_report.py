"""The data report describes what is on disk, and its fingerprint follows the data, not the place."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from reprolib.data.acquire import published
from reprolib.data.acquire.prepared import Split
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


def test_counts_beside_the_published_ones(make_set, document):
    both = prepared(*make_set(document))
    assert data_report(both)["published_text"] == ["no counts are published of this set"]
    card = replace(
        both.card,
        splits={
            "train": {"images": 3, "instances": 5, "plane": 2, "boat": 1},
            "test": {"images": 2},
            "all": {"images": 6, "instances": 8, "ship": 4},
        },
    )
    found = data_report(replace(both, card=card))
    assert found["published_text"] == [
        "train: images 3, as published",
        "train: instances 4, differs by -1 from the 5 published",  # with the crowd
        "train: plane 2, as published",
        "train: boat 1 published, no such class in this set",
        "val: no counts are published",
        "together: images 6, as published",
        "together: instances 8, as published",
        "together: ship 4, as published",
    ]
    assert found["splits"]["train"]["published"]["instances"] == {"published": 5, "found": 4, "difference": -1}
    assert found["splits"]["train"]["published"]["boat"] == {"published": 1, "found": None, "difference": None}
    assert found["splits"]["val"]["published"] is None
    assert found["published_together"]["images"] == {"published": 6, "found": 6, "difference": 0}
    assert found["fingerprint"] == data_report(both)["fingerprint"]
    json.dumps(found, allow_nan=False)


def test_a_broken_split_is_not_compared(make_set, document):
    whole = make_set(document)
    document["annotations"][0]["image_id"] = 55
    broken = make_set(document, name="broken")
    both = prepared(*whole)
    both = replace(both, splits=both.splits | {"val": Split(images=broken.images, annotations=broken.annotations)})
    found = data_report(replace(both, card=replace(both.card, splits={"val": {"images": 3}, "all": {"images": 6}})))
    assert found["splits"]["val"]["published"] is None and found["published_together"] is None


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("x/annotations/train.json", "train", "train"),
        ("x/annotations/official/test.json", "val", "test"),
        ("x/annotations/official/train.json", "train", "train"),
        ("x/annotations/own/val.json", "val", "own val"),
        ("x/annotations/scenes/test.json", "val", None),  # `test` is the official one
        ("coco/annotations/instances_val2017.json", "train", "train"),
        ("lvis/lvis_v1_val.json", "val", None),
    ],
)
def test_names_of_splits_in_a_card(make_set, document, path, name, expected):
    splits = {"train": {"images": 1}, "test": {"images": 1}, "own val": {"images": 1}}
    card = replace(prepared(*make_set(document)).card, splits=splits)
    assert published.card_split(card, name, Path(path)) == expected


def test_tiles_are_compared_by_what_was_cut(document):
    source = {"images": 1, "instances": 2, "classes": {"ship": 2}}
    assert published.counts_of(document)["classes"] == {"plane": 2, "ship": 2}
    assert published.counts_of(document | {"info": {"source": source}}) == source
    assert published.counts_of(document | {"info": {"source": "a page"}})["images"] == 3
    together = published.sum_of([source, {"images": 4, "instances": 1, "classes": {"plane": 1, "ship": 0}}])
    assert together == {"images": 5, "instances": 3, "classes": {"ship": 2, "plane": 1}}


def test_area_beside_the_pixels_of_the_masks(make_set, document):
    """Of three instances, the first's 121 px are 21 too many; another, made large, falls into another size class."""
    found = data_report(prepared(*make_set(document)))["splits"]["train"]["area"]
    assert found == {"other_than_mask": 1, "other_size_class": 0, "mean_excess": 7.0}
    document["annotations"][3]["area"] = 1024
    found = data_report(prepared(*make_set(document, name="large")))["splits"]["train"]["area"]
    assert found == {"other_than_mask": 2, "other_size_class": 1, "mean_excess": pytest.approx((21 + 904) / 3)}
