"""NWPU VHR-10's conversion on small made archives and folders of the published layout."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from reprolib.data.catalog import prepare
from reprolib.data.coco import CocoInstances
from reprolib.data.errors import DataError
from reprolib.data.lint import lint
from reprolib.data.sets.nwpu_vhr10 import convert as nwpu_vhr10
from reprolib.evaluation.coco import evaluate

NAMES = ("001.jpg", "002.jpg", "003.jpg")
WIDTH, HEIGHT = 40, 30


def rectangle(x, y, width, height):
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def document() -> dict:
    """As published: ids from 0, boxes and areas larger than the polygons, null fields; one object of two parts."""
    shapes = [(0, 1, [rectangle(2, 3, 10, 10)]), (1, 2, [rectangle(0, 0, 5, 4), rectangle(20, 4, 5, 5)])]
    shapes += [(1, 1, [rectangle(8, 8, 6, 3)]), (2, 2, [rectangle(30, 20, 10, 10)])]
    return {
        "info": {"description": None},
        "licenses": [{"url": None, "id": 0, "name": None}],
        "images": [
            {"id": k, "file_name": name, "width": WIDTH, "height": HEIGHT, "license": 0, "date_captured": None}
            for k, name in enumerate(NAMES)
        ],
        "annotations": [
            {
                "id": k,
                "image_id": image,
                "category_id": category,
                "segmentation": polygons,
                "bbox": [polygons[0][0], polygons[0][1], 11, 11],
                "area": 140.0,
                "iscrowd": 0,
            }
            for k, (image, category, polygons) in enumerate(shapes)
        ],
        "categories": [{"id": 1, "name": "airplane", "supercategory": None}, {"id": 2, "name": "ship"}],
    }


@pytest.fixture
def images() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    found = {}
    for name in NAMES:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(buffer, "JPEG")
        found[name] = buffer.getvalue()
    return found


@pytest.fixture
def contents(document, images) -> nwpu_vhr10.Contents:
    return nwpu_vhr10.Contents(
        images=3,
        annotations=sha256(json.dumps(document).encode()),
        manifest=sha256("".join(f"{sha256(images[name])}  {name}\n" for name in NAMES).encode()),
        validation={"own": ("002.jpg",), "public": ("001.jpg", "003.jpg")},
    )


@pytest.fixture
def folder(tmp_path, document, images):
    """As copied elsewhere: images/ and annotations.json."""
    made = tmp_path / "copied"
    (made / "images").mkdir(parents=True)
    for name, content in images.items():
        (made / "images" / name).write_bytes(content)
    (made / "annotations.json").write_text(json.dumps(document))
    return made


@pytest.fixture
def archive(tmp_path, images):
    """As published: no annotations of instances, and another set of images with the same file names."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as written:
        for name, content in images.items():
            written.writestr(f"NWPU VHR-10 dataset/positive image set/{name}", content)
            written.writestr(f"NWPU VHR-10 dataset/negative image set/{name}", b"other")
        written.writestr("NWPU VHR-10 dataset/ground truth/001.txt", "(1,2),(3,4),1")
    return tmp_path / "x.zip"


def listing(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_conversion(tmp_path, folder, contents, images, capsys):
    target = tmp_path / "made"
    nwpu_vhr10.convert(folder, target, contents=contents)
    assert nwpu_vhr10.is_prepared(target, contents=contents)
    assert "3 of 3 images copied" in (printed := capsys.readouterr().out) and "manifest" not in printed
    assert {path.name: path.read_bytes() for path in (target / "images").iterdir()} == images
    for split, train, val in (("own", [1, 3], [2]), ("public", [2], [1, 3])):
        for side, ids in (("train", train), ("val", val)):
            annotations = target / "annotations" / split / f"{side}.json"
            found = lint(annotations, target / "images")
            assert found.errors == () and not [w for w in found.warnings if "without instances" not in w]
            dataset = CocoInstances(target / "images", annotations, train=False)
            assert dataset.image_ids == ids and dataset.class_names == ["airplane", "ship"]


def test_ids_start_at_1_and_box_and_area_are_the_masks(tmp_path, folder, contents, document):
    nwpu_vhr10.convert(folder, tmp_path / "made", contents=contents)
    train, val = (
        json.loads((tmp_path / "made" / "annotations" / "own" / f"{side}.json").read_text())
        for side in ("train", "val")
    )
    assert [image["id"] for image in train["images"]] == [1, 3]
    assert [a["id"] for a in train["annotations"]] == [1, 4] and [a["id"] for a in val["annotations"]] == [2, 3]
    assert [(a["bbox"], a["area"]) for a in train["annotations"]] == [([2, 3, 10, 10], 100), ([30, 20, 10, 10], 100)]
    assert [(a["bbox"], a["area"]) for a in val["annotations"]] == [([0, 0, 25, 9], 45), ([8, 8, 6, 3], 18)]
    assert [a["segmentation"] for a in val["annotations"]] == [a["segmentation"] for a in document["annotations"][1:3]]
    assert None not in [value for a in (train | val)["images"] for value in a.values()]


def test_what_is_written_stays_the_same(tmp_path, folder, contents):
    """Prepared sets are fingerprinted: another byte would train every run again. Then VERSION goes up."""
    nwpu_vhr10.convert(folder, tmp_path / "made", contents=contents)
    assert {
        path.relative_to(tmp_path / "made").as_posix(): sha256(path.read_bytes())[:16]
        for path in sorted((tmp_path / "made").rglob("*.json"))
    } == {
        "annotations/own/train.json": "0e2e243e566f1307",
        "annotations/own/val.json": "ddb426d62f0c786c",
        "annotations/public/train.json": "ddb426d62f0c786c",
        "annotations/public/val.json": "0e2e243e566f1307",
        "prepared.json": "15a1116b916a0da4",
    }


def test_zip_and_folder_give_the_same_bytes(tmp_path, folder, archive, contents):
    nwpu_vhr10.convert(folder, tmp_path / "a", contents=contents)
    assert nwpu_vhr10.holds_annotations(folder) and not nwpu_vhr10.holds_annotations(archive)
    nwpu_vhr10.convert(archive, tmp_path / "b", contents=contents, annotations=folder / "annotations.json")
    nwpu_vhr10.convert(folder / "images", tmp_path / "c", contents=contents, annotations=folder / "annotations.json")
    assert listing(tmp_path / "a") == listing(tmp_path / "b") == listing(tmp_path / "c")


def test_the_annotations_are_found_by_their_checksum(tmp_path, folder, contents, document):
    document["annotations"][0]["category_id"] = 2
    (folder / "other").mkdir()
    (folder / "other" / "annotations.json").write_text(json.dumps(document))
    nwpu_vhr10.convert(folder, tmp_path / "made", contents=contents)
    (folder / "annotations.json").unlink()
    with pytest.raises(DataError, match=rf"{contents.annotations} is needed, .*copied/other/annotations\.json has "):
        nwpu_vhr10.convert(folder, tmp_path / "again", contents=contents)
    (folder / "other" / "annotations.json").unlink()
    with pytest.raises(DataError, match="copied has none; see the card"):
        nwpu_vhr10.convert(folder, tmp_path / "again", contents=contents)
    assert not (tmp_path / "again").exists() and not (tmp_path / "again.part").exists()


def test_images_of_other_bytes_are_taken_and_said(tmp_path, folder, contents, capsys):
    with (folder / "images" / "002.jpg").open("ab") as file:
        file.write(b"\0")
    nwpu_vhr10.convert(folder, tmp_path / "made", contents=contents)
    assert f"those of the known copy {contents.manifest}" in capsys.readouterr().out


def test_bad_images_are_named_and_nothing_is_left(tmp_path, folder, contents):
    def refused(message):
        with pytest.raises(DataError, match=message):
            nwpu_vhr10.convert(folder, tmp_path / "made", contents=contents)
        assert [path.name for path in tmp_path.iterdir()] == ["copied"]

    place = folder / "images" / "003.jpg"
    content = place.read_bytes()
    place.write_bytes(content[: len(content) // 2])
    refused(r"images/003\.jpg: unreadable image")
    Image.new("RGB", (WIDTH + 1, HEIGHT)).save(place)
    refused(r"003\.jpg: 41 x 30 RGB, the annotations belong to an image of 40 x 30 RGB")
    Image.new("L", (WIDTH, HEIGHT)).save(place)
    refused(r"003\.jpg: 40 x 30 L")
    place.unlink()
    refused(r"1 of 3 images are missing, the first is 003\.jpg")
    place.write_bytes(content)
    (folder / "positive image set").mkdir()
    (folder / "positive image set" / "003.jpg").write_bytes(content)
    refused(r"holds both .*images/003\.jpg and .*positive image set/003\.jpg")


def test_what_is_no_source(tmp_path, contents):
    with pytest.raises(DataError, match="no such archive"):
        nwpu_vhr10.convert(tmp_path / "none.zip", tmp_path / "made", contents=contents)
    (tmp_path / "x.rar").write_bytes(b"Rar!")
    with pytest.raises(DataError, match="unpack it and give the folder"):
        nwpu_vhr10.convert(tmp_path / "x.rar", tmp_path / "made", contents=contents)


def test_what_is_prepared_follows_files_and_lists(tmp_path, folder, contents):
    made = tmp_path / "made"
    nwpu_vhr10.convert(folder, made, contents=contents)
    other = replace(contents, validation={"own": ("003.jpg",), "public": ("001.jpg", "003.jpg")})
    assert not nwpu_vhr10.is_prepared(made, contents=other)
    (made / "images" / "001.jpg").unlink()
    assert not nwpu_vhr10.is_prepared(made, contents=contents)
    nwpu_vhr10.convert(folder, made, contents=contents)
    (made / "annotations" / "public" / "val.json").write_text("{}")
    assert not nwpu_vhr10.is_prepared(made, contents=contents)
    assert not nwpu_vhr10.is_prepared(tmp_path / "nowhere", contents=contents)


def test_validation_names_must_be_images(tmp_path, folder, contents):
    with pytest.raises(DataError, match=r"split 'own' names 1 unknown images: 004\.jpg"):
        nwpu_vhr10.convert(
            folder, tmp_path / "made", contents=replace(contents, validation={"own": ("001.jpg", "004.jpg")})
        )


def test_committed_splits():
    contents = nwpu_vhr10.published()
    every = {f"{number:03d}.jpg" for number in range(1, contents.images + 1)}
    for split, count in (("own", 195), ("public", 130)):
        names = contents.validation[split]
        assert len(names) == count and list(names) == sorted(set(names)) and set(names) <= every


def test_validation_is_drawn_by_the_classes_in_an_image():
    kinds = [frozenset("a"), frozenset("b"), frozenset("ab"), frozenset("abc")]
    classes = {f"{k:03d}.jpg": kinds[min(k // 40, 3)] for k in range(122)}  # strata of 40, 40, 40 and 2
    chosen = nwpu_vhr10.choose_validation(classes)
    assert chosen == nwpu_vhr10.choose_validation(dict(reversed(classes.items())))
    assert chosen != sorted(classes)[: len(chosen)] and len(chosen) == round(0.3 * 122) == 37
    assert [sum(classes[name] == kind for name in chosen) for kind in kinds] == [12, 12, 12, 1]


def test_by_name_from_a_folder_once_and_with_either_split(tmp_path, folder, contents, monkeypatch):
    monkeypatch.setattr(nwpu_vhr10, "published", lambda: contents)
    root = tmp_path / "data"
    prepared = prepare("nwpu_vhr10", {"from_dir": str(folder)}, root=root)
    assert prepared.splits["val"].annotations == root / "nwpu_vhr10/annotations/own/val.json"
    assert prepared.splits["train"].images == prepared.splits["val"].images == root / "nwpu_vhr10/images"
    other = prepare("nwpu_vhr10", {"from_archive": "no longer there", "split": "public"}, root=root)
    assert other.splits["train"].annotations == root / "nwpu_vhr10/annotations/public/train.json"
    with pytest.raises(DataError, match="split '7:3' is unknown; known are own, public"):
        prepare("nwpu_vhr10", {"split": "7:3"}, root=root)
    with pytest.raises(DataError, match="unknown option 'path'"):
        prepare("nwpu_vhr10", {"path": "x"}, root=root)


def test_by_name_from_the_published_urls(tmp_path, folder, archive, contents, monkeypatch):
    """The zip has no instance annotations: they are fetched too, and checked."""
    calls = []

    def download(urls, target, **checks):
        calls.append((urls, checks))
        return folder / "annotations.json" if target.suffix == ".json" else archive

    monkeypatch.setattr(nwpu_vhr10, "published", lambda: contents)
    monkeypatch.setattr("reprolib.data.acquire.fetch.download", download)
    prepared = prepare("nwpu_vhr10", {}, root=tmp_path / "data")
    images, labels = prepared.card.files
    assert calls == [
        (images.urls, {"sha256": "", "md5": images.md5, "size": 0}),
        (labels.urls, {"sha256": labels.sha256, "md5": labels.md5, "size": labels.bytes}),
    ]
    assert prepared.splits["val"].annotations.is_file()


def test_ground_truth_scores_exactly_100(tmp_path, folder, contents):
    nwpu_vhr10.convert(folder, tmp_path / "made", contents=contents)
    train, val = (
        json.loads((tmp_path / "made" / "annotations" / "own" / f"{side}.json").read_text())
        for side in ("train", "val")
    )
    truth = train | {field: train[field] + val[field] for field in ("images", "annotations")}
    for iou_type in ("segm", "bbox"):
        scores = evaluate(truth, [a | {"score": 0.9} for a in truth["annotations"]], iou_type)
        assert scores[f"{iou_type}/AP"] == scores[f"{iou_type}/AR100"] == 100.0
