"""Cityscapes' conversion on a small made folder of the published layout."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from reprolib.data.cards import CARDS
from reprolib.data.catalog import prepare
from reprolib.data.coco import CocoInstances
from reprolib.data.errors import DataError
from reprolib.data.lint import lint
from reprolib.data.sets.cityscapes import convert as cityscapes
from reprolib.evaluation.coco import evaluate

HEIGHT, WIDTH = 12, 20
SPLITS = {"train": 2, "val": 1}
FIVE, EIGHT = CARDS["cityscapes_5"].classes, CARDS["cityscapes"].classes


def scene(objects: dict[int, tuple[slice, slice]]) -> np.ndarray:
    """instanceIds of a road (7) with the given values painted over it in turn."""
    ids = np.full((HEIGHT, WIDTH), 7, np.uint16)
    for value, place in objects.items():
        ids[place] = value
    return ids


# A car behind a person, a group of cars, a train; only a train and a motorcycle; a rider and a caravan (void).
SCENES = {
    "train/aachen/aachen_000000_000019": {
        26000: np.s_[2:8, 2:10],
        24001: np.s_[4:10, 6:8],
        26: np.s_[0:2, 12:20],
        31000: np.s_[8:12, 12:20],
    },
    "train/bochum/bochum_000000_000313": {31000: np.s_[0:4, 0:4], 32000: np.s_[6:9, 6:9]},
    "val/lindau/lindau_000001_000019": {25000: np.s_[1:7, 1:4], 29000: np.s_[1:7, 8:16]},
}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "cityscapes"
    for name, objects in SCENES.items():
        image = folder / "leftImg8bit" / f"{name}_leftImg8bit.png"
        ids = folder / "gtFine" / f"{name}_gtFine_instanceIds.png"
        for path in (image, ids):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(image)
        Image.fromarray(scene(objects)).save(ids)
    return folder


def converted(source, folder, *, classes=FIVE):
    cityscapes.convert(source, folder, classes=classes, images=SPLITS)
    return {split: json.loads((folder / f"annotations/{split}.json").read_text()) for split in SPLITS}


def test_five_classes_are_kept(source, tmp_path, capsys):
    made = converted(source, tmp_path / "made")
    assert "train, annotations of 2 of 2 images converted" in capsys.readouterr().out
    train = made["train"]
    assert [(one["id"], one["name"]) for one in train["categories"]] == [
        (24, "person"),
        (25, "rider"),
        (26, "car"),
        (27, "truck"),
        (28, "bus"),
    ]
    assert train["images"][0]["file_name"] == "aachen/aachen_000000_000019_leftImg8bit.png"
    assert len(train["images"]) == 2  # the second has no object of the five classes
    found = [
        (one["id"], one["image_id"], one["category_id"], one["iscrowd"], one["area"]) for one in train["annotations"]
    ]
    # The group first; the person's 12 pixels, of which 8 hide the car's 48.
    assert found == [(1, 1, 26, 1, 16), (2, 1, 24, 0, 12), (3, 1, 26, 0, 48 - 8)]
    assert train["annotations"][2]["bbox"] == [2, 2, 8, 6]
    assert [one["category_id"] for one in made["val"]["annotations"]] == [25]


def test_all_classes_are_kept(source, tmp_path):
    train = converted(source, tmp_path / "made", classes=EIGHT)["train"]
    assert [one["name"] for one in train["categories"]] == list(EIGHT)
    assert [one["category_id"] for one in train["annotations"]] == [26, 24, 26, 31, 31, 32]


def test_what_is_written_can_be_read(source, tmp_path):
    converted(source, tmp_path / "made")
    images, annotations = source / "leftImg8bit/train", tmp_path / "made/annotations/train.json"
    assert lint(annotations, images).errors == ()
    trained = CocoInstances(images, annotations, train=True)
    assert trained.class_names == list(FIVE) and len(trained) == 1
    image, target = trained[0]
    assert image.shape == (3, HEIGHT, WIDTH) and target["labels"].tolist() == [1, 3]  # the crowd is left out
    ids = torch.from_numpy(scene(SCENES["train/aachen/aachen_000000_000019"]).astype(np.int32))
    assert torch.equal(target["masks"][1].bool(), ids == 26000)
    assert CocoInstances(images, annotations, train=False).image_ids == [1, 2]


def test_what_is_written_stays_the_same(source, tmp_path):
    """Prepared sets are fingerprinted: another byte would train every run again. Then VERSION goes up."""
    converted(source, tmp_path / "made")
    assert {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted((tmp_path / "made" / "annotations").iterdir())
    } == {"train.json": "eff58409b70bb1a5", "val.json": "82b0b15f837ab88e"}
    marker = json.loads((tmp_path / "made" / "prepared.json").read_text())
    assert marker["made"] == {"version": 1, "source": str(source), "classes": list(FIVE), "images": SPLITS}


def test_prepared_once(source, tmp_path, monkeypatch):
    monkeypatch.setattr(cityscapes, "IMAGES", SPLITS)
    monkeypatch.setitem(cityscapes.convert.__kwdefaults__, "images", SPLITS)
    monkeypatch.setitem(cityscapes.is_prepared.__kwdefaults__, "images", SPLITS)
    root, options = tmp_path / "data", {"from_dir": str(source)}
    first = prepare("cityscapes_5", options, root=root)
    written = first.splits["val"].annotations
    assert (
        first.splits["val"].images == root / "cityscapes/leftImg8bit/val"
        and first.splits["val"].images.resolve() == source / "leftImg8bit/val"
        and written == root / "cityscapes_5_coco/annotations/val.json"
    )
    before = written.stat().st_mtime_ns
    assert prepare("cityscapes_5", options, root=root) == first and written.stat().st_mtime_ns == before
    written.write_text("{}")
    prepare("cityscapes_5", options, root=root)
    assert len(json.loads(written.read_text())["annotations"]) == 1
    assert not cityscapes.is_prepared(source, root / "cityscapes_5_coco", classes=EIGHT)
    assert prepare("cityscapes_5", {}, root=root) == first  # the folder need not be named again


def test_damaged_sources_are_refused(source, tmp_path):
    ids = source / "gtFine/val/lindau/lindau_000001_000019_gtFine_instanceIds.png"
    Image.fromarray(np.zeros((HEIGHT, WIDTH - 1), np.uint16)).save(ids)
    with pytest.raises(DataError, match=r"instanceIds\.png: uint16 \[12, 19\], its image is 12 x 20"):
        converted(source, tmp_path / "made")
    ids.write_bytes(b"no image")
    with pytest.raises(DataError, match="unreadable"):
        converted(source, tmp_path / "made")
    ids.unlink()
    with pytest.raises(DataError, match="is missing; unpack gtFine_trainvaltest"):
        converted(source, tmp_path / "made")
    (source / "leftImg8bit/val/lindau/lindau_000001_000019_leftImg8bit.png").unlink()
    with pytest.raises(DataError, match=r"val: 0 images .* there must be 1"):
        converted(source, tmp_path / "made")
    assert not (tmp_path / "made").exists() and not (tmp_path / "made.part").exists()


@pytest.mark.parametrize("inside", [".", ".."])
def test_the_source_is_never_replaced(source, inside):
    before = sorted(source.rglob("*"))
    with pytest.raises(DataError, match=r"lies in .* where the annotations go"):
        converted(source, source / inside)
    assert sorted(source.rglob("*")) == before


def test_ground_truth_scores_exactly_100(source, tmp_path):
    """Each image twice: of a class with one object, COCO's code makes a precision of 1 - 2^-52."""
    for folder, ending in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_instanceIds")):
        for name in SCENES:
            path = source / folder / f"{name}_{ending}.png"
            copy = source / folder / name.split("/")[0] / "zurich" / f"{path.parent.name}{path.name}"
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    cityscapes.convert(source, tmp_path / "made", classes=EIGHT, images={"train": 4, "val": 2})
    for split in SPLITS:
        truth = json.loads((tmp_path / "made" / "annotations" / f"{split}.json").read_text())
        found = [a | {"score": 0.9} for a in truth["annotations"] if not a["iscrowd"]]
        for iou_type in ("segm", "bbox"):
            scores = evaluate(truth, found, iou_type)
            assert scores[f"{iou_type}/AP"] == scores[f"{iou_type}/AR100"] == 100.0
