"""BBBC038's conversion on small made archives of the same layout."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from reprolib.data.acquire.archives import Limits, checked_members, open_zip
from reprolib.data.catalog import prepare
from reprolib.data.coco import CocoInstances
from reprolib.data.errors import DataError
from reprolib.data.sets.bbbc038 import convert as bbbc038
from reprolib.evaluation.coco import evaluate


def png(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def name(k: int) -> str:
    return hashlib.sha256(str(k).encode()).hexdigest()


def mask(rows, columns, shape=(20, 24)) -> bytes:
    pixels = np.zeros(shape, np.uint8)
    pixels[rows, columns] = 255
    return png(pixels)


@pytest.fixture
def members() -> dict[str, bytes]:
    """Three images: gray, coloured, and one with two masks that overlap."""
    rng = np.random.default_rng(0)
    found = {"README.rst": b"text"}
    for k in range(3):
        colour = rng.integers(0, 256, (20, 24, 3), np.uint8) if k == 1 else np.full((20, 24, 3), 40 * k + 9, np.uint8)
        rgba = np.concatenate([colour, np.full((20, 24, 1), 255, np.uint8)], axis=2)
        found[f"stage1_train/{name(k)}/images/{name(k)}.png"] = png(rgba)
        found[f"stage1_train/{name(k)}/masks/{'a' * 64}.png"] = mask(slice(2, 8), slice(3, 9))
        found[f"stage1_train/{name(k)}/masks/{'b' * 64}.png"] = mask(slice(7, 12), slice(8, 14))
    return found


def contents_of(members, validation=(0,)) -> bbbc038.Contents:
    inside = {key: value for key, value in members.items() if key.startswith("stage1_train/")}
    lines = "".join(f"{hashlib.sha256(value).hexdigest()}  {key}\n" for key, value in sorted(inside.items()))
    return bbbc038.Contents(
        images=3,
        instances=6,
        manifest=hashlib.sha256(lines.encode()).hexdigest(),
        validation=tuple(name(k) for k in validation),
    )


def write_zip(path, members, *, top="repo-1234/"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, value in members.items():
            archive.writestr(top + key, value)
    return path


def listing(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_conversion(tmp_path, members, capsys):
    contents = contents_of(members)
    folder = tmp_path / "bbbc038"
    bbbc038.convert(write_zip(tmp_path / "x.zip", members), folder, contents=contents)
    assert bbbc038.is_prepared(folder, contents=contents)
    assert "3 of 3 images converted" in capsys.readouterr().out
    ids = sorted(name(k) for k in range(3))
    documents = {s: json.loads((folder / "annotations" / f"{s}.json").read_text()) for s in ("train", "val")}
    assert [i["file_name"] for i in documents["val"]["images"]] == [f"{name(0)}.png"]
    for document in documents.values():
        assert document["categories"][0] == {"id": 1, "name": "nucleus", "supercategory": "cell"}
        for image in document["images"]:
            assert image["id"] == ids.index(image["file_name"].removesuffix(".png")) + 1
    modes = {k: Image.open(folder / "images" / f"{name(k)}.png").mode for k in range(3)}
    assert modes == {0: "L", 1: "RGB", 2: "L"}
    dataset = CocoInstances(folder / "images", folder / "annotations" / "train.json", train=True)
    _, target = dataset[0]
    assert target["area"].tolist() == [36, 29]  # the shared pixel is the first mask's
    assert target["masks"].sum(0).max() == 1
    assert target["boxes"].tolist() == [[3, 2, 9, 8], [8, 7, 14, 12]]
    original = np.asarray(Image.open(io.BytesIO(members[f"stage1_train/{name(1)}/images/{name(1)}.png"])))
    assert np.array_equal(np.asarray(Image.open(folder / "images" / f"{name(1)}.png")), original[..., :3])


def test_conversion_is_reproducible_whatever_the_zip(tmp_path, members):
    contents = contents_of(members)
    bbbc038.convert(write_zip(tmp_path / "a.zip", members), tmp_path / "a", contents=contents)
    turned = dict(reversed(members.items()))
    bbbc038.convert(write_zip(tmp_path / "b.zip", turned, top=""), tmp_path / "b", contents=contents)
    assert listing(tmp_path / "a") == listing(tmp_path / "b")


def test_what_is_written_stays_the_same(tmp_path, members):
    """Prepared sets are fingerprinted: another byte would train every run again. Then VERSION goes up."""
    bbbc038.convert(write_zip(tmp_path / "x.zip", members), tmp_path / "made", contents=contents_of(members))
    assert {
        path.relative_to(tmp_path / "made").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted((tmp_path / "made" / "annotations").glob("*.json"))
    } == {"annotations/train.json": "a44927474a09a3b2", "annotations/val.json": "fcdfcada17733e64"}
    marker = json.loads((tmp_path / "made" / "prepared.json").read_text())
    assert set(marker) == {"version", "manifest", "sha256"} and set(marker["sha256"]) == {
        "annotations/train.json",
        "annotations/val.json",
    }


def test_one_changed_mask_is_noticed_and_nothing_is_left(tmp_path, members):
    contents = contents_of(members)
    members[f"stage1_train/{name(1)}/masks/{'a' * 64}.png"] = mask(slice(2, 8), slice(3, 10))
    with pytest.raises(DataError, match=r"manifest .* expected"):
        bbbc038.convert(write_zip(tmp_path / "x.zip", members), tmp_path / "bbbc038", contents=contents)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_what_was_there_is_replaced_only_by_a_whole_set(tmp_path, members):
    contents = contents_of(members)
    folder = tmp_path / "bbbc038"
    bbbc038.convert(write_zip(tmp_path / "x.zip", members), folder, contents=contents)
    (folder / "images" / f"{name(0)}.png").unlink()
    assert not bbbc038.is_prepared(folder, contents=contents)
    (tmp_path / "bbbc038.part").mkdir()  # what a killed process leaves
    (tmp_path / "bbbc038.part" / "junk").touch()
    bbbc038.convert(tmp_path / "x.zip", folder, contents=contents)
    assert bbbc038.is_prepared(folder, contents=contents) and not (folder / "junk").exists()
    (folder / "annotations" / "val.json").write_text("{}")
    assert not bbbc038.is_prepared(folder, contents=contents)
    assert not bbbc038.is_prepared(tmp_path / "nowhere", contents=contents)


def test_wrong_counts(tmp_path, members):
    contents = contents_of(members)
    del members[f"stage1_train/{name(2)}/masks/{'b' * 64}.png"]
    with pytest.raises(DataError, match="3 images and 5 masks, expected 3 and 6"):
        bbbc038.convert(write_zip(tmp_path / "x.zip", members), tmp_path / "out", contents=contents)


def test_validation_names_must_be_in_the_archive(tmp_path, members):
    contents = replace(contents_of(members), validation=("f" * 64,))
    with pytest.raises(DataError, match="the validation list names 1 unknown images"):
        bbbc038.convert(write_zip(tmp_path / "x.zip", members), tmp_path / "out", contents=contents)


@pytest.mark.parametrize("evil", ["../evil.png", "/evil.png", "a/../../evil.png", "a\\..\\evil.png", "C:/evil.png"])
def test_archives_that_point_outside_are_refused(tmp_path, members, evil):
    contents = contents_of(members)
    path = write_zip(tmp_path / "x.zip", members)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(evil, b"x")
    with pytest.raises(DataError, match="points out of the archive"):
        bbbc038.convert(path, tmp_path / "out", contents=contents)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_links_duplicates_and_bombs_are_refused(tmp_path):
    limits = Limits(files=3, file_bytes=1000, bytes=1500)
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    cases = {
        "is a link": [(link, b"/etc/passwd")],
        "unpacks to more": [("a", b"0" * 1001)],
        "more than expected": [("a", b"0" * 900), ("b", b"0" * 900)],
        "at most 3 files": [(str(k), b"") for k in range(4)],
        "in it twice": [("a", b"1"), ("a", b"2")],
    }
    for number, (message, entries) in enumerate(cases.items()):
        path = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for key, value in entries:
                archive.writestr(key, value)
        with open_zip(path) as archive, pytest.raises(DataError, match=message):
            checked_members(archive, limits)


def test_what_is_no_archive(tmp_path):
    (tmp_path / "x.zip").write_text("<!DOCTYPE html><html>quota exceeded</html>")
    with pytest.raises(DataError, match=r"x\.zip: not a zip archive \(it is a web page"):
        open_zip(tmp_path / "x.zip")
    with pytest.raises(DataError, match="no such archive"):
        open_zip(tmp_path / "none.zip")
    with pytest.raises(DataError, match="is a folder"):
        open_zip(tmp_path)


def test_damaged_archive_leaves_nothing(tmp_path, members):
    path = write_zip(tmp_path / "x.zip", members)
    content = bytearray(path.read_bytes())
    at = content.find(b"IDAT")
    content[at : at + 30] = b"\0" * 30
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.zip: damaged"):
        bbbc038.convert(path, tmp_path / "out", contents=contents_of(members))
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.part").exists()


def test_committed_split():
    names = bbbc038.corrected().validation
    assert len(names) == 132 and list(names) == sorted(set(names))
    assert all(len(name) == 64 for name in names)


def test_validation_is_drawn_by_stratum_and_keeps_groups_together():
    images = {name(k): (256, 256, k % 4 != 0, (k // 3,)) for k in range(200)}
    chosen = bbbc038.choose_validation(images)
    assert chosen == bbbc038.choose_validation(dict(reversed(images.items())))
    for gray in (True, False):
        stratum = [n for n, image in images.items() if image[2] is gray]
        assert len(set(chosen) & set(stratum)) == pytest.approx(0.2 * len(stratum), abs=2)
    groups = {}
    for key, image in images.items():
        groups.setdefault(image[2:], set()).add(key in chosen)
    assert all(len(sides) == 1 for sides in groups.values())


def test_the_original_annotations_are_a_set_of_their_own(tmp_path, members, monkeypatch):
    contents = contents_of(members)
    original = replace(contents, annotations="original")
    path = write_zip(tmp_path / "x.zip", members, top="")
    bbbc038.convert(path, tmp_path / "original", contents=original)
    bbbc038.convert(path, tmp_path / "corrected", contents=contents)
    documents = [
        json.loads((tmp_path / kind / "annotations" / "train.json").read_text()) for kind in ("original", "corrected")
    ]
    assert documents[0].pop("info")["description"] == "BBBC038 stage 1, original annotations, CC0"
    assert documents[1].pop("info")["description"] == "BBBC038 stage 1, corrected annotations, CC0"
    assert documents[0] == documents[1]
    monkeypatch.setitem(bbbc038.VARIANTS, "original", lambda: original)
    with pytest.raises(DataError, match="expected 4 and 6; these are the original annotations, set the option annot"):
        bbbc038.convert(path, tmp_path / "made", contents=replace(contents, images=4))
    assert bbbc038.corrected().manifest != bbbc038.original().manifest


@pytest.mark.parametrize("variant", ["corrected", "original"])
def test_the_card_of_a_variant_publishes_its_counts(tmp_path, members, monkeypatch, variant):
    whole, small = bbbc038.VARIANTS[variant](), replace(contents_of(members), annotations=variant)
    monkeypatch.setitem(bbbc038.VARIANTS, variant, lambda: small)
    options = {"annotations": variant, "from_archive": str(write_zip(tmp_path / "x.zip", members))}
    card = prepare("bbbc038", options, root=tmp_path / "data").card
    assert card.splits == {"train and val": {"images": whole.images, "instances": whole.instances}}
    assert variant in card.title


def test_ground_truth_scores_exactly_100(tmp_path, members):
    bbbc038.convert(write_zip(tmp_path / "x.zip", members), tmp_path / "made", contents=contents_of(members))
    for split in ("train", "val"):
        truth = json.loads((tmp_path / "made" / "annotations" / f"{split}.json").read_text())
        for iou_type in ("segm", "bbox"):
            scores = evaluate(truth, [a | {"score": 0.9} for a in truth["annotations"]], iou_type, max_detections=400)
            assert scores[f"{iou_type}/AP"] == scores[f"{iou_type}/AR400"] == 100.0
