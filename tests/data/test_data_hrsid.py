"""HRSID's conversion on a small made folder of the published layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from reprolib.data.coco import CocoInstances
from reprolib.data.errors import DataError
from reprolib.data.lint import lint
from reprolib.data.sets.hrsid import convert as hrsid
from reprolib.evaluation.coco import evaluate

SIDE = 24
# File name -> ships (x, y, width, height). Ids restart at 0 in each file, and the names are not in order.
TRAIN = {
    "P0002_0_800_0_800.jpg": [(2, 3, 10, 10), (14, 2, 5, 6)],
    "P0001_0_800_600_1400.jpg": [(1, 1, 6, 4)],
    "P0137_7.jpg": [(0, 0, 4, 8)],
}
TEST = {
    "P0003_0_800_0_800.jpg": [(5, 5, 3, 9), (12, 12, 8, 2)],
    "P0001_0_800_0_800.jpg": [(2, 3, 4, 5), (10, 10, 3, 3)],
}
INSHORE = ["P0001_0_800_0_800.jpg", "P0002_0_800_0_800.jpg"]
CONTENTS = hrsid.Contents(
    counts={"train": (3, 4), "test": (2, 4), "test_inshore": (1, None), "test_offshore": (1, None)}
)


def published(ships: dict[str, list]) -> dict:
    shapes = [(image, ship) for image, found in enumerate(ships.values()) for ship in found]
    return {
        "info": {},
        "images": [{"id": k, "file_name": name, "width": SIDE, "height": SIDE} for k, name in enumerate(ships)],
        "annotations": [
            {
                "id": k,
                "image_id": image,
                "category_id": 1,
                "iscrowd": 0,
                "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                "bbox": [x, y, w + 1, h + 1],
                "area": w * h + 9,
            }
            for k, (image, (x, y, w, h)) in enumerate(shapes)
        ],
        "categories": [{"id": 1, "name": "ship", "supercategory": "ship"}],
    }


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "downloads" / "HRSID_JPG"
    for name in ("JPEGImages", "annotations", "inshore_offshore"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in TRAIN | TEST:
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(folder / "JPEGImages" / name)
    write(folder, "annotations/train2017", published(TRAIN))
    write(folder, "annotations/test2017", published(TEST))
    every = TRAIN | TEST
    # Of the merged labels, which lack a ship in each image: only the names may be read.
    write(folder, "inshore_offshore/inshore", published({name: every[name][1:] for name in INSHORE}))
    offshore = {name: ships[1:] for name, ships in every.items() if name not in INSHORE}
    write(folder, "inshore_offshore/offshore", published(offshore))
    return folder


def write(folder, name, document):
    (folder / f"{name}.json").write_text(json.dumps(document))


def change(folder, name, edit):
    document = json.loads((folder / f"{name}.json").read_text())
    edit(document)
    write(folder, name, document)


def read(folder, name):
    return json.loads((folder / "annotations" / f"{name}.json").read_text())


def test_the_official_split(root, tmp_path, capsys):
    made = tmp_path / "made"
    hrsid.convert(root.parent, made, contents=CONTENTS)
    assert hrsid.is_prepared(root.parent, made, contents=CONTENTS)
    assert "5 of 5 images checked" in capsys.readouterr().out
    images = {
        name: [(image["id"], image["file_name"]) for image in read(made, f"official/{name}")["images"]]
        for name in CONTENTS.counts
    }
    assert images == {
        "train": [(2, "P0001_0_800_600_1400.jpg"), (3, "P0002_0_800_0_800.jpg"), (5, "P0137_7.jpg")],
        "test": [(1, "P0001_0_800_0_800.jpg"), (4, "P0003_0_800_0_800.jpg")],
        "test_inshore": [(1, "P0001_0_800_0_800.jpg")],
        "test_offshore": [(4, "P0003_0_800_0_800.jpg")],
    }
    found = [(a["id"], a["image_id"], a["bbox"], a["area"]) for a in read(made, "official/test")["annotations"]]
    first, second = (
        [(1, 1, [2, 3, 4, 5], 20), (2, 1, [10, 10, 3, 3], 9)],
        [(6, 4, [5, 5, 3, 9], 27), (7, 4, [12, 12, 8, 2], 16)],
    )
    assert found == first + second
    # With the labels of test2017.json, not with those of the shores' own files.
    for name, expected in (("inshore", first), ("offshore", second)):
        document = read(made, f"official/test_{name}")
        assert [(a["id"], a["image_id"], a["bbox"], a["area"]) for a in document["annotations"]] == expected
    for name in CONTENTS.counts:
        annotations = made / "annotations/official" / f"{name}.json"
        assert lint(annotations, hrsid.images_folder(root)).errors == ()
        assert CocoInstances(root / "JPEGImages", annotations, train=True).class_names == ["ship"]


@pytest.mark.parametrize("name", ["official/train", "official/test", "official/test_inshore", "official/test_offshore"])
def test_ground_truth_scores_exactly_100(root, tmp_path, name):
    hrsid.convert(root, tmp_path / "made", contents=CONTENTS)
    truth = read(tmp_path / "made", name)
    for iou_type in ("segm", "bbox"):
        scores = evaluate(truth, [a | {"score": 0.9} for a in truth["annotations"]], iou_type)
        assert scores[f"{iou_type}/AP"] == scores[f"{iou_type}/AR100"] == 100.0


def test_no_scene_is_on_both_sides_of_the_split_by_scenes(root, tmp_path):
    hrsid.convert(root, tmp_path / "made", contents=CONTENTS)
    documents = [read(tmp_path / "made", f"scenes/{side}") for side in ("train", "test")]
    names = [{image["file_name"] for image in document["images"]} for document in documents]
    assert not names[0] & names[1] and names[0] | names[1] == set(TRAIN | TEST)
    assert sum(len(document["annotations"]) for document in documents) == 8
    scenes = [{name.split("_")[0] for name in side} for side in names]
    assert not scenes[0] & scenes[1]


def test_scenes_are_drawn_once_for_all():
    names = [f"P{scene:04d}_{k}.jpg" for scene in range(1, 138) for k in range(1 + scene % 60)]
    test = hrsid.choose_test(names)
    assert test == hrsid.choose_test(names[::-1]) == sorted(set(test))
    assert 0.34 * len(names) < len(test) <= 0.35 * len(names) + 1
    scenes, others = ({name[:5] for name in side} for side in (test, set(names) - set(test)))
    assert not scenes & others
    for first, second in hrsid.SAME_IMAGE:
        assert (first in scenes) == (second in scenes)


def test_an_older_release_has_no_shores(root, tmp_path, capsys):
    (root / "inshore_offshore").rename(tmp_path / "away")
    hrsid.convert(root, tmp_path / "made", contents=CONTENTS)
    assert "no annotations by shore are written" in capsys.readouterr().out
    assert sorted(path.stem for path in (tmp_path / "made/annotations/official").iterdir()) == ["test", "train"]


def shorten(document):
    del document["annotations"][0]["segmentation"][0][5:]


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        (
            "annotations/train2017",
            lambda d: d["annotations"].pop(),
            "train has 3 images and 3 ships, there must be 3 and 4",
        ),
        ("annotations/test2017", lambda d: d["annotations"][0].update(image_id=7), "refers to no image"),
        ("annotations/test2017", lambda d: d["categories"][0].update(name="boat"), "names boat, HRSID's only class"),
        (
            "annotations/test2017",
            lambda d: d["images"][0].update(file_name="P0137_7.jpg"),
            r"P0137_7\.jpg is in train2017",
        ),
        (
            "annotations/test2017",
            lambda d: d["images"][0].update(width=25),
            "the annotations belong to an image of 25 x 24",
        ),
        ("annotations/test2017", shorten, "test2017.json: annotation 0: .*fewer than three points"),
        (
            "inshore_offshore/inshore",
            lambda d: d["images"].pop(0),
            r"P0001_0_800_0_800\.jpg is in both of its files or in none",
        ),
    ],
)
def test_other_labels_are_refused(root, tmp_path, name, edit, message):
    change(root, name, edit)
    with pytest.raises(DataError, match=message):
        hrsid.convert(root, tmp_path / "made", contents=CONTENTS)
    assert [path.name for path in tmp_path.iterdir()] == ["downloads"]


def test_what_is_missing_is_named(root, tmp_path):
    (root / "JPEGImages" / "P0137_7.jpg").unlink()
    with pytest.raises(DataError, match=r"P0137_7\.jpg: is missing"):
        hrsid.convert(root, tmp_path / "made", contents=CONTENTS)
    (root / "annotations" / "train2017.json").unlink()
    with pytest.raises(DataError, match=r"no annotations/train2017\.json in it; unpack HRSID_JPG\.zip"):
        hrsid.images_folder(root)
