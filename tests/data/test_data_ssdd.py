"""SSDD's conversion on small made folders of the published layout."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from reprolib.data.coco import CocoInstances
from reprolib.data.errors import DataError
from reprolib.data.lint import lint
from reprolib.data.sets.ssdd import convert as ssdd
from reprolib.evaluation.coco import evaluate

WIDTH, HEIGHT = 40, 30
# Number of a file -> its ships. 1 and 9 are test, 1 inshore.
SHIPS = {
    1: [(2, 3, 10, 10), (20, 5, 8, 4)],
    2: [(0, 0, 5, 5), (20, 20, 6, 6)],
    9: [(10, 10, 20, 10), (1, 1, 4, 5)],
    10: [(1, 1, 3, 20), (30, 2, 9, 9)],
}
COUNTS = {
    "official/train": (2, 4),
    "official/test": (2, 4),
    "official/test_inshore": (1, 2),
    "official/test_offshore": (1, 2),
    "own/train": (3, 6),
    "own/test": (1, 2),
}
CONTENTS = ssdd.Contents(counts=COUNTS, inshore=("000001.jpg",), own_test=("000002.jpg",))


def corners(x, y, width, height):
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def xml(number, ships):
    points = [corners(*ship) for ship in ships]
    objects = "".join(
        "<object><name>ship</name><segm>"
        + "".join(f"<point>{x},{y}</point>" for x, y in zip(flat[::2], flat[1::2], strict=True))
        + "</segm></object>"
        for flat in points
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation>\n<filename>{number:06d}.jpg</filename>{size}{objects}</annotation>"


@pytest.fixture
def voc(tmp_path):
    """voc_style in an archive's folder that is doubled; lists end their lines in CR LF."""
    folder = tmp_path / "SSDD/Official-SSDD-OPEN/Official-SSDD-OPEN/PSeg_SSDD/voc_style"
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, ships in SHIPS.items():
        (folder / f"Annotations/{number:06d}.xml").write_text(xml(number, ships))
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"JPEGImages/{number:06d}.jpg")
    lists = {"train": (2, 10), "test": (1, 9), "test_inshore": (1,), "test_offshore": (9,)}
    for name, numbers in lists.items():
        lines = "".join(f"{number:06d}\r\n" for number in numbers)
        (folder / f"ImageSets/Main/{name}.txt").write_bytes(lines.encode())
    return folder


@pytest.fixture
def source(voc, tmp_path):
    return tmp_path / "SSDD" / "Official-SSDD-OPEN"


@pytest.fixture
def older(voc, tmp_path):
    """A folder of SSDD.json and images/: ids from 0, boxes and areas too large; and what it must hold."""
    folder = tmp_path / "older"
    (folder / "images").mkdir(parents=True)
    for image in (voc / "JPEGImages").iterdir():
        (folder / "images" / image.name).write_bytes(image.read_bytes())
    shapes = [(k, ship) for k, ships in enumerate(SHIPS.values()) for ship in ships]
    document = {
        "images": [
            {"id": k, "file_name": f"{n:06d}.jpg", "width": WIDTH, "height": HEIGHT, "license": None}
            for k, n in enumerate(SHIPS)
        ],
        "annotations": [
            {
                "id": k,
                "image_id": image,
                "category_id": 1,
                "iscrowd": 0,
                "segmentation": [[float(side) for side in corners(*ship)]],
                "bbox": [ship[0], ship[1], ship[2] + 1, ship[3] + 1],
                "area": ship[2] * ship[3] + 30.0,
            }
            for k, (image, ship) in enumerate(shapes)
        ],
        "categories": [{"supercategory": None, "id": 1, "name": "ship"}],
    }
    text = json.dumps(document)
    (folder / "SSDD.json").write_text(text)
    return folder, replace(CONTENTS, json=hashlib.sha256(text.encode()).hexdigest())


def read(folder, name):
    return json.loads((folder / "annotations" / f"{name}.json").read_text())


def ships(document):
    return [(a["id"], a["image_id"], a["bbox"], a["area"], a["segmentation"]) for a in document["annotations"]]


def test_both_splits_of_the_official_labels(source, voc, tmp_path, capsys):
    made = tmp_path / "made"
    ssdd.convert(source, made, contents=CONTENTS)
    assert ssdd.is_prepared(source, made, contents=CONTENTS)
    assert "4 of 4 images checked" in capsys.readouterr().out
    found = {name: [image["file_name"][:6] for image in read(made, name)["images"]] for name in COUNTS}
    assert found == {
        "official/train": ["000002", "000010"],
        "official/test": ["000001", "000009"],
        "official/test_inshore": ["000001"],
        "official/test_offshore": ["000009"],
        "own/train": ["000001", "000009", "000010"],
        "own/test": ["000002"],
    }
    test = read(made, "official/test")
    assert [image["id"] for image in test["images"]] == [1, 3]
    assert ships(test) == [
        (1, 1, [2, 3, 10, 10], 100, [corners(2, 3, 10, 10)]),
        (2, 1, [20, 5, 8, 4], 32, [corners(20, 5, 8, 4)]),
        (5, 3, [10, 10, 20, 10], 200, [corners(10, 10, 20, 10)]),
        (6, 3, [1, 1, 4, 5], 20, [corners(1, 1, 4, 5)]),
    ]
    assert test["categories"] == [{"id": 1, "name": "ship"}]
    assert ssdd.images_folder(source) == voc / "JPEGImages" == ssdd.images_folder(voc)
    for name in COUNTS:
        annotations = made / "annotations" / f"{name}.json"
        assert lint(annotations, voc / "JPEGImages").errors == ()
        assert len(CocoInstances(voc / "JPEGImages", annotations, train=True)) == COUNTS[name][0]


def test_the_older_labels_are_renumbered_and_measured(older, source, tmp_path):
    folder, contents = older
    ssdd.convert(folder, tmp_path / "older_made", contents=contents)
    ssdd.convert(source, tmp_path / "made", contents=CONTENTS)
    for name in COUNTS:
        assert ships(read(tmp_path / "older_made", name)) == ships(read(tmp_path / "made", name))
    assert ssdd.images_folder(folder) == folder / "images"
    assert not ssdd.is_prepared(folder, tmp_path / "older_made", contents=CONTENTS)
    # The same labels may lie elsewhere, beside the images of the official archive.
    ssdd.convert(source, tmp_path / "both", contents=contents, annotations=folder / "SSDD.json")
    assert read(tmp_path / "both", "own/train") == read(tmp_path / "older_made", "own/train")
    with pytest.raises(DataError, match=r"SSDD\.json: unreadable .* name it in the option `annotations`"):
        ssdd.convert(source, tmp_path / "both", contents=contents)
    (folder / "SSDD.json").write_text("{}")
    with pytest.raises(DataError, match=rf"the published SSDD\.json has {contents.json}"):
        ssdd.convert(folder, tmp_path / "both", contents=contents)


@pytest.mark.parametrize("labels", ["official", "hq_isnet"])
def test_ground_truth_scores_exactly_100(source, older, tmp_path, labels):
    folder, contents = older if labels == "hq_isnet" else (source, CONTENTS)
    ssdd.convert(folder, tmp_path / "made", contents=contents)
    for name in COUNTS:
        truth = read(tmp_path / "made", name)
        for iou_type in ("segm", "bbox"):
            scores = evaluate(truth, [a | {"score": 0.9} for a in truth["annotations"]], iou_type)
            assert scores[f"{iou_type}/AP"] == scores[f"{iou_type}/AR100"] == 100.0


def test_other_bytes_are_taken_and_said(source, voc, tmp_path, capsys):
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(voc.rglob("*.xml"))]
    contents = replace(CONTENTS, manifest=hashlib.sha256("".join(lines).encode()).hexdigest())
    ssdd.convert(source, tmp_path / "made", contents=contents)
    assert "manifest" not in capsys.readouterr().out
    path = voc / "Annotations" / "000002.xml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    ssdd.convert(source, tmp_path / "made", contents=contents)
    assert f"those of the known copy {contents.manifest}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<name>ship", "<name>boat", "`name` is 'boat', the only class is ship"),
        ("<point>0,0</point><point>5,0</point>", "", "an object has 2 `segm/point`"),
        ("<point>0,0", "<point>0;0", "000002.xml: not an annotation"),
        ("<width>40", "<width>", "000002.xml: not an annotation"),
        ("</annotation>", "", "000002.xml: not an annotation"),
        ("000002.jpg", "000003.jpg", r"`filename` is '000003\.jpg', it must be 000002\.jpg"),
        ("<width>40", "<width>41", r"000002\.jpg: 40 x 30 RGB, the annotations belong to an image of 41 x 30"),
        ("<object>", "<!--", "000002.xml: not an annotation"),
    ],
)
def test_bad_labels_are_named_and_nothing_is_left(source, voc, tmp_path, old, new, message):
    path = voc / "Annotations" / "000002.xml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        ssdd.convert(source, tmp_path / "made", contents=CONTENTS)
    assert [path.name for path in tmp_path.iterdir()] == ["SSDD"]


def test_other_sets_are_refused(source, voc, tmp_path):
    def refused(message, **changes):
        with pytest.raises(DataError, match=message):
            ssdd.convert(source, tmp_path / "made", contents=replace(CONTENTS, **changes))

    other = COUNTS | {"official/train": (2, 5)}
    refused("official/train has 2 images and 4 ships, there must be 2 and 5", counts=other)
    refused(r"test_inshore\.txt: 000001\.jpg is in it", inshore=("000009.jpg",))
    refused("the list of own/test names 1 unknown images", own_test=("000002.jpg", "000003.jpg"))
    (voc / "ImageSets/Main/train.txt").write_text("000002\n")
    refused(r"train\.txt: 000010\.jpg is not in it")
    (voc / "ImageSets/Main/train.txt").unlink()
    refused(r"train\.txt: unreadable list")
    (voc / "JPEGImages/000009.jpg").unlink()
    refused(r"000009\.jpg: is missing")
    (tmp_path / "SSDD/Official-SSDD-OPEN/PSeg_SSDD").mkdir()
    (voc.parent.parent / "PSeg_SSDD").rename(tmp_path / "SSDD/PSeg")
    refused("holds no PSeg_SSDD/voc_style; unpack Official-SSDD-OPEN")
    (tmp_path / "SSDD/PSeg").rename(voc.parent)
    (tmp_path / "SSDD/Official-SSDD-OPEN/PSeg_SSDD/voc_style").mkdir()
    refused("holds both ")


def test_committed_lists():
    every = {f"{number:06d}.jpg" for number in range(1, 1161)}
    for contents in (ssdd.official(), ssdd.hq_isnet()):
        for names, count in ((contents.inshore, 46), (contents.own_test, 348)):
            assert len(names) == count and list(names) == sorted(set(names)) and set(names) <= every
        assert all(name[-5] in "19" for name in contents.inshore)
        for split in ("official", "own"):
            sides = [contents.counts[f"{split}/{side}"] for side in ("train", "test")]
            assert [sum(both) for both in zip(*sides, strict=True)] == [1160, 2586 if contents.json else 2587]


def test_the_own_split_is_drawn_by_the_number_of_ships():
    counts = {f"{k:06d}.jpg": 1 + k % 10 for k in range(200)}
    chosen = ssdd.choose_test(counts)
    assert len(chosen) == 60 and sum(counts[name] >= ssdd.MANY_SHIPS for name in chosen) == 36
    assert sum(counts[name] == 3 for name in chosen) == 6
