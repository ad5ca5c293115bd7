"""Hand-computed cases; equality with lvis-api on generated federated sets."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import sys
import types

import numpy as np
import pytest
from pycocotools import mask as pycocotools_mask

from reprolib.evaluation.coco_inputs import EvaluationError, best_of_image
from reprolib.evaluation.lvis import accumulate_lvis

SIZE = 100
FREQUENCIES = {1: "f", 2: "c", 3: "r", 4: "f", 5: "r"}  # by category


def encoded(x, y, width, height):
    mask = np.zeros((SIZE, SIZE), np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    rle = pycocotools_mask.encode(mask)
    return {"size": [SIZE, SIZE], "counts": rle["counts"].decode()}


def thing(box, *, image=0, category=1, **more):
    return {"image_id": image, "category_id": category, "bbox": list(box), "segmentation": encoded(*box)} | more


def truth(*annotations, images=1, negative=(), open_classes=()):
    """Image ids from 0; `negative` and `open_classes` (not exhaustively annotated): category ids of every image."""
    return {
        "images": [
            {
                "id": i,
                "height": SIZE,
                "width": SIZE,
                "neg_category_ids": list(negative),
                "not_exhaustive_category_ids": list(open_classes),
            }
            for i in range(images)
        ],
        "categories": [{"id": key, "name": f"class {key}", "frequency": f} for key, f in FREQUENCIES.items()],
        "annotations": [{"id": n, "area": a["bbox"][2] * a["bbox"][3]} | a for n, a in enumerate(annotations)],
    }


def scored(document, results, iou_type="segm"):
    return {
        name.partition("/")[2]: value for name, value in accumulate_lvis(document, results, iou_type).metrics().items()
    }


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_ground_truth_fed_back_is_perfect_although_ids_start_at_zero(iou_type):
    boxes = [(0, 0, 20, 20), (30, 30, 40, 40)]
    document = truth(*(thing(b, image=i, category=c) for i in range(3) for c in (1, 2, 3) for b in boxes), images=4)
    found = scored(document, [one | {"score": 0.5} for one in document["annotations"]], iou_type)
    assert found == {
        name: None if name in ("APl", "ARl") else pytest.approx(100.0, abs=1e-12)
        for name in (*("AP", "AP50", "AP75", "APs", "APm", "APl", "AR300", "ARs", "ARm", "ARl", "APr", "APc", "APf"),)
    }


def test_only_classes_that_an_image_is_annotated_for_count():
    document = truth(thing((0, 0, 20, 20), category=1), negative=[2])
    right = thing((0, 0, 20, 20), score=0.5)
    wrong = thing((50, 50, 20, 20), score=0.9)
    assert scored(document, [right, wrong])["AP"] == pytest.approx(50.0)
    for category, ap in ((3, 100.0), (2, 100.0)):  # 2 is known to be absent, but no image has it: no AP of its own
        assert scored(document, [right, wrong | {"category_id": category}])["AP"] == pytest.approx(ap)
    two = truth(thing((0, 0, 20, 20), category=1), thing((0, 0, 20, 20), category=2, image=1), images=2, negative=[2])
    results = [right, thing((0, 0, 20, 20), category=2, image=1, score=0.5), wrong | {"category_id": 2}]
    found = scored(two, results)
    assert (found["AP"], found["APf"], found["APc"], found["APr"]) == (
        pytest.approx(75.0),
        pytest.approx(100.0),
        pytest.approx(50.0),
        None,
    )


def test_classes_that_are_not_annotated_exhaustively_have_no_false_positives():
    right, wrong = thing((0, 0, 20, 20), score=0.5), thing((50, 50, 20, 20), score=0.9)
    document = truth(thing((0, 0, 20, 20)), open_classes=[1])
    assert scored(document, [right, wrong])["AP"] == pytest.approx(100.0)


def test_three_hundred_detections_of_an_image_count_over_all_classes():
    document = truth(thing((0, 0, 20, 20), category=1), negative=[2])
    others = [thing((i % 50, 30, 5, 5), category=4, score=0.9) for i in range(300)]
    right = thing((0, 0, 20, 20), score=0.5)
    assert scored(document, [right, *others])["AP"] == 0.0  # the class of the others is not even annotated
    assert scored(document, [right, *others[1:]])["AP"] == pytest.approx(100.0)


def test_the_best_of_an_image_are_the_first_at_equal_scores():
    found = [{"image_id": i % 2, "score": s, "n": n} for n, (i, s) in enumerate([(0, 1), (1, 5), (0, 1), (0, 2)])]
    assert [one["n"] for one in best_of_image(found, limit=2)] == [3, 0, 1]


def test_curves_are_those_of_the_classes_with_objects():
    curves = accumulate_lvis(truth(thing((0, 0, 9, 9))), [thing((0, 0, 9, 9), score=1.0)], "segm").curves()
    assert curves["segm/50"] == pytest.approx([1.0] * 101)


def test_no_detections_is_zero_and_what_is_no_lvis_is_named():
    assert scored(truth(thing((0, 0, 9, 9))), [])["AP"] == 0.0
    document = truth(thing((0, 0, 9, 9)))
    document["categories"][2]["frequency"] = "often"
    with pytest.raises(EvaluationError, match=r"category 3: frequency.*'often'.*protocol coco"):
        scored(document, [])
    document = truth(thing((0, 0, 9, 9)))
    del document["images"][0]["neg_category_ids"]
    with pytest.raises(EvaluationError, match="image 0 has no list 'neg_category_ids'"):
        scored(document, [])


@pytest.fixture
def official(monkeypatch):
    """lvis-api, from PyPI: it asks for OpenCV, only to draw, and for np.float, which NumPy no longer has."""
    if importlib.util.find_spec("lvis") is None:
        pytest.skip("`make test` installs requirements-official.txt")
    monkeypatch.setitem(sys.modules, "cv2", types.ModuleType("cv2"))
    monkeypatch.setattr(np, "float", float, raising=False)
    return importlib.import_module("lvis")


def random_set(seed, *, crowded):
    """Federated lists, tied scores, tiny and empty masks; `crowded`: an image with 420 detections."""
    rng = np.random.default_rng(seed)
    annotations, results = [], []
    for image in range(6):
        for category in FREQUENCIES:
            for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.6 else 0):
                x, y, w, h = [*rng.integers(0, 60, 2).tolist(), *rng.integers(2, 40, 2).tolist()]
                annotations.append(thing((x, y, w, h), image=image, category=category))
                for _ in range(int(rng.integers(0, 4))):
                    dx, dy, dw, dh = rng.integers(-2, 3, 4).tolist()
                    box = (max(x + dx, 0), max(y + dy, 0), max(w + dw, 1), max(h + dh, 1))
                    results.append(thing(box, image=image, category=category))
        for _ in range(420 if crowded and image == 2 else 3):
            box = [*rng.integers(0, 80, 2).tolist(), *rng.integers(0, 20, 2).tolist()]
            results.append(thing(box, image=image, category=int(rng.integers(1, 6))))
    for result in results:
        result["score"] = round(float(rng.random()), 1 if seed % 2 else 3)
    rng.shuffle(results)
    document = truth(*annotations, images=6)
    for one in document["annotations"]:
        one["id"] += 1  # lvis-api takes a match to 0 for none
    for image in document["images"]:
        shown = {one["category_id"] for one in annotations if one["image_id"] == image["id"]}
        absent = sorted(set(FREQUENCIES) - shown)
        image["neg_category_ids"] = absent[: len(absent) // 2]
        image["not_exhaustive_category_ids"] = [key for key in sorted(shown) if rng.random() < 0.3]
    return document, results


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(6))
def test_equal_to_lvis_api(official, seed, iou_type, tmp_path):
    document, results = random_set(seed, crowded=seed % 3 == 0)
    ours = accumulate_lvis(document, results, iou_type)
    other = "bbox" if iou_type == "segm" else "segmentation"
    path = tmp_path / "lvis.json"
    path.write_text(json.dumps(document))
    theirs = copy.deepcopy([{key: value for key, value in one.items() if key != other} for one in results])
    evaluation = official.LVISEval(str(path), theirs, iou_type)
    evaluation.run()
    np.testing.assert_allclose(ours.precision[..., 0], evaluation.eval["precision"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.recall[..., 0], evaluation.eval["recall"], rtol=0, atol=1e-12)
    expected = {name.replace("@300", ""): value for name, value in evaluation.get_results().items()}
    found = {name.partition("/")[2].replace("300", ""): value for name, value in ours.metrics().items()}
    assert found == {
        name: None if value == -1 else pytest.approx(100 * value, abs=1e-12) for name, value in expected.items()
    }
    assert 0 < found["AP"] < 100
