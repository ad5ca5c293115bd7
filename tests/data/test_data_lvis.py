"""LVIS v1's files: what is checked, and that the loader, the lint and the evaluation read them as they are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from reprolib.data.coco import CocoInstances
from reprolib.data.errors import DataError
from reprolib.data.lint import lint
from reprolib.data.sets.lvis import convert as lvis
from reprolib.evaluation.coco import evaluate

HOST = "http://images.cocodataset.org"
CONTENTS = lvis.Contents(
    images={"train": 1, "val": 2},
    instances={"train": None, "val": 3},
    folders={"train": None, "val": {"val2017": 1, "train2017": 1}},
    frequencies={"r": 1, "c": 1, "f": 1},
)


def document(names, shapes):
    """Images by folder and file; shapes: (image, category, x, y, side)."""
    return {
        "info": {"version": "v1.0"},
        "images": [
            {
                "id": number,
                "coco_url": f"{HOST}/{name}",
                "width": 30,
                "height": 20,
                "neg_category_ids": [3],
                "not_exhaustive_category_ids": [2],
                "license": 3,
            }
            for name, number in names.items()
        ],
        "annotations": [
            {
                "id": k,
                "image_id": image,
                "category_id": category,
                "area": float(s * s),
                "bbox": [x, y, s, s],
                "segmentation": [[x, y, x + s, y, x + s, y + s, x, y + s]],
            }
            for k, (image, category, x, y, s) in enumerate(shapes, start=1)
        ],
        "categories": [
            {"id": k, "name": name, "frequency": tag, "synset": f"{name}.n.01"}
            for k, (name, tag) in enumerate((("acorn", "r"), ("aerosol", "c"), ("apple", "f")), start=1)
        ],
    }


@pytest.fixture
def files(tmp_path):
    """(annotation files by split, the folder of train2017 and val2017)."""
    documents = {
        "train": document({"train2017/000000000009.jpg": 9}, [(9, 1, 2, 2, 10), (9, 1, 15, 3, 9)]),
        "val": document(
            {"val2017/000000000007.jpg": 7, "train2017/000000000025.jpg": 25},
            [(7, 2, 2, 2, 10), (25, 2, 4, 4, 8), (25, 2, 14, 4, 12)],
        ),
    }
    annotations = {}
    for split, made in documents.items():
        annotations[split] = tmp_path / f"lvis_v1_{split}.json"
        annotations[split].write_text(json.dumps(made))
        for image in made["images"]:
            path = tmp_path / "coco" / image["coco_url"].removeprefix(f"{HOST}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    return annotations, tmp_path / "coco"


def test_files_are_checked_once(files, tmp_path, capsys):
    annotations, images = files
    folder = tmp_path / "checked"
    assert not lvis.is_checked(annotations, images, folder, contents=CONTENTS)
    lvis.check(annotations, images, folder, contents=CONTENTS)
    assert "val, 2 images and their annotations checked" in capsys.readouterr().out
    assert lvis.is_checked(annotations, images, folder, contents=CONTENTS)
    annotations["val"].write_text(annotations["val"].read_text() + " ")
    assert not lvis.is_checked(annotations, images, folder, contents=CONTENTS)
    annotations["val"].unlink()
    assert not lvis.is_checked(annotations, images, folder, contents=CONTENTS)


def test_loader_and_lint_read_them_as_they_are(files):
    annotations, images = files
    assert lint(annotations["val"], images).errors == ()
    dataset = CocoInstances(images, annotations["val"], train=False)
    assert dataset.image_ids == [7, 25] and dataset.class_names == ["acorn", "aerosol", "apple"]
    assert dataset.image_path(1) == images / "train2017" / "000000000025.jpg"
    _, target = dataset[1]
    assert target["iscrowd"].tolist() == [0, 0] and target["labels"].tolist() == [2, 2]
    assert len(CocoInstances(images, annotations["val"], train=True)) == 2
    truth = json.loads(annotations["val"].read_text())
    assert truth["images"][0]["neg_category_ids"] == [3] and truth["categories"][0]["frequency"] == "r"


@pytest.mark.parametrize("split", ["train", "val"])
def test_ground_truth_scores_exactly_100(files, split):
    truth = json.loads(files[0][split].read_text())
    for iou_type in ("segm", "bbox"):
        scores = evaluate(truth, [a | {"score": 0.9} for a in truth["annotations"]], iou_type, max_detections=300)
        assert scores[f"{iou_type}/AP"] == scores[f"{iou_type}/AR300"] == 100.0


def test_images_missing_in_one_folder_are_counted(files, tmp_path):
    annotations, images = files
    (images / "train2017" / "000000000025.jpg").unlink()
    message = (
        r"coco: 1 of the 2 images of LVIS's val are missing \(1 of train2017\), the first is"
        r" train2017/000000000025\.jpg; lvis_v1_val\.json names images of train2017 and val2017"
    )
    with pytest.raises(DataError, match=message):
        lvis.check(annotations, images, tmp_path / "checked", contents=CONTENTS)
    assert not (tmp_path / "checked").exists()


def test_other_files_are_refused(files, tmp_path):
    annotations, images = files
    path = annotations["val"]
    before = path.read_text()

    def refused(message, edit):
        changed = json.loads(before)
        edit(changed)
        path.write_text(json.dumps(changed))
        with pytest.raises(DataError, match=message):
            lvis.check(annotations, images, tmp_path / "checked", contents=CONTENTS)

    refused("2 annotations, LVIS v1's val has 3", lambda d: d["annotations"].pop())
    refused(r"field 'frequency' .* has \{'r': 1, 'c': 1\}", lambda d: d["categories"].pop())
    refused("ids do not run from 1 to 3", lambda d: d["categories"][0].update(id=4))
    old = {"file_name": "COCO_val2014_000000000007.jpg"}  # as in v0.5
    refused(
        "image 7: `file_name` is 'COCO_val2014_000000000007.jpg', `coco_url` 'http",
        lambda d: d["images"][0].update(old),
    )
    refused("image 7: `neg_category_ids` is no list", lambda d: d["images"][0].pop("neg_category_ids"))
    refused("image 7: `not_exhaustive_category_ids`", lambda d: d["images"][0].update(not_exhaustive_category_ids=[8]))
    refused("annotation 1: `segmentation` is not a list", lambda d: d["annotations"][0]["segmentation"][0].pop())
    elsewhere = {"coco_url": f"{HOST}/val2017/000000000025.jpg"}
    refused(r"\{'val2017': 2\} images by folder", lambda d: d["images"][1].update(elsewhere))
    refused("refers to no category", lambda d: d["annotations"][0].update(category_id=9))
