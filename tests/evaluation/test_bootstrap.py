"""AP on resamples of the images: equal to evaluating data sets in which images are really repeated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.evaluation import generate
from reprolib.evaluation.bootstrap import RECALLS, _recalls_reached, average_precision, resample_counts
from reprolib.evaluation.coco import accumulate
from reprolib.evaluation.matches import MatchesError, load_matches, write_matches

SIZE = 100


def _resampled(document, detections, times):
    """The data set with image i `times[i]` times, copies one after the other with ids of their own."""
    images, annotations, found = [], [], []
    for image, count in zip(document["images"], times, strict=True):
        for _ in range(count):
            number = len(images) + 1
            images.append(image | {"id": number})
            annotations += [
                one | {"image_id": number} for one in document["annotations"] if one["image_id"] == image["id"]
            ]
            found += [one | {"image_id": number} for one in detections if one["image_id"] == image["id"]]
    annotations = [one | {"id": index} for index, one in enumerate(annotations, start=1)]
    return document | {"images": images, "annotations": annotations}, found


def _matches(document, detections, iou_type="bbox", backend="pycocotools", **more):
    return accumulate(document, detections, iou_type, backend=backend, keep_matches=True, **more).matches


def _assert_as_evaluated(document, detections, iou_type="bbox", *, resamples=6, backend="hotcoco", **more):
    counts = resample_counts(len(document["images"]), resamples=resamples, seed=3)
    ours = average_precision(_matches(document, detections, iou_type, **more), counts)
    for index in range(resamples):
        copied = _resampled(document, detections, counts[:, index])
        theirs = accumulate(*copied, iou_type, backend=backend, **more).metrics()
        for metric, values in ours.items():
            expected = theirs[f"{iou_type}/{metric}"]
            if expected is None:
                assert np.isnan(values[index]), metric
            else:
                assert values[index] == pytest.approx(expected, abs=1e-9), metric


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("backend", ["pycocotools", "hotcoco"])
def test_equal_to_a_full_evaluation_of_the_resampled_data_set(iou_type, backend):
    """With crowds, all sizes, 80 classes of which most are absent from some resample, scores of three digits."""
    document, detections = generate(images=25, detections=600, seed=1)
    assert any(one["iscrowd"] for one in document["annotations"])
    _assert_as_evaluated(document, detections, iou_type, backend=backend, resamples=2)


def _boxes(rng, images, objects, detections, classes, *, digits):
    def box():
        return [*rng.uniform(0, 60, 2).round(1).tolist(), *rng.uniform(4, 60, 2).round(1).tolist()]

    annotations = []
    for number in range(1, objects + 1):
        one = box()
        annotations.append(
            {
                "id": number,
                "image_id": int(rng.integers(1, images + 1)),
                "category_id": int(rng.integers(1, classes + 1)),
            }
            | {"bbox": one, "area": one[2] * one[3], "iscrowd": int(rng.random() < 0.15)}
        )
    found = []
    for _ in range(detections):
        near = annotations[rng.integers(objects)] if objects and rng.random() < 0.7 else None
        moved = (np.array(near["bbox"]) * rng.uniform(0.8, 1.2, 4)).tolist() if near else box()
        place = near or {"image_id": int(rng.integers(1, images + 1)), "category_id": int(rng.integers(1, classes + 1))}
        found.append(
            {"image_id": place["image_id"], "category_id": place["category_id"], "bbox": moved}
            | {"score": round(float(rng.random()), digits)}
        )
    document = {
        "images": [{"id": 7 * n, "height": SIZE, "width": SIZE} for n in range(1, images + 1)],
        "categories": [{"id": n, "name": f"class {n}"} for n in range(1, classes + 1)],
        "annotations": [one | {"image_id": 7 * one["image_id"]} for one in annotations],
    }
    return document, [one | {"image_id": 7 * one["image_id"]} for one in found]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(0, 40), st.integers(0, 80), st.sampled_from([0, 1, 2, 9]))
def test_equal_on_anything_generated(seed, images, objects, detections, digits):
    """Few digits make ties: within an image, between images, between copies."""
    rng = np.random.default_rng(seed)
    document, found = _boxes(rng, images, objects, detections, 3, digits=digits)
    _assert_as_evaluated(document, found, resamples=3)


def test_only_the_detections_that_count():
    rng = np.random.default_rng(5)
    document, found = _boxes(rng, 6, 40, 300, 1, digits=2)
    _assert_as_evaluated(document, found, max_detections=12)
    assert len(_matches(document, found, max_detections=12).score) == 72


def test_every_image_once_is_the_evaluation_itself():
    document, detections = generate(images=40, detections=900, seed=2)
    evaluated = accumulate(document, detections, "segm", keep_matches=True)
    ours = average_precision(evaluated.matches, np.ones((40, 1)))
    for metric, expected in evaluated.metrics().items():
        if "/AR" not in metric:
            (value,) = ours[metric.removeprefix("segm/")]
            assert np.isnan(value) if expected is None else value == pytest.approx(expected, abs=1e-9)


def test_both_backends_give_the_same_matches():
    document, detections = generate(images=30, detections=700, seed=4)
    ours, theirs = (_matches(document, detections, backend=name) for name in ("pycocotools", "hotcoco"))
    for field in ("class_names", "image_ids", "objects", "offsets", "image", "score", "matched", "ignored"):
        assert np.array_equal(getattr(ours, field), getattr(theirs, field)), field
    assert ours.fingerprint == theirs.fingerprint


def test_resamples_repeat_by_seed_and_hold_as_many_images():
    counts = resample_counts(50, resamples=20, seed=1)
    assert np.array_equal(counts, resample_counts(50, resamples=20, seed=1))
    assert not np.array_equal(counts, resample_counts(50, resamples=20, seed=2))
    assert (counts.sum(axis=0) == 50).all()
    assert counts.shape == (50, 20)


def test_little_memory_gives_the_same(monkeypatch):
    document, detections = generate(images=30, detections=700, seed=4)
    matches, counts = _matches(document, detections), resample_counts(30, resamples=11)
    whole = average_precision(matches, counts)
    monkeypatch.setattr("reprolib.evaluation.bootstrap.CELLS", 40)
    parts = average_precision(matches, counts)
    assert all(np.array_equal(whole[metric], parts[metric], equal_nan=True) for metric in whole)


def test_counts_of_other_images_are_refused():
    document, detections = generate(images=5, detections=20, seed=4)
    with pytest.raises(ValueError, match="counts are of 4 images, the matches of 5"):
        average_precision(_matches(document, detections), resample_counts(4, resamples=2))


def test_matches_come_back_from_a_file(tmp_path):
    document, detections = generate(images=20, detections=400, seed=4)
    kept = {name: _matches(document, detections, name) for name in ("bbox", "segm")}
    for name in ("a.npz", "b.npz"):
        write_matches(tmp_path / name, kept)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = load_matches(tmp_path / "a.npz")
    assert set(back) == {"bbox", "segm"}
    counts = resample_counts(20, resamples=3)
    for name, matches in kept.items():
        ours, theirs = average_precision(matches, counts), average_precision(back[name], counts)
        assert all(np.array_equal(ours[metric], theirs[metric], equal_nan=True) for metric in ours)
    write_matches(tmp_path / "none.npz", {})
    assert load_matches(tmp_path / "none.npz") == {}


def test_a_file_that_holds_no_matches_is_named(tmp_path):
    path = tmp_path / "run.npz"
    for content in (b"", b"no archive", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(MatchesError, match=r"run\.npz.*evaluate the run again"):
            load_matches(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(MatchesError, match="evaluate the run again"):
        load_matches(path)


def test_a_recall_that_is_missed_by_the_last_bit_alone_is_not_reached_as_in_cocos_code():
    """For all fractions of up to 200 objects: the number of COCO's 101 recalls that are at most hits / objects."""
    objects = np.arange(1, 201)
    for hits in range(0, 201):
        counted = np.minimum(hits, objects)[None]
        expected = np.searchsorted(RECALLS, counted[0] / objects, side="right")
        assert np.array_equal(_recalls_reached(counted, objects)[0], expected)
