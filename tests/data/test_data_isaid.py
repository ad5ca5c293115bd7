"""iSAID's tiles, the rules of what is dropped, and the conversion of small made images of the published layout."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from reprolib.data.coco import CocoInstances
from reprolib.data.errors import DataError
from reprolib.data.lint import lint
from reprolib.data.sets.isaid import convert as isaid
from reprolib.data.sets.isaid import tiles as isaid_tiles
from reprolib.data.sets.isaid.tiles import instances, pack, tile_name, windows
from reprolib.evaluation.coco import evaluate

SHIP, HARBOR = (0, 0, 63), (0, 100, 155)
FIRST, SECOND, THIRD = (64, 12, 70), (65, 12, 70), (0, 4, 0)  # ids; the last is 1024, just an instance
COLOURS = {colour: number for number, (_, colour) in enumerate(isaid.CLASSES, start=1)}


@pytest.mark.parametrize(("width", "height", "count"), [(884, 977, 4), (824, 1464, 6), (2557, 2086, 16), (801, 801, 4)])
def test_number_of_tiles(width, height, count):
    """As counted for the devkit's geometry on iSAID's own sizes."""
    found = windows(height, width)
    assert len(found) == len(set(found)) == count
    covered = np.zeros((height, width), bool)
    for y0, y1, x0, x1 in found:
        assert (y1 - y0, x1 - x0) == (800, 800) and y0 >= 0 and y1 <= height and x0 >= 0 and x1 <= width
        covered[y0:y1, x0:x1] = True
    assert covered.all()


def test_windows_end_at_the_border():
    assert [x for *_, x, _ in windows(801, 1400)] == [0, 0, 600, 600]  # a third would equal the second
    assert [x for *_, x, _ in windows(801, 1401)] == [0, 0, 600, 600, 601, 601]
    assert windows(801, 801) == [(0, 800, 0, 800), (1, 801, 0, 800), (0, 800, 1, 801), (1, 801, 1, 801)]


@pytest.mark.parametrize(("height", "width"), [(800, 4000), (4000, 800), (300, 400)])
def test_images_with_a_side_of_800_or_less_stay_whole(height, width):
    assert windows(height, width) == [(0, height, 0, width)]
    assert tile_name("P0001", (0, height, 0, width), height=height, width=width) == "P0001.png"


def test_names_of_tiles():
    names = [tile_name("P0001", window, height=801, width=1400) for window in windows(801, 1400)]
    assert names[:3] == ["P0001_0_800_0_800.png", "P0001_1_801_0_800.png", "P0001_0_800_600_1400.png"]


def test_colours_are_those_of_the_devkit():
    rgb = [(value & 255, value >> 8 & 255, value >> 16) for _, value in isaid.CLASSES]
    assert rgb[0] == SHIP and rgb[14] == HARBOR and rgb[8] == (0, 0, 127) and len(set(rgb)) == 15
    assert pack(np.array([[SHIP, HARBOR]], np.uint8)).tolist() == [[4_128_768, 10_183_680]]
    assert {channel for colour in rgb[:14] for channel in colour} == {0, 63, 127, 191, 255}


def drawn(text: str, *, value: int = 5000) -> np.ndarray:
    """Ids of a picture: `#` is an instance, `+` another, a number of no instance elsewhere."""
    rows = [line.strip() for line in text.split()]
    table = {"#": value, "+": value + 1, ".": 0, "-": 999}
    return np.array([[table[character] for character in row] for row in rows], np.int32)


def kept(ids, colours=None):
    colours = np.where(ids >= 1000, 7, 0).astype(np.int32) if colours is None else colours
    return instances(ids, colours, categories={7: 1, 9: 2})


@pytest.mark.parametrize(
    ("picture", "areas"),
    [
        ("#### #### ##.. ....", []),  # 10 px are too few
        ("#### #### ###. ....", [11]),
        ("#### #### ###. ...#", [12]),  # the last is joined by its corner
        ("####. ####. ###.. ..... ....#", []),  # one pixel apart: all is dropped
        ("####. ####. ###.. ..... ...##", []),  # two
        ("#####. #####. #..... ...... ...###", [14]),  # three in a row are a contour of four points
        ("####. ####. ###.. ....# ...#.", []),  # two, joined by a corner
        ("##### #...# #.#.# #...# #####", [17]),  # one pixel in a hole has no outer contour
        ("##### #...# #.#.# #...# ####.", [16]),  # closed still: background passes no corner
        ("##### #...# #.#.# #.... #####", []),  # open
        ("####+ ####+ ###++ ..++. .+++.", [11]),
        ("---- ---- ---- ----", []),
        (".... .... .... ....", []),
    ],
)
def test_what_is_dropped(picture, areas):
    ids = drawn(picture)
    found = kept(ids)
    assert [one["area"] for one in found.annotations] == areas
    assert found.classes.keys() == {number for number in np.unique(ids).tolist() if number >= 1000}
    assert sum(found.dropped.values()) == len(found.classes) - len(found.annotations)


def test_masks_are_the_exact_pixels():
    rng = np.random.default_rng(0)
    for height, width in ((30, 20), (13, 40)):
        ids = rng.integers(0, 4, (height // 3 + 1, width // 3 + 1)).repeat(3, 0).repeat(3, 1)[:height, :width] * 5000
        found = kept(ids.astype(np.int32))
        assert found.annotations
        expected = {}
        for one in found.annotations:
            mask = coco_mask.decode([one["segmentation"]])[..., 0]
            number = int(ids[mask == 1][0])
            assert np.array_equal(mask == 1, ids == number)
            rle = coco_mask.encode(np.asfortranarray(mask))
            assert one["segmentation"]["counts"] == rle["counts"].decode() and one["area"] == mask.sum()
            assert one["bbox"] == coco_mask.toBbox(rle).tolist()
            expected[number] = one["area"]
        assert list(expected) == sorted(expected)  # by ascending id


def test_the_class_is_the_smallest_colour_under_an_instance():
    ids = drawn("#### #### ####")
    colours = np.full((3, 4), 9, np.int32)
    assert [one["category_id"] for one in kept(ids, colours).annotations] == [2]
    colours[1, 2] = 7
    assert [one["category_id"] for one in kept(ids, colours).annotations] == [1]
    colours[1, 2] = 8
    with pytest.raises(KeyError, match="8"):
        kept(ids, colours)


def painted(height, width, objects):
    """RGB images of ids and colours."""
    ids, colours = np.zeros((2, height, width, 3), np.uint8)
    for place, number, colour in objects:
        ids[place], colours[place] = number, colour
    return ids, colours


# Tiles are 8 px every 6 px here: 10 x 14 has 4, one of them empty; 8 x 30 stays whole; 9 x 9 has 4.
IMAGES = {
    "train/P0001": painted(10, 14, [(np.s_[0:7, 0:5], FIRST, SHIP), (np.s_[0:4, 6:14], SECOND, HARBOR)]),
    "train/P0010": painted(8, 30, [(np.s_[2:6, 20:29], THIRD, SHIP)]),
    "train/P1527": painted(9, 9, [(np.s_[:], FIRST, SHIP)]),
    "val/P0002": painted(9, 9, [(np.s_[0:9, 0:9], FIRST, HARBOR), (np.s_[3:6, 2:6], SECOND, SHIP)]),
}
CONTENTS = isaid.Contents(images={"train": 3, "val": 1}, tiles={"train": 5, "val": 4}, instances={"train": 3, "val": 2})


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setattr(isaid_tiles, "SIDE", 8)
    monkeypatch.setattr(isaid_tiles, "STRIDE", 6)
    rng = np.random.default_rng(0)
    folder = tmp_path / "source"
    for name, (ids, colours) in IMAGES.items():
        split, stem = name.split("/")
        for place in ("images", "Instance_masks/images", "Semantic_masks/images"):
            (folder / split / place).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, ids.shape, np.uint8)
        Image.fromarray(pixels).save(folder / split / "images" / f"{stem}.png")
        Image.fromarray(ids).save(folder / split / "Instance_masks/images" / f"{stem}_instance_id_RGB.png")
        Image.fromarray(colours).save(folder / split / "Semantic_masks/images" / f"{stem}_instance_color_RGB.png")
    return folder


def read(folder, split):
    return json.loads((folder / "annotations" / f"{split}.json").read_text())


def pixels(path):
    return np.asarray(Image.open(path))


def test_conversion(source, tmp_path, capsys):
    made = tmp_path / "made"
    isaid.convert(source, made, contents=CONTENTS)
    assert isaid.is_prepared(source, made, contents=CONTENTS)
    printed = capsys.readouterr().out
    assert "3 of 3 images tiled" in printed and "train, 5 tiles, as reported" in printed
    assert "train, 3 instances before the tiling, as reported" in printed
    assert sorted(path.name for path in made.iterdir()) == ["annotations", "images", "prepared.json"]
    train = read(made, "train")
    names = ["P0001_0_8_0_8.png", "P0001_2_10_0_8.png", "P0001_0_8_6_14.png", "P0001_2_10_6_14.png", "P0010.png"]
    assert [image["file_name"] for image in train["images"]] == names
    assert [image["id"] for image in train["images"]] == [1, 2, 3, 4, 5]
    assert [(image["width"], image["height"]) for image in train["images"]] == [(8, 8)] * 4 + [(30, 8)]
    assert train["info"]["source"]["images"] == 3 and train["info"]["source"]["instances"] == 3
    assert {k: v for k, v in train["info"]["source"]["classes"].items() if v} == {"ship": 2, "Harbor": 1}
    assert [(c["id"], c["name"]) for c in train["categories"]][-1] == (15, "Harbor") and len(train["categories"]) == 15
    # The ship of 7 x 5 is cut to 5 x 5; of the harbour the tiles at the left have 8 px and 4, too few.
    found = [(a["id"], a["image_id"], a["category_id"], a["bbox"], a["area"]) for a in train["annotations"]]
    assert found == [
        (1, 1, 1, [0, 0, 5, 7], 35),
        (2, 2, 1, [0, 0, 5, 5], 25),
        (3, 3, 15, [0, 0, 8, 4], 32),
        (4, 4, 15, [0, 0, 8, 2], 16),
        (5, 5, 1, [20, 2, 9, 4], 36),
    ]
    assert train["info"]["dropped"] == {"of 10 pixels or fewer": 2}
    whole = pixels(source / "train/images/P0001.png")
    assert np.array_equal(pixels(made / "images/train/P0001_2_10_6_14.png"), whole[2:10, 6:14])
    assert (made / "images/train/P0010.png").read_bytes() == (source / "train/images/P0010.png").read_bytes()
    for split in ("train", "val"):
        assert lint(made / f"annotations/{split}.json", made / "images" / split).errors == ()
    assert len(CocoInstances(made / "images/val", made / "annotations/val.json", train=False)) == 4


def test_holes_stay_holes(source, tmp_path):
    isaid.convert(source, tmp_path / "made", contents=CONTENTS)
    harbour, ship = read(tmp_path / "made", "val")["annotations"][:2]
    assert (harbour["area"], ship["area"]) == (64 - 12, 12) and harbour["bbox"] == [0, 0, 8, 8]
    assert coco_mask.decode([harbour["segmentation"]])[..., 0][3:6, 2:6].sum() == 0


@pytest.mark.parametrize("split", ["train", "val"])
def test_ground_truth_scores_exactly_100(source, tmp_path, split):
    isaid.convert(source, tmp_path / "made", contents=CONTENTS)
    truth = read(tmp_path / "made", split)
    for iou_type in ("segm", "bbox"):
        scores = evaluate(truth, [a | {"score": 0.9} for a in truth["annotations"]], iou_type, max_detections=1000)
        assert scores[f"{iou_type}/AP"] == scores[f"{iou_type}/AR1000"] == 100.0


def test_an_interrupted_conversion_goes_on(source, tmp_path, monkeypatch):
    converted, done = isaid._convert_image, []

    def fail_at(count):
        def convert_image(files, folder):
            if len(done) == count:
                raise KeyboardInterrupt
            done.append(files.image.stem)
            return converted(files, folder)

        monkeypatch.setattr(isaid, "_convert_image", convert_image)

    for count in (1, 2):
        fail_at(count)
        with pytest.raises(KeyboardInterrupt):
            isaid.convert(source, tmp_path / "made", contents=CONTENTS)
        assert not (tmp_path / "made").exists()
    fail_at(None)
    isaid.convert(source, tmp_path / "made", contents=CONTENTS)
    assert done == ["P0001", "P0010", "P0002"]  # none of them twice, the skipped one never
    isaid.convert(source, tmp_path / "again", contents=CONTENTS)
    listings = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (tmp_path / "made", tmp_path / "again")
    ]
    assert listings[0] == listings[1] and len(listings[0]) == 9 + 2 + 1


def test_images_may_be_links_and_go_once_they_are_cut(source, tmp_path):
    (source / "train/images").rename(tmp_path / "DOTA")
    (source / "train/images").symlink_to(tmp_path / "DOTA")
    isaid.convert(source, tmp_path / "made", contents=CONTENTS)
    source.rename(tmp_path / "elsewhere")
    assert isaid.is_prepared(source, tmp_path / "made", contents=CONTENTS)
    (tmp_path / "made/annotations/val.json").write_text("{}")
    assert not isaid.is_prepared(source, tmp_path / "made", contents=CONTENTS)


def test_other_counts_are_said(source, tmp_path, capsys):
    contents = isaid.Contents(images=CONTENTS.images, tiles={"train": 7, "val": 4}, instances={"train": 2, "val": 2})
    isaid.convert(source, tmp_path / "made", contents=contents)
    printed = capsys.readouterr().out
    assert "train, 5 tiles, -2 against the 7 reported" in printed
    assert "train, 3 instances before the tiling, +1 against the 2 reported" in printed


def test_what_is_missing_or_wrong_is_named(source, tmp_path, monkeypatch):
    def refused(message):
        with pytest.raises(DataError, match=message):
            isaid.convert(source, tmp_path / "made", contents=CONTENTS)
        assert not (tmp_path / "made").exists()

    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    refused(r"the tiles take about \d+ MB in .*, which has 0 MB free; make room")
    monkeypatch.undo()
    monkeypatch.setattr(isaid_tiles, "SIDE", 8)
    monkeypatch.setattr(isaid_tiles, "STRIDE", 6)
    colours = source / "train/Semantic_masks/images/P0010_instance_color_RGB.png"
    before = colours.read_bytes()
    Image.fromarray(np.full((8, 30, 3), 5, np.uint8)).save(colours)
    refused(r"P0010_instance_color_RGB\.png: RGB \(5, 5, 5\) under an instance of P0010_instance_id_RGB\.png is")
    Image.fromarray(np.zeros((8, 31, 3), np.uint8)).save(colours)
    refused(r"P0010_instance_color_RGB\.png: 31 x 8 \(width x height\), P0010_instance_id_RGB\.png is 30 x 8")
    colours.write_bytes(before[:-40])
    refused(r"P0010_instance_color_RGB\.png: unreadable image")
    colours.unlink()
    refused(r"P0010_instance_color_RGB\.png is missing; place in .*/train, at any depth, .*Semantic_masks/images\.zip")
    colours.write_bytes(before)
    (source / "train" / "P0010.png").write_bytes(b"")
    refused(r"holds both .*P0010\.png and .*P0010\.png")
    (source / "train" / "P0010.png").unlink()
    (source / "val/images/P0002.png").unlink()
    refused(r"val: 0 images P####\.png, there must be 1; place in .*val")
