"""Generated sets on disk: bytes, COCO JSON, regeneration, interruption, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from reprolib.data.scenes import aerial, sar_ships, street, write
from reprolib.data.scenes.write import write_scenes

FAMILIES = pytest.mark.parametrize("family", [sar_ships, aerial, street], ids=lambda f: f.__name__.rpartition(".")[2])


def make(family, folder, *, images=6, size=64, seed=1, split="train"):
    write_scenes(family, family.CLASSES, folder, images=images, size=size, seed=seed, split=split)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@FAMILIES
def test_same_parameters_same_bytes(family, tmp_path):
    assert make(family, tmp_path / "a") == make(family, tmp_path / "b")


@FAMILIES
def test_a_larger_set_begins_with_the_smaller(family, tmp_path):
    few, many = make(family, tmp_path / "few", images=3), make(family, tmp_path / "many", images=6)
    for index in range(3):
        assert few[f"train/{index:06d}.png"] == many[f"train/{index:06d}.png"]
    first, longer = (json.loads(files["annotations/train.json"])["annotations"] for files in (few, many))
    assert longer[: len(first)] == first


def test_splits_and_seeds_differ(tmp_path):
    make(sar_ships, tmp_path, images=1)
    files = make(sar_ships, tmp_path, images=1, split="val")
    other = make(sar_ships, tmp_path / "other", images=1, seed=2)
    assert len({files["train/000000.png"], files["val/000000.png"], other["train/000000.png"]}) == 3
    assert {"train/generated.json", "annotations/train.json"} <= set(files)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools under NumPy 2
@FAMILIES
def test_coco_json_agrees_with_the_drawn_masks(family, tmp_path, capsys):
    make(family, tmp_path, images=8, size=96)
    coco = COCO(str(tmp_path / "annotations" / "train.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(family.CLASSES)
    assert coco.getCatIds() == list(range(1, len(family.CLASSES) + 1))
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))
    assert "CC0" in coco.dataset["info"]["license"]
    for index, image in enumerate(coco.loadImgs(coco.getImgIds())):
        pixels, instances = family.scene(write.scene_rng(seed=1, split="train", index=index), 96)
        with Image.open(tmp_path / "train" / image["file_name"]) as stored:
            np.testing.assert_array_equal(np.asarray(stored), pixels)
        annotations = coco.imgToAnns[image["id"]]
        for annotation, (class_index, mask) in zip(annotations, instances, strict=True):
            np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), mask)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            x, y, width, height = annotation["bbox"]
            assert (x, y) == (columns[0], rows[0])
            assert (x + width, y + height) == (columns[-1] + 1, rows[-1] + 1)
            assert annotation["area"] == mask.sum()
            assert annotation["category_id"] == class_index + 1 and annotation["iscrowd"] == 0


def test_a_complete_set_is_left_alone(tmp_path):
    make(sar_ships, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    make(sar_ships, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("change", [{"images": 2}, {"size": 96}, {"seed": 7}])
def test_other_parameters_replace_the_set(tmp_path, change):
    make(sar_ships, tmp_path / "reused")
    fresh = make(sar_ships, tmp_path / "fresh", **change)
    assert make(sar_ships, tmp_path / "reused", **change) == fresh


def test_a_lost_image_is_made_again(tmp_path):
    before = make(sar_ships, tmp_path)
    (tmp_path / "train" / "000002.png").unlink()
    assert make(sar_ships, tmp_path) == before


@pytest.mark.parametrize("existing", [False, True])
def test_an_interrupted_write_leaves_no_half_set(tmp_path, existing):
    before = make(sar_ships, tmp_path, seed=1) if existing else {}
    drawn = []

    def failing(rng, size):
        drawn.append(size)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return sar_ships.scene(rng, size)

    with pytest.raises(KeyboardInterrupt):
        write_scenes(failing, ("ship",), tmp_path, images=6, size=64, seed=2, split="train")
    assert {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_what_a_killed_process_left_is_cleared(tmp_path):
    (tmp_path / "train.part").mkdir()
    (tmp_path / "train.part" / "999999.png").write_bytes(b"half")
    assert "train/999999.png" not in make(sar_ships, tmp_path)
    assert not (tmp_path / "train.part").exists()


def test_no_images_is_a_valid_empty_set(tmp_path, capsys):
    make(street, tmp_path, images=0)
    assert COCO(str(tmp_path / "annotations" / "train.json")).getImgIds() == []


@pytest.mark.parametrize(
    ("argument", "value", "says"),
    [
        ("size", 63, "size must be a whole number of at least 64, not 63"),
        ("size", 128.0, "size must be a whole number"),
        ("images", -1, "images must be a whole number of at least 0, not -1"),
        ("seed", -1, "seed must be a whole number of at least 0, not -1"),
        ("split", "../train", "split must be a plain folder name"),
        ("split", "", "split must be a plain folder name"),
    ],
)
def test_nonsense_is_refused(tmp_path, argument, value, says):
    with pytest.raises(ValueError, match=says):
        make(sar_ships, tmp_path, **{argument: value})
    assert not list(tmp_path.iterdir())
