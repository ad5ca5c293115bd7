"""Hand-computed regions and scores, and the evaluation without its shortcut."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
import pytest
from pycocotools import mask as pycocotools_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from reprolib.evaluation.boundary import boundary_region, evaluate_boundary
from reprolib.evaluation.coco import evaluate
from reprolib.evaluation.coco_inputs import EvaluationError
from reprolib.evaluation.morphology import decode

SIZE = 100  # its diagonal is 141.4 px, of which 2 % are 3


def square(x, y, side, *, size=SIZE):
    mask = np.zeros((size, size), dtype=np.uint8, order="F")
    mask[y : y + side, x : x + side] = 1
    return mask


def entry(mask, *, image=1, category=1, **more):
    rle = pycocotools_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
    return {"image_id": image, "category_id": category, "segmentation": segmentation} | more


def truth(*annotations, images=1):
    return {
        "images": [{"id": i + 1, "height": SIZE, "width": SIZE} for i in range(images)],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(("ship", "plane", "truck"))],
        "annotations": [annotation | {"id": n} for n, annotation in enumerate(annotations)],
    }


def region(mask):
    return decode(boundary_region(entry(mask)["segmentation"]))


def values(metrics):
    assert list(metrics) == ["boundary/AP", "boundary/AP50", "boundary/AP75"]
    return list(metrics.values())


def test_region_is_three_pixels_deep_and_the_images_border_counts():
    for x, y in ((30, 40), (0, 0), (80, 30)):  # in the middle, in a corner, at the right border
        wanted = square(x, y, 20)
        wanted[y + 3 : y + 17, x + 3 : x + 17] = 0
        np.testing.assert_array_equal(region(square(x, y, 20)), wanted)
    np.testing.assert_array_equal(region(square(10, 10, 6)), square(10, 10, 6))  # thin ones are all boundary
    assert region(square(0, 0, 0)).sum() == 0


def test_depth_follows_the_images_diagonal_and_is_at_least_one():
    assert region(square(2, 2, 6, size=10)).sum() == 36 - 16  # 0.28 px: one
    assert region(square(20, 20, 60, size=200)).sum() == 60**2 - 48**2  # 5.66 px: six


def test_a_shift_of_one_pixel_costs_the_boundary_more_than_the_mask():
    # mask IoU 39/41 = 0.951, above all thresholds. Rings of 444 px each share 39*40 - 35*34 = 370: IoU 0.714
    document, results = truth(entry(square(30, 30, 40))), [entry(square(31, 30, 40), score=0.5)]
    assert evaluate(document, results, "segm")["segm/AP"] == pytest.approx(100.0)
    assert values(evaluate_boundary(document, results)) == pytest.approx([50.0, 100.0, 0.0])


def test_the_mask_must_match_too():
    ring = square(30, 30, 40) - square(33, 33, 34)  # the object's boundary region alone: mask IoU 0.28
    document = truth(entry(square(30, 30, 40)))
    np.testing.assert_array_equal(region(ring), region(square(30, 30, 40)))
    assert values(evaluate_boundary(document, [entry(ring, score=0.5)])) == [0.0, 0.0, 0.0]


def test_a_detection_on_a_crowd_is_neither_right_nor_wrong():
    crowd = entry(square(0, 0, 60), iscrowd=1)
    document = truth(entry(square(70, 70, 20)), crowd)
    results = [entry(square(10, 10, 40), score=0.9), entry(square(70, 70, 20), score=0.5)]
    assert values(evaluate_boundary(document, results)) == pytest.approx([100.0] * 3)


def test_ranking_and_limit_are_those_of_masks():
    document = truth(entry(square(30, 30, 40)))
    wrong, right = entry(square(0, 0, 9), score=0.9), entry(square(30, 30, 40), score=0.8)
    assert values(evaluate_boundary(document, [wrong, right])) == pytest.approx([50.0] * 3)
    assert values(evaluate_boundary(document, [wrong, right], max_detections=1)) == [0.0] * 3
    assert values(evaluate_boundary(document, [wrong | {"mask_score": 0.1}, right])) == pytest.approx([100.0] * 3)


def test_no_detections_is_zero_and_no_objects_is_none():
    assert values(evaluate_boundary(truth(entry(square(9, 9, 9))), [])) == [0.0] * 3
    assert values(evaluate_boundary(truth(), [entry(square(9, 9, 9), score=0.5)])) == [None] * 3


def test_input_is_left_alone_nothing_is_printed_and_errors_are_named(capfd):
    document, results = truth(entry(square(30, 30, 40))), [entry(square(31, 30, 40), score=0.5)]
    before = copy.deepcopy((document, results))
    evaluate_boundary(document, results)
    assert (document, results) == before
    assert capfd.readouterr() == ("", "")
    with pytest.raises(EvaluationError, match="annotation 0 has no segmentation"):
        evaluate_boundary(truth(entry(square(0, 0, 9)) | {"segmentation": []}), results)


def random_set(seed):
    """Overlapping rectangles with dents, tied scores, crowds, absent and wrong classes, empty images."""
    rng = np.random.default_rng(seed)
    annotations, results = [], []
    for image in range(1, 7):
        for _ in range(int(rng.integers(0, 6)) if image > 1 else 0):
            x, y = rng.integers(0, 60, 2)
            mask = square(x, y, int(rng.integers(8, 40)))
            mask[y : y + 4, x : x + 4] = 0
            category = int(rng.integers(1, 3))
            crowd = int(rng.random() < 0.2)
            annotations.append(entry(mask, image=image, category=category, iscrowd=crowd))
            for _ in range(int(rng.integers(0, 4))):
                moved = np.roll(mask, rng.integers(-1, 2, 2), axis=(0, 1))
                label = category if rng.random() < 0.9 else 3
                results.append(entry(moved, image=image, category=label, score=round(float(rng.random()), 1)))
        for _ in range(3):
            x, y, side = rng.integers(0, 60, 3)
            results.append(entry(square(x, y, int(side) + 3), image=image, score=round(float(rng.random()), 1)))
    rng.shuffle(results)
    return truth(*annotations, images=6), results


class EveryPair(COCOeval):
    """Both IoUs of all pairs, from whole images."""

    def computeIoU(self, imgId, catId):
        found, objects = self._dts[imgId, catId], self._gts[imgId, catId]
        found = sorted(found, key=lambda entry: -entry["score"])[: self.params.maxDets[-1]]
        if not found or not objects:
            return []
        ious = np.zeros((len(found), len(objects)))
        for d, given in enumerate(decode(entry["segmentation"]) for entry in found):
            for g, wanted in enumerate(decode(entry["segmentation"]) for entry in objects):
                if objects[g]["iscrowd"]:
                    ious[d, g] = (given & wanted).sum() / given.sum()
                    continue
                pairs = [(given, wanted), (self.ring(given), self.ring(wanted))]
                ious[d, g] = min((a & b).sum() / (a | b).sum() for a, b in pairs)
        return ious

    @staticmethod
    def ring(mask):
        padded = np.pad(mask, 3)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7))
        return mask & (windows.min((2, 3)) == 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [100, 3])
def test_equal_to_the_evaluation_of_every_pair(seed, limit):
    document, results = random_set(seed)
    ours = values(evaluate_boundary(document, results, max_detections=limit))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(document)
        for number, annotation in enumerate(coco.dataset["annotations"], start=1):
            area = float(pycocotools_mask.area(annotation["segmentation"]))
            annotation |= {"id": number, "area": area}
        coco.createIndex()
        plain = EveryPair(coco, coco.loadRes(copy.deepcopy(results)), "segm")
        plain.params.maxDets = [1, 2, limit]
        plain.evaluate()
        plain.accumulate()
    precision = plain.eval["precision"][..., 0, -1]
    expected = [precision, precision[0], precision[5]]
    assert ours == pytest.approx([100 * part[part > -1].mean() for part in expected], abs=1e-9)
    assert 0 < ours[0] < ours[1]
    assert ours[0] < evaluate(document, results, "segm")["segm/AP"]
