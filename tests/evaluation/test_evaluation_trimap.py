"""Bands drawn by hand, objects beside detections counted by hand, and a plain reference over whole images."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from pycocotools import mask as pycocotools_mask

from reprolib.evaluation.coco_inputs import EvaluationError
from reprolib.evaluation.trimap import WIDTHS, boundary_band, evaluate_trimap

SIZE = 20


def thing(rows, columns, *, category=1, image=1, **more):
    """A rectangle of SIZE x SIZE pixels, given by slices."""
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8, order="F")
    mask[rows, columns] = 1
    return entry(mask, category=category, image=image, **more)


def entry(mask, *, category=1, image=1, **more):
    rle = pycocotools_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
    return {"image_id": image, "category_id": category, "segmentation": segmentation} | more


def truth(*annotations, images=1, size=SIZE):
    return {
        "images": [{"id": i + 1, "height": size, "width": size} for i in range(images)],
        "categories": [{"id": 1, "name": "ship"}, {"id": 2, "name": "plane"}],
        "annotations": [annotation | {"id": n} for n, annotation in enumerate(annotations)],
    }


def accuracies(metrics, name="trimap_accuracy"):
    return [metrics[f"{name}/{width}"] for width in WIDTHS]


def drawing(text):
    return np.array([[character == "#" for character in line] for line in text.split()])


ALL = slice(None)


def test_band_of_one_pixel_around_a_drawn_object():
    mask = drawing("........ ........ ..####.. ..####.. ..####.. ..####.. ........ ........")
    band = drawing("........ .######. .######. .##..##. .##..##. .######. .######. ........")
    np.testing.assert_array_equal(boundary_band(mask, 1), band)
    assert boundary_band(mask, 3).all()  # 3 px outwards reach past the image, 3 px inwards past the middle


def test_the_images_border_is_no_boundary():
    mask = drawing("####.... ####.... ####.... ####....")
    np.testing.assert_array_equal(boundary_band(mask, 1), drawing("...##... ...##... ...##... ...##..."))
    np.testing.assert_array_equal(boundary_band(mask, 3), drawing(".######. .######. .######. .######."))
    assert not boundary_band(np.ones((5, 5), dtype=bool), 3).any()


def test_diagonal_neighbours_are_within_one_pixel():
    mask = np.zeros((7, 7), dtype=bool)
    mask[3, 3] = True
    assert boundary_band(mask, 1).sum() == 9
    assert boundary_band(mask, 3).sum() == 49


def test_a_mask_one_pixel_too_wide():
    # object: columns 0..9; detection: 0..10. Bands: columns 9, 10; 7..12; 2..17.
    metrics = evaluate_trimap(truth(thing(ALL, slice(0, 10))), [thing(ALL, slice(0, 11), score=0.3)])
    assert accuracies(metrics) == pytest.approx([100 * 1 / 2, 100 * 3 / 4, 100 * 8 / 9])
    assert accuracies(metrics, "trimap_pixel_accuracy") == pytest.approx([100 * 1 / 2, 100 * 5 / 6, 100 * 15 / 16])


def test_errors_away_from_the_boundary_count_only_in_wide_bands():
    hollow = np.zeros((SIZE, SIZE))
    hollow[:, 5:10] = 1  # columns 0..4 are missing
    metrics = evaluate_trimap(truth(thing(ALL, slice(0, 10))), [entry(hollow, score=1.0)])
    assert accuracies(metrics) == pytest.approx([100.0, 100.0, 100 * 5 / 8])
    assert accuracies(metrics, "trimap_pixel_accuracy") == pytest.approx([100.0, 100.0, 100 * 13 / 16])


def test_what_is_not_found_is_zero_in_both_readings():
    left, right = thing(ALL, slice(0, 4)), thing(ALL, slice(12, 20))
    for document in (truth(left, right), truth(left, right | {"category_id": 2}), truth(left, right | {"image_id": 2})):
        document["images"] = truth(images=2)["images"]
        # of another class or in another image it finds nothing; nor does it where it does not overlap
        metrics = evaluate_trimap(document, [thing(ALL, slice(0, 4), score=0.5)])
        assert set(metrics.values()) == {50.0}
    assert set(evaluate_trimap(truth(left), []).values()) == {0.0}
    assert set(evaluate_trimap(truth(left), [thing(ALL, slice(8, 9), score=0.9)]).values()) == {0.0}


def test_the_best_overlap_is_taken_and_not_the_best_score():
    document = truth(thing(ALL, slice(0, 10)))
    poor, exact = thing(ALL, slice(0, 14), score=0.9), thing(ALL, slice(0, 10), score=0.06)
    assert set(evaluate_trimap(document, [poor, exact]).values()) == {100.0}
    # ... of those that the limit admits, by the score that ranks masks
    limited = evaluate_trimap(document, [poor, exact], max_detections=1)
    assert accuracies(limited) == pytest.approx([50.0, 50.0, 100 * 8 / 12])
    reranked = [poor | {"mask_score": 0.01}, exact]
    assert set(evaluate_trimap(document, reranked, max_detections=1).values()) == {100.0}


def test_one_detection_may_serve_two_objects():
    two = truth(thing(slice(0, 10), slice(0, 10)), thing(slice(10, 20), slice(0, 10)))
    metrics = evaluate_trimap(two, [thing(ALL, slice(0, 10), score=0.5)])
    assert all(0 < value < 100 for value in metrics.values())


def test_crowds_empty_masks_and_objects_without_a_boundary_do_not_count():
    ship = thing(slice(2, 9), slice(0, 10))
    crowd, empty, everything = thing(ALL, slice(5, 9), iscrowd=1), thing(slice(0), slice(0)), thing(ALL, ALL)
    found = [thing(slice(2, 9), slice(0, 10), score=0.5)]
    assert set(evaluate_trimap(truth(ship, crowd, empty, everything), found).values()) == {100.0}
    assert set(evaluate_trimap(truth(crowd, empty, everything), found).values()) == {None}
    assert set(evaluate_trimap(truth(), found).values()) == {None}
    assert list(evaluate_trimap(truth(), [])) == [
        f"{name}/{width}" for name in ("trimap_accuracy", "trimap_pixel_accuracy") for width in (1, 3, 8)
    ]


def blob(rng, size):
    mask = np.zeros((size, size), dtype=bool)
    for _ in range(int(rng.integers(1, 4))):
        y, x = rng.integers(-6, size, 2)
        mask[max(y, 0) : max(y + rng.integers(1, 20), 0), max(x, 0) : max(x + rng.integers(1, 20), 0)] ^= True
    return mask


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_the_definition_taken_literally(seed):
    rng = np.random.default_rng(seed)
    size = 36
    objects = [blob(rng, size) for _ in range(5)]
    found = [np.roll(mask, rng.integers(-2, 3, 2), axis=(0, 1)) for mask in objects] + [blob(rng, size)]
    y, x = np.indices((size, size)).reshape(2, -1)
    apart = np.maximum(abs(y[:, None] - y), abs(x[:, None] - x))  # [pixels, pixels]
    rows = []
    for wanted in (mask.ravel() for mask in objects):
        if not wanted.any():
            continue
        ious = [(wanted & given.ravel()).sum() / (wanted | given.ravel()).sum() for given in found]
        given = found[int(np.argmax(ious))].ravel()
        to_object, to_rest = apart[:, wanted].min(1), apart[:, ~wanted].min(1)
        for width in WIDTHS:
            band = (to_object <= width) & (to_rest <= width)
            both, either = wanted & given & band, (wanted | given) & band
            right = (wanted == given) & band
            rows.append((both.sum() / either.sum(), right.sum() / band.sum()))
            if max(ious) == 0:
                rows[-1] = (0.0, 0.0)
    expected = 100 * np.array(rows).reshape(-1, len(WIDTHS), 2).mean(0)
    metrics = evaluate_trimap(
        truth(*(entry(mask) for mask in objects), size=size),
        [entry(mask, score=0.9 - n / 10) for n, mask in enumerate(found)],
    )
    assert accuracies(metrics) == pytest.approx(expected[:, 0])
    assert accuracies(metrics, "trimap_pixel_accuracy") == pytest.approx(expected[:, 1])


def test_input_is_left_alone_and_what_cannot_be_evaluated_is_named():
    document, results = truth(thing(ALL, slice(0, 10))), [thing(ALL, slice(0, 9), score=0.5)]
    before = copy.deepcopy((document, results))
    evaluate_trimap(document, results)
    assert (document, results) == before
    with pytest.raises(EvaluationError, match=r"detection 1 .*no segmentation"):
        evaluate_trimap(document, [results[0] | {"segmentation": None}])
    with pytest.raises(EvaluationError, match="annotation 0 has no segmentation"):
        evaluate_trimap(truth(thing(ALL, ALL) | {"segmentation": None}), results)
