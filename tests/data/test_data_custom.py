"""Folders of the user's own, whose parts are found by their names."""

from __future__ import annotations

import json

import pytest

from reprolib.data.catalog import prepare
from reprolib.data.errors import DataError


@pytest.mark.parametrize(
    ("train", "val", "images"),
    [
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json", "{}2017"),
        ("annotations/train.json", "annotations/val.json", "images"),
        ("train/_annotations.coco.json", "valid/_annotations.coco.json", "beside"),
        ("train.json", "val.json", "images/{}"),
        ("train.json", "val.json", ""),
    ],
)
def test_custom_folders_of_usual_layouts(tmp_path, train, val, images):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/captions_train2017.json").touch()
    if "instances" not in train:
        (tmp_path / "annotations/captions_train2017.json").unlink()
    for split, name in (("train", train), ("val", val)):
        annotations = tmp_path / name
        folder = annotations.parent if images == "beside" else tmp_path / images.format(split)
        for place in (annotations.parent, folder):
            place.mkdir(parents=True, exist_ok=True)
        (folder / f"{split}.jpg").touch()
        document = {"images": [{"id": 1, "file_name": f"{split}.jpg"}], "annotations": [], "categories": []}
        annotations.write_text(json.dumps(document))
    prepared = prepare("custom", {"from_dir": str(tmp_path)}, root=tmp_path / "data")
    for split, name in (("train", train), ("val", val)):
        assert prepared.splits[split].annotations == tmp_path / name
        assert (prepared.splits[split].images / f"{split}.jpg").is_file()
    assert not (tmp_path / "data").exists()


def test_custom_folders_that_cannot_be_read_off(tmp_path):
    with pytest.raises(DataError, match=r"one JSON with 'train' in its name is needed, found none.*train_images: PATH"):
        prepare("custom", {"from_dir": str(tmp_path)})
    document = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []}
    for name in ("train.json", "train_2.json"):
        (tmp_path / name).write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"found .*train\.json, .*train_2\.json"):
        prepare("custom", {"from_dir": str(tmp_path)})
    (tmp_path / "train_2.json").unlink()
    with pytest.raises(DataError, match=r"its first image, a\.jpg, is in none"):
        prepare("custom", {"from_dir": str(tmp_path)})
