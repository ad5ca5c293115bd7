"""Submissions, read back by the benchmarks' own readers where these are installed, else by a few lines here."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as pycocotools_mask
from pycocotools.coco import COCO

from reprolib.cli import main
from reprolib.evaluation.coco_inputs import EvaluationError
from reprolib.evaluation.export import SUFFIXES, export
from reprolib.evaluation.export_bbbc038 import encoded_pixels

HEIGHT, WIDTH = 40, 60


def encoded(mask):
    rle = pycocotools_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def rectangle(x, y, width, height):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def found(mask, *, image=1, category=1, score=0.9, **more):
    box = pycocotools_mask.toBbox(encoded(mask)).tolist()
    one = {"image_id": image, "category_id": category, "bbox": box, "score": score, "segmentation": encoded(mask)}
    return one | more


@pytest.fixture
def truth():
    names = [f"lindau/lindau_{n:06}_000019_leftImg8bit.png" for n in range(3)]
    return {
        "images": [{"id": n + 1, "file_name": name, "height": HEIGHT, "width": WIDTH} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
        "annotations": [],
    }


DETECTIONS = (
    found(rectangle(0, 0, 20, 20), score=0.875),
    found(rectangle(10, 10, 20, 20), category=2, score=0.1, mask_score=1 / 3),
    found(rectangle(5, 5, 3, 3), image=2, score=0.5),
)


def only_file(path):
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        return name, archive.read(name)


def test_coco_results_are_read_by_pycocotools(truth, tmp_path):
    path = export("coco", truth, DETECTIONS, tmp_path, name="coco-x_r50-a+b~c.1-0")
    assert path == tmp_path / "detections_val2017_coco-x_r50-a-b-c.1-0_results.zip"
    name, content = only_file(path)
    assert name == "detections_val2017_coco-x_r50-a-b-c.1-0_results.json"
    (tmp_path / name).write_bytes(content)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        read = coco.loadRes(str(tmp_path / name))
    assert [(one["image_id"], one["category_id"], one["score"]) for one in read.loadAnns(read.getAnnIds())] == [
        (1, 1, 0.875),
        (1, 2, 1 / 3),  # masks are ranked by their own score
        (2, 1, 0.5),
    ]
    assert np.array_equal(read.annToMask(read.loadAnns(2)[0]), rectangle(10, 10, 20, 20))


def test_lvis_holds_the_best_three_hundred_of_an_image(truth, tmp_path):
    many = [found(rectangle(n % 50, 0, 5, 5), image=3, score=n / 310) for n in range(310)]
    path = export("lvis", truth, [*DETECTIONS, *many], tmp_path / "lvis.json", name="run")
    read = json.loads(path.read_text())
    assert [sum(one["image_id"] == n for one in read) for n in (1, 2, 3)] == [2, 1, 300]
    assert min(one["score"] for one in read if one["image_id"] == 3) == 10 / 310
    assert set(read[0]) == {"image_id", "category_id", "segmentation", "score"}


def test_isaid_is_a_zipped_list(truth, tmp_path):
    path = export("isaid", truth, DETECTIONS, f"{tmp_path}/new/", name="run-0")
    assert path == tmp_path / "new" / "run-0.zip"
    name, content = only_file(path)
    assert (name, len(json.loads(content))) == ("run-0.json", 3)


def test_cityscapes_has_a_text_for_every_image_and_a_png_for_every_mask(truth, tmp_path):
    empty = found(rectangle(0, 0, 0, 0), image=3)
    path = export("cityscapes", truth, [*DETECTIONS, empty], tmp_path, name="run")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "read")
    frames = [f"lindau_{n:06}_000019" for n in range(3)]
    files = sorted(path.name for path in (tmp_path / "read").iterdir())
    assert files == sorted(
        [*(f"{f}.txt" for f in frames), *(f"{frames[n]}_{i}.png" for n, i in ((0, 0), (0, 1), (1, 0)))]
    )
    lines = (tmp_path / "read" / f"{frames[0]}.txt").read_text().splitlines()
    assert lines == [f"{frames[0]}_0.png 24 0.875", f"{frames[0]}_1.png 26 {1 / 3!r}"]
    assert (tmp_path / "read" / f"{frames[2]}.txt").read_text() == ""
    with Image.open(tmp_path / "read" / f"{frames[0]}_1.png") as image:
        assert np.array_equal(np.array(image.convert("L")) != 0, rectangle(10, 10, 20, 20))


def kaggle_masks(path):
    """Masks by ImageId: pixels from 1, down the columns."""
    masks = {}
    for row in csv.DictReader(path.read_text().splitlines()):
        numbers = [int(number) for number in row["EncodedPixels"].split()]
        mask = np.zeros(HEIGHT * WIDTH, bool)
        for start, length in zip(numbers[::2], numbers[1::2], strict=True):
            mask[start - 1 : start - 1 + length] = True
        masks.setdefault(row["ImageId"], []).append(mask.reshape(WIDTH, HEIGHT).T)
    return masks


def test_kaggle_masks_do_not_overlap_and_every_image_has_a_row(truth, tmp_path):
    covered = found(rectangle(2, 2, 4, 4), score=0.6)
    path = export("bbbc038", truth, [covered, *DETECTIONS], tmp_path / "dsb.csv", name="run", min_score=0.2)
    masks = kaggle_masks(path)
    first, second, third = (f"lindau_{n:06}_000019_leftImg8bit" for n in range(3))
    best = rectangle(0, 0, 20, 20)
    assert [mask.tolist() for mask in masks[first]] == [best.tolist(), (rectangle(10, 10, 20, 20) & ~best).tolist()]
    assert np.array_equal(masks[second], [rectangle(5, 5, 3, 3)])
    assert not np.any(masks[third]) and path.read_text().endswith(f"\n{third},\n")
    by_default = export("bbbc038", truth, DETECTIONS, tmp_path / "half.csv", name="run")
    assert len(kaggle_masks(by_default)[first]) == 1  # 1/3 is below 0.5


def test_encoded_pixels_count_from_one_down_the_columns():
    mask = np.array([[1, 0, 0], [1, 0, 1]], bool)  # columns 11, 00, 01
    assert encoded_pixels(mask.ravel(order="F")) == "1 2 6 1"
    assert encoded_pixels(np.ones(4, bool)) == "1 4"


@pytest.mark.parametrize("format", SUFFIXES)
def test_equal_detections_give_equal_bytes_and_nothing_half_written(format, truth, tmp_path, monkeypatch):
    first, second = (export(format, truth, DETECTIONS, tmp_path / f"{n}.out", name="run") for n in (1, 2))
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.out", "2.out"]
    truth["categories"][0]["name"] = "walker"
    if format == "cityscapes":
        with pytest.raises(EvaluationError, match="'walker' is none of Cityscapes'"):
            export(format, truth, DETECTIONS, tmp_path / "3.out", name="run")
        assert not list(tmp_path.glob("3*"))


def test_what_cannot_be_exported_is_named(truth, tmp_path):
    with pytest.raises(EvaluationError, match="format must be one of coco, lvis"):
        export("voc", truth, DETECTIONS, tmp_path, name="run")
    truth["images"][1]["file_name"] = "000001.jpg"
    with pytest.raises(EvaluationError, match=r"image 2 \(000001\.jpg\): Cityscapes"):
        export("cityscapes", truth, DETECTIONS, tmp_path, name="run")


def test_the_verb_writes_what_was_detected_and_asks_for_an_evaluation_first(tmp_path, monkeypatch, capsys):
    profile = {
        "name": "demo",
        "note": "",
        "seeds": [0],
        "datasets": {"street": {"train": 1, "val": 2, "size": 64, "seed": 1}},
        "stands_in": {"coco": "street"},
        "scale": {},
        "scale_for": {},
        "schedules": {"default": {"iterations": 1}},
        "data": [],
        "experiments": [],
        "tables": [],
        "papers": [],
    }
    text = json.dumps(profile)
    (tmp_path / "params.yaml").write_text(f'{{"profiles": {{"demo": &demo {text}}}, "profile": *demo}}')
    monkeypatch.chdir(tmp_path)
    run = "coco-mask_rcnn_r50-0"
    assert main(["export", run, "--out", "out.zip"]) == 2
    assert "evaluate the run first (`reprolib evaluate coco-mask_rcnn_r50 --seed 0`)" in capsys.readouterr().err
    predictions = tmp_path / "results/demo/predictions" / f"{run}.json"
    predictions.parent.mkdir(parents=True)
    small = np.ones((64, 64), bool)
    predictions.write_text(json.dumps([found(small, image=1, category=1)]))
    assert main(["export", run, "--out", "out.zip"]) == 0  # street's own protocol is coco
    assert only_file(tmp_path / "out.zip")[0] == f"detections_val2017_{run}_results.json"
    assert main(["export", run, "--format", "bbbc038", "--out", "out.csv"]) == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3  # a head, a row for each of two images
    capsys.readouterr()
    assert main(["export", run, "--format", "voc"]) == 2
    assert "format must be one of" in capsys.readouterr().err
