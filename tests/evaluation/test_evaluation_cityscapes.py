"""Hand-computed cases; equality with cityscapesScripts, which reads our export, on generated files of its layout."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import sys
import types
import zipfile

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as pycocotools_mask

from reprolib.data.cards import CARDS
from reprolib.data.sets.cityscapes import convert as converter
from reprolib.evaluation.cityscapes import evaluate_cityscapes, read_void
from reprolib.evaluation.coco_inputs import EvaluationError
from reprolib.evaluation.export import export

HEIGHT, WIDTH = 60, 90
CLASSES = CARDS["cityscapes"].classes
ROAD = 7  # no void


def encoded(mask):
    rle = pycocotools_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def rectangle(x, y, width, height):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def painted(objects):
    """instanceIds: (value, mask) pairs over road, later ones on top."""
    ids = np.full((HEIGHT, WIDTH), ROAD, np.uint16)
    for value, mask in objects:
        ids[mask] = value
    return ids


def detection(mask, *, image=1, category=26, score=0.5):
    return {"image_id": image, "category_id": category, "segmentation": encoded(mask), "score": score}


@pytest.fixture
def dataset(tmp_path):
    """Function that writes instanceIds images as Cityscapes' val split; gives image folder and COCO document."""

    def write(*scenes):
        for number, ids in enumerate(scenes):
            stem = f"val/lindau/lindau_{number:06}_000019"
            image = tmp_path / "cityscapes/leftImg8bit" / f"{stem}_leftImg8bit.png"
            path = tmp_path / "cityscapes/gtFine" / f"{stem}_gtFine_instanceIds.png"
            for file, pixels in ((image, np.zeros((HEIGHT, WIDTH, 3), np.uint8)), (path, ids)):
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(file)
        converter.convert(tmp_path / "cityscapes", tmp_path / "coco", classes=CLASSES, images={"val": len(scenes)})
        return tmp_path / "cityscapes/leftImg8bit/val", json.loads((tmp_path / "coco/annotations/val.json").read_text())

    return write


@pytest.fixture
def scored(dataset):
    """Function from instanceIds images and detections to metrics without `segm/`."""

    def score(scenes, detections):
        images, document = dataset(*scenes)
        found = evaluate_cityscapes(document, detections, void=read_void(images, document))
        return {name.removeprefix("segm/"): value for name, value in found.items()}

    return score


def test_ground_truth_fed_back_is_perfect(dataset):
    scene = painted(
        [(26000, rectangle(0, 0, 20, 20)), (24000, rectangle(30, 0, 20, 20)), (26, rectangle(0, 30, 30, 9))]
    )
    images, document = dataset(scene, painted([(24001, rectangle(5, 5, 10, 10))]), painted([]))
    results = [one | {"score": 0.5} for one in document["annotations"]]  # the group too: left out
    for one in document["annotations"]:
        one["id"] -= 1  # from 0
    found = evaluate_cityscapes(document, results, void=read_void(images, document))
    assert {name: value for name, value in found.items() if value is not None} == {
        f"segm/{name}": 100.0 for name in ("AP", "AP50", "AP/person", "AP50/person", "AP/car", "AP50/car")
    }
    assert len(found) == 2 + 2 * len(CLASSES)


def test_an_iou_of_exactly_one_half_is_no_match(scored):
    scene = painted([(26000, rectangle(0, 0, 20, 20))])
    assert scored([scene], [detection(rectangle(0, 0, 20, 10))])["AP50"] == 0.0
    # 0.75 is right at 0.50 to 0.70, five of ten thresholds
    assert scored([scene], [detection(rectangle(0, 0, 20, 15))])["AP"] == pytest.approx(50.0)


def test_of_two_detections_of_an_object_the_lower_scored_is_wrong(scored):
    scene = painted([(26000, rectangle(0, 0, 20, 20)), (26001, rectangle(40, 0, 20, 20))])
    right = rectangle(0, 0, 20, 20)
    # Points (recall, precision) from high scores to low: (0.5, 1), (0.5, 0.5), half a step to each side of its point:
    # precision 0.5 weighs (0.5 - 0.5) / 2 = 0 at the last point, 1 weighs 0.5 / 2, and the artificial (0, 1) 0.5 / 2.
    found = scored([scene], [detection(right, score=0.9), detection(right, score=0.8)])
    assert found["AP50"] == pytest.approx(50.0)
    # Wrong first: (0, 0), (0.5, 0.5); 0.5 weighs 0.25, 0 weighs 0.25, the artificial point 0.
    found = scored([scene], [detection(rectangle(60, 30, 20, 20), score=0.9), detection(right, score=0.8)])
    assert found["AP50"] == pytest.approx(12.5)


def test_groups_and_void_leave_detections_out_and_caravans_do_not(scored):
    car, right = (26000, rectangle(0, 0, 20, 20)), detection(rectangle(0, 0, 20, 20), score=0.5)
    elsewhere = detection(rectangle(40, 20, 20, 20), score=0.9)
    perfect, halved = pytest.approx(100.0), pytest.approx(25.0)
    for value, expected in ((26, perfect), (0, perfect), (29, perfect), (29001, halved), (24, halved), (ROAD, halved)):
        scene = painted([car, (value, rectangle(40, 20, 20, 20))])
        assert scored([scene], [elsewhere, right])["AP50"] == expected, value
    # Half of its pixels: left out up to 0.50 exclusively, so wrong at every threshold.
    scene = painted([car, (0, rectangle(40, 20, 10, 20))])
    assert scored([scene], [elsewhere, right])["AP"] == halved


def test_objects_under_a_hundred_pixels_are_not_asked_for(scored):
    tiny, small = rectangle(0, 0, 9, 11), rectangle(40, 0, 10, 10)
    scene = painted([(26000, tiny), (26001, small)])
    assert scored([scene], [detection(small)])["AP"] == 100.0
    assert scored([scene], [detection(tiny, score=0.9), detection(small)])["AP"] == 100.0
    assert scored([painted([(26000, tiny)])], [detection(tiny)])["AP/car"] is None


def test_nothing_found_is_zero_also_when_all_of_it_is_left_out(scored):
    scene = painted([(26000, rectangle(0, 0, 20, 20)), (26, rectangle(40, 20, 20, 20))])
    for found in ([], [detection(rectangle(40, 20, 20, 20))], [detection(rectangle(0, 0, 0, 0))]):
        assert scored([scene], found)["AP"] == 0.0


def test_void_regions_that_cannot_be_read_are_named(dataset):
    images, document = dataset(painted([]))
    ids = images.parents[1] / "gtFine/val/lindau/lindau_000000_000019_gtFine_instanceIds.png"
    Image.fromarray(np.zeros((3, 3), np.uint16)).save(ids)
    with pytest.raises(EvaluationError, match=r"instanceIds\.png: uint16 \[3, 3\], but image 1 .* 60 x 90"):
        read_void(images, document)
    ids.unlink()
    with pytest.raises(EvaluationError, match=r"instanceIds\.png: void regions.*gtFine_trainvaltest\.zip"):
        read_void(images, document)


@pytest.fixture
def official(monkeypatch, tmp_path):
    """cityscapesScripts, from PyPI, on one text file per image. It asks for np.in1d, which NumPy no longer has, and for
    quaternions, for boxes in space."""
    if importlib.util.find_spec("cityscapesscripts") is None:
        pytest.skip("`make test` installs requirements-official.txt")
    quaternions = types.ModuleType("pyquaternion")
    quaternions.Quaternion = None
    monkeypatch.setitem(sys.modules, "pyquaternion", quaternions)
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    module = importlib.import_module("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")
    # Copies of its intermediate results, which today's NumPy integers keep it from writing.
    monkeypatch.setattr(module, "writeDict2JSON", lambda values, path: None)

    def evaluate(texts, ids):
        arguments = copy.copy(module.args)
        arguments.predictionPath = str(texts[0].parent)
        arguments.gtInstancesFile = str(tmp_path / "gtInstances.json")
        arguments.JSONOutput, arguments.quiet = False, True
        averages = module.evaluateImgLists([str(path) for path in texts], [str(path) for path in ids], arguments)
        return averages["averages"]

    return evaluate


def submission(folder, document, detections):
    """Our export, unpacked; the text files in the order of the images."""
    folder.mkdir()
    with zipfile.ZipFile(export("cityscapes", document, detections, folder.with_suffix(".zip"), name="run")) as archive:
        archive.extractall(folder)
    return sorted(folder.glob("*.txt"))


def random_scene(rng):
    """Objects and groups of three classes, void, caravans; some under 100 px."""
    values = (26000, 26001, 26002, 24000, 24001, 24002, 33000, 26, 24, 0, 3, 29, 29001, 30, 8)
    chosen = rng.permutation(values)[: int(rng.integers(0, 10))]
    boxes = [(*rng.integers(0, 60, 2).tolist(), *rng.integers(4, 40, 2).tolist()) for _ in chosen]
    return painted([(value, rectangle(x, y % 40, w, h)) for value, (x, y, w, h) in zip(chosen, boxes, strict=True)])


def random_detections(rng, document):
    """Moved objects, often several of one, and rectangles anywhere; scores tie."""
    results = []
    for one in document["annotations"]:
        mask = pycocotools_mask.decode(one["segmentation"]).astype(bool)
        for _ in range(int(rng.integers(0, 4))):
            moved = np.roll(mask, rng.integers(-2, 3, 2), (0, 1))
            results.append(detection(moved, image=one["image_id"], category=one["category_id"]))
    for image in document["images"]:
        for _ in range(int(rng.integers(0, 6))):
            mask = rectangle(*rng.integers(0, 60, 2).tolist(), *rng.integers(0, 30, 2).tolist())
            results.append(detection(mask, image=image["id"], category=int(rng.choice([24, 26, 33]))))
    return [one | {"score": round(float(rng.random()), int(rng.integers(1, 4)))} for one in results]


@pytest.mark.parametrize("seed", range(8))
def test_equal_to_cityscapes_scripts(official, dataset, seed, tmp_path):
    rng = np.random.default_rng(seed)
    images, document = dataset(*(random_scene(rng) for _ in range(int(rng.integers(3, 8)))))
    results = random_detections(rng, document)
    ours = evaluate_cityscapes(document, results, void=read_void(images, document))
    ids = sorted((images.parents[1] / "gtFine/val").glob("*/*"))
    theirs = official(submission(tmp_path / "results", document, results), ids)
    expected = {"AP": theirs["allAp"], "AP50": theirs["allAp50%"]}
    for name, values in theirs["classes"].items():
        expected |= {f"AP/{name}": values["ap"], f"AP50/{name}": values["ap50%"]}
    assert ours == {
        f"segm/{name}": None if np.isnan(value) else pytest.approx(100 * value, rel=0, abs=1e-10)
        for name, value in expected.items()
    }
    assert 0 < ours["segm/AP"] < 100


def test_a_detection_at_the_threshold_is_wrong_and_not_left_out(scored):
    """IoU 0.5 with one object, and perfect on another, later: points (0, 0) and (0.5, 0.5)."""
    scene = painted([(26000, rectangle(0, 0, 20, 20)), (26001, rectangle(40, 0, 20, 20))])
    half, perfect = detection(rectangle(0, 0, 20, 10), score=0.9), detection(rectangle(40, 0, 20, 20), score=0.5)
    assert scored([scene], [half, perfect])["AP50"] == pytest.approx(12.5)


def test_the_size_of_an_object_is_its_masks_whatever_the_file_says(dataset):
    images, document = dataset(painted([(26000, rectangle(0, 0, 9, 11))]))
    document["annotations"][0]["area"] = 500
    metrics = evaluate_cityscapes(document, [], void=read_void(images, document))
    assert metrics["segm/AP/car"] is None  # 99 px: not asked for
