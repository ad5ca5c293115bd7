"""Hand-computed cases; the two backends against each other on generated sets."""

from __future__ import annotations

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools import mask as pycocotools_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from reprolib.evaluation.coco import COCO_SIZES, accumulate, evaluate
from reprolib.evaluation.coco_inputs import EvaluationError
from reprolib.evaluation.protocols import ISAID_SIZES

BACKENDS = ("pycocotools", "hotcoco")
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def rectangle(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def thing(box, *, image=0, category=0, **more):
    entry = {"image_id": image, "category_id": category, "bbox": list(box), "segmentation": rectangle(*box)}
    return entry | more


def truth(*annotations, images=1, size=200, classes=("ship",), first_id=0):
    """Ids of images, categories and annotations start at 0, as in SSDD and NWPU VHR-10."""
    return {
        "images": [{"id": i, "height": size, "width": size} for i in range(images)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes)],
        "annotations": [
            {"id": first_id + n, "iscrowd": 0, "area": a["bbox"][2] * a["bbox"][3]} | a
            for n, a in enumerate(annotations)
        ],
    }


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_ground_truth_fed_back_is_perfect_although_ids_start_at_zero(backend, iou_type):
    boxes = [(10, 10, 20, 20), (50, 50, 40, 40), (5, 100, 96, 97)]
    document = truth(*(thing(b, image=i) for i in range(3) for b in boxes), images=4)
    results = [thing(b, image=i, score=0.9) for i in range(3) for b in boxes]
    metrics = evaluate(document, results, iou_type, backend=backend)
    for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR10", "AR100", "AP/ship", "AP50/ship"):
        assert metrics[f"{iou_type}/{name}"] == pytest.approx(100.0, abs=1e-9)
    assert metrics[f"{iou_type}/AR1"] == pytest.approx(100.0 / 3)  # one of three objects per image


def test_iou_of_exactly_one_half_counts_at_that_threshold_alone(backend):
    document = truth(thing((0, 0, 10, 10)))
    for iou_type in ("bbox", "segm"):
        metrics = evaluate(document, [thing((0, 0, 10, 5), score=0.5)], iou_type, backend=backend)
        values = [metrics[f"{iou_type}/{name}"] for name in ("AP50", "AP75", "AP", "AR100")]
        assert values == pytest.approx([100.0, 0.0, 10.0, 10.0])


def test_false_positive_ranked_first_halves_precision(backend):
    document = truth(thing((0, 0, 10, 10)), classes=("ship", "plane"))
    results = [thing((100, 100, 10, 10), score=0.9), thing((0, 0, 10, 10), score=0.8)]
    metrics = evaluate(document, results, "bbox", backend=backend)
    assert metrics["bbox/AP"] == pytest.approx(50.0)
    assert metrics["bbox/AR1"] == 0.0
    assert metrics["bbox/AP/ship"] == pytest.approx(50.0)
    assert metrics["bbox/AP/plane"] is None  # no such object: not a zero, and not averaged
    assert metrics["bbox/APm"] is None


def test_detections_on_a_crowd_are_neither_right_nor_wrong(backend):
    crowd = thing((50, 50, 100, 100), iscrowd=1)
    crowd["segmentation"] = {"size": [200, 200], "counts": [0, 20000, 20000]}  # the left half, 100 columns
    document = truth(thing((150, 150, 30, 30)), crowd)
    results = [
        thing((60, 60, 20, 20), score=0.99),
        thing((80, 80, 15, 20), score=0.98),
        thing((150, 150, 30, 30), score=0.5),
    ]
    for iou_type in ("bbox", "segm"):
        assert evaluate(document, results, iou_type, backend=backend)[f"{iou_type}/AP"] == pytest.approx(100)


def test_mask_score_ranks_masks_and_not_boxes(backend):
    document = truth(thing((0, 0, 10, 10)))
    results = [
        thing((100, 100, 10, 10), score=0.9, mask_score=0.1),
        thing((0, 0, 10, 10), score=0.8, mask_score=0.7),
    ]
    assert evaluate(document, results, "segm", backend=backend)["segm/AP"] == pytest.approx(100.0)
    assert evaluate(document, results, "bbox", backend=backend)["bbox/AP"] == pytest.approx(50.0)


def test_crowded_images_can_have_more_than_a_hundred_detections(backend):
    boxes = [(10 * (n % 15), 10 * (n // 15), 9, 9) for n in range(150)]
    document = truth(*(thing(b) for b in boxes))
    results = [thing(b, score=1 - n / 1000) for n, b in enumerate(boxes)]
    standard = evaluate(document, results, "bbox", backend=backend)
    assert standard["bbox/AR100"] == pytest.approx(100 * 100 / 150)
    assert standard["bbox/AP"] == pytest.approx(100 * 67 / 101)  # recalls 0, 0.01 ... 0.66 are reached
    raised = evaluate(document, results, "bbox", backend=backend, max_detections=150)
    assert raised["bbox/AR150"] == raised["bbox/AP"] == pytest.approx(100.0)
    assert "bbox/AR100" not in raised


def test_area_of_the_json_or_of_the_mask_decides_the_size_bin(backend):
    document = truth(thing((0, 0, 30, 30), area=2000.0))
    results = [thing((0, 0, 30, 30), score=1.0)]
    json_area = evaluate(document, results, "segm", backend=backend)
    assert (json_area["segm/APs"], json_area["segm/APm"]) == (None, pytest.approx(100.0))
    mask_area = evaluate(document, results, "segm", backend=backend, area="mask")
    assert (mask_area["segm/APs"], mask_area["segm/APm"]) == (pytest.approx(100.0), None)


def test_isaids_sizes_leave_the_tiniest_objects_out_of_small(backend):
    document = truth(thing((0, 0, 9, 9)), thing((50, 50, 100, 100)), thing((0, 20, 160, 140)), size=1000)
    results = [thing(one["bbox"], score=0.9) for one in document["annotations"][1:]]
    for iou_type in ("bbox", "segm"):
        found = evaluate(document, results, iou_type, backend=backend, sizes=ISAID_SIZES, max_detections=1000)
        values = [found[f"{iou_type}/{name}"] for name in ("APs", "APm", "APl", "AR1000")]
        assert values == pytest.approx([100.0, 100.0, None, 200 / 3])
        cocos = evaluate(document, results, iou_type, backend=backend)
        assert [cocos[f"{iou_type}/{name}"] for name in ("APs", "APl")] == pytest.approx([0.0, 100.0])


def test_size_of_a_wrong_mask_is_the_masks_not_its_boxs(backend):
    frame = thing((0, 100, 100, 90), score=0.9)
    frame["segmentation"] = [[0, 100, 100, 100, 0, 105]]  # a sliver: 250 px in a box of 9000
    document = truth(thing((0, 0, 20, 20)))
    metrics = evaluate(document, [frame, thing((0, 0, 20, 20), score=0.8)], "segm", backend=backend)
    assert metrics["segm/APs"] == pytest.approx(50.0)


def test_missing_area_and_iscrowd_are_filled_in(backend):
    document = truth(thing((0, 0, 40, 40)))
    for key in ("area", "iscrowd", "bbox"):
        del document["annotations"][0][key]
    for iou_type in ("bbox", "segm"):
        metrics = evaluate(document, [thing((0, 0, 40, 40), score=1.0)], iou_type, backend=backend)
        assert metrics[f"{iou_type}/APm"] == pytest.approx(100.0)


def test_no_detections_is_zero_and_no_objects_is_none(backend):
    metrics = evaluate(truth(thing((0, 0, 10, 10))), [], "segm", backend=backend)
    assert (metrics["segm/AP"], metrics["segm/AR100"]) == (0.0, 0.0)
    metrics = evaluate(truth(), [thing((0, 0, 10, 10), score=1.0)], "segm", backend=backend)
    assert set(metrics.values()) == {None}


def test_curves_average_the_classes_that_have_objects(backend):
    document = truth(thing((0, 0, 10, 10)), thing((30, 30, 10, 10), category=1), classes=("ship", "plane", "truck"))
    results = [
        thing((0, 0, 10, 7), score=0.9),  # IoU 0.7: right at 0.50, wrong at 0.75
        thing((100, 100, 10, 10), score=0.9, category=1),
        thing((30, 30, 10, 10), score=0.8, category=1),
    ]
    curves = accumulate(document, results, "bbox", backend=backend).curves()
    assert curves["recall"][:3] == [0.0, 0.01, 0.02]
    assert curves["recall"][-1] == 1.0
    assert curves["bbox/50"] == pytest.approx([0.75] * 101)
    assert curves["bbox/75"] == pytest.approx([0.25] * 101)
    json.dumps(curves, allow_nan=False)
    assert accumulate(truth(), [], "bbox", backend=backend).curves()["bbox/50"] == []


def test_reads_files_prints_nothing_and_leaves_its_input_alone(backend, tmp_path, capfd):
    document = truth(thing((0, 0, 10, 10)))
    results = [thing((0, 0, 10, 10), score=1.0)]
    path = tmp_path / "val.json"
    path.write_text(json.dumps(document))
    before = copy.deepcopy((document, results))
    assert evaluate(path, results, "segm", backend=backend) == evaluate(document, results, "segm", backend=backend)
    assert (document, results) == before
    assert capfd.readouterr() == ("", "")


def change(document, **fields):
    document["annotations"][0] |= fields
    return document


@pytest.mark.parametrize(
    ("document", "result", "message"),
    [
        (truth(), {"image_id": 7}, "image_id 7"),
        (truth(), {"category_id": 3}, "category_id 3.*contiguous labels"),
        (truth(), {"score": float("nan")}, "detection 1 .*score"),
        (truth(), {"segmentation": None}, "detection 1 .*no segmentation"),
        (truth(), {"segmentation": {"size": [9, 9], "counts": "0"}}, r"\[9, 9\].*\[200, 200\]"),
        (change(truth(thing((0, 0, 9, 9)), first_id=41), image_id=5), {}, "annotation 41.*image_id 5"),
        (change(truth(thing((0, 0, 9, 9))), category_id=5), {}, "annotation 0.*category_id 5"),
        (change(truth(thing((0, 0, 9, 9))), segmentation=[]), {}, "annotation 0 has no segmentation"),
        (change(truth(thing((0, 0, 9, 9))), segmentation=[[1, 1, 2, 2]]), {}, "annotation 0.*three points"),
        (truth(classes=("a", "a")), {}, "share a name"),
        ({"images": []}, {}, "list 'annotations'"),
    ],
)
def test_what_cannot_be_evaluated_is_named(document, result, message):
    with pytest.raises(EvaluationError, match=message):
        evaluate(document, [thing((0, 0, 10, 10), score=1.0) | result], "segm")


def test_errors_name_the_file(tmp_path):
    with pytest.raises(EvaluationError, match=r"absent\.json: no such"):
        evaluate(tmp_path / "absent.json", [], "bbox")
    (tmp_path / "half.json").write_text('{"images": [')
    with pytest.raises(EvaluationError, match=r"half\.json is not JSON"):
        evaluate(tmp_path / "half.json", [], "bbox")


@pytest.mark.parametrize("wrong", [{"backend": "fast"}, {"area": "box"}, {"max_detections": 10}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(EvaluationError, match=next(iter(wrong))):
        evaluate(truth(), [], "bbox", **wrong)


def random_set(seed, *, crowded=False):
    """Polygons, crowds as list and compressed RLE, tied scores, ids from 0, empty images, absent classes."""
    rng = np.random.default_rng(seed)
    size = 140
    annotations, results = [], []

    def compressed(entry, height, width):
        encoded = pycocotools_mask.merge(pycocotools_mask.frPyObjects(entry["segmentation"], height, width))
        return {"size": [height, width], "counts": encoded["counts"].decode()}

    for image in range(8):
        for _ in range(int(rng.integers(0, 9)) if image else 0):
            box = [*rng.integers(0, size // 2, 2).tolist(), *rng.integers(4, size // 2, 2).tolist()]
            entry = thing([float(v) for v in box], image=image, category=int(rng.integers(0, 3)))
            if rng.random() < 0.5:
                x, y, w, h = box
                entry["segmentation"] = [[x, y, x + w, y + h * 0.3, x + w * 0.6, y + h]]
            kind = rng.random()
            if kind < 0.15:
                mask = np.zeros((size, size), order="F", dtype=np.uint8)
                mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = 1
                turns = np.flatnonzero(np.diff(mask.T.ravel(), prepend=0)).tolist()
                counts = np.diff([0, *turns, mask.size]).tolist()
                entry |= {"iscrowd": 1, "segmentation": {"size": [size, size], "counts": counts}}
            elif kind < 0.3:
                entry |= {"iscrowd": 1, "segmentation": compressed(entry, size, size)}
            annotations.append(entry)
            for _ in range(int(rng.integers(0, 4))):
                x, y, w, h = (float(v) for v in np.array(box) + rng.integers(-3, 4, 4))
                found = thing([x, y, max(w, 2.0), max(h, 2.0)], image=image, category=entry["category_id"])
                if rng.random() < 0.1:
                    found["category_id"] = int(rng.integers(0, 5))
                results.append(found)
        for _ in range(130 if crowded and image == 3 else 2):
            box = [*rng.integers(0, size - 20, 2).tolist(), *rng.integers(3, 20, 2).tolist()]
            results.append(thing([float(v) for v in box], image=image, category=1))
    for found in results:
        found["score"] = round(float(rng.random()), 1)  # many ties
        found["mask_score"] = round(float(rng.random()), 1)
        found["segmentation"] = compressed(found, size, size)
    document = truth(*annotations, images=8, size=size, classes=("a", "b", "c", "d", "absent"))
    rng.shuffle(results)
    return document, results


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(12))
def test_backends_are_equal(seed, iou_type):
    document, results = random_set(seed, crowded=seed % 3 == 0)
    limit = 100 if seed % 2 else 120
    sizes = (10**2, 20**2, 40**2) if seed % 4 == 1 else COCO_SIZES
    slow, fast = (
        accumulate(document, results, iou_type, backend=backend, max_detections=limit, sizes=sizes)
        for backend in BACKENDS
    )
    np.testing.assert_allclose(fast.precision, slow.precision, rtol=0, atol=1e-12)
    np.testing.assert_allclose(fast.recall, slow.recall, rtol=0, atol=1e-12)
    assert fast.metrics() == slow.metrics()
    assert 0 < slow.metrics()[f"{iou_type}/AP"] < 100


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_numbers_are_those_that_cocos_own_summary_prints(iou_type):
    document, results = random_set(99, crowded=True)
    ours = evaluate(document, results, iou_type)
    for number, annotation in enumerate(document["annotations"]):
        annotation["id"] = number + 1
    for result in results:
        del result["bbox" if iou_type == "segm" else "segmentation"]
        result["score"] = result["mask_score"] if iou_type == "segm" else result["score"]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = document
        coco.createIndex()
        theirs = COCOeval(coco, coco.loadRes(results), iou_type)
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    expected = [None if value == -1 else 100 * value for value in theirs.stats]
    assert [ours[f"{iou_type}/{name}"] for name in NAMES] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("sizes", "small", "medium", "large"), [(COCO_SIZES, 0, 32**2, 96**2), (ISAID_SIZES, 10**2, 144**2, 512**2)]
)
def test_the_bounds_of_small_medium_and_large_are_the_published_ones(backend, sizes, small, medium, large):
    """An object at a bound belongs to both sizes."""
    ranges = {"bbox/APs": (small, medium), "bbox/APm": (medium, large), "bbox/APl": (large, 1e10)}
    for area in {max(0, bound + step) for bound in (small, medium, large) for step in (-1, 0, 1)}:
        document = truth(thing((0, 0, 40, 40), area=area))
        metrics = evaluate(document, [thing((0, 0, 40, 40), score=1.0)], "bbox", backend=backend, sizes=sizes)
        for name, (least, most) in ranges.items():
            assert (metrics[name] is not None) == (least <= area <= most), (name, area)
