"""The generated families: what they promise of masks, classes, sizes and randomness."""

from __future__ import annotations

import numpy as np
import pytest

from reprolib.data.scenes import aerial, sar_ships, street
from reprolib.data.scenes.canvas import Canvas, box, ellipse, place
from reprolib.data.scenes.write import scene_rng

FAMILIES = pytest.mark.parametrize("family", [sar_ships, aerial, street], ids=lambda f: f.__name__.rpartition(".")[2])


def draw(family, index: int, *, size: int = 96):
    return family.scene(scene_rng(seed=3, split="train", index=index), size)


@pytest.fixture(scope="module")
def sample():
    """60 scenes of every family, drawn once."""
    return {family: [draw(family, index) for index in range(60)] for family in (sar_ships, aerial, street)}


@FAMILIES
def test_same_state_same_scene(family, sample):
    image, instances = draw(family, 5)
    expected_image, expected = sample[family][5]
    np.testing.assert_array_equal(image, expected_image)
    assert [c for c, _ in instances] == [c for c, _ in expected]
    for (_, mask), (_, expected_mask) in zip(instances, expected, strict=True):
        np.testing.assert_array_equal(mask, expected_mask)


@FAMILIES
def test_masks_are_disjoint_visible_and_of_the_image_size(family, sample):
    for image, instances in sample[family]:
        assert image.shape == (96, 96, 3) and image.dtype == np.uint8
        claimed = np.zeros((96, 96), int)
        for class_index, mask in instances:
            assert 0 <= class_index < len(family.CLASSES)
            assert mask.shape == (96, 96) and mask.dtype == bool
            assert mask.sum() >= 12
            claimed += mask
        assert claimed.max(initial=0) <= 1


@FAMILIES
def test_every_class_occurs_and_few_scenes_are_empty(family, sample):
    classes = {class_index for _, instances in sample[family] for class_index, _ in instances}
    assert classes == set(range(len(family.CLASSES)))
    counts = [len(instances) for _, instances in sample[family]]
    assert sum(count == 0 for count in counts) <= 6
    assert 2 <= np.mean(counts) <= 20


@FAMILIES
def test_objects_can_be_seen(family, sample):
    """Inside and just outside of a mask differ in brightness or colour for nearly all objects."""
    contrasts = []
    for image, instances in sample[family]:
        taken = np.any([mask for _, mask in instances], axis=0) if instances else None
        for _, mask in instances:
            near = mask.copy()
            for axis in (0, 1):
                for step in (-2, 2):
                    near |= np.roll(mask, step, axis)
            around = near & ~taken
            if around.sum() >= 10:
                inside, outside = image[mask].astype(float), image[around].astype(float)
                contrasts.append(np.abs(inside.mean(0) - outside.mean(0)).max() + abs(inside.std() - outside.std()))
    assert np.mean(np.array(contrasts) > 8) > 0.9


@FAMILIES
@pytest.mark.parametrize("size", [64, 128, 250])
def test_scenes_of_other_sizes(family, size):
    for index in range(3):
        image, instances = draw(family, index, size=size)
        assert image.shape == (size, size, 3)
        assert all(mask.shape == (size, size) for _, mask in instances)
        assert 20 < image.mean() < 235 or family is sar_ships


@FAMILIES
def test_objects_grow_with_the_frame(family):
    small = [mask.mean() for index in range(15) for _, mask in draw(family, index, size=96)[1]]
    large = [mask.mean() for index in range(15) for _, mask in draw(family, index, size=192)[1]]
    assert np.median(large) == pytest.approx(np.median(small), rel=0.5)


def test_sar_images_are_grey(sample):
    for image, _ in sample[sar_ships][:10]:
        assert (image == image[..., :1]).all()


def test_street_masks_are_the_visible_parts():
    canvas = Canvas(128)
    canvas.own(0, canvas.coverage(box(10, 10, 50, 50)))
    canvas.own(1, canvas.coverage(box(30, 10, 70, 50)))
    canvas.hide(canvas.coverage(box(60, 0, 80, 128)))
    (_, behind), (_, front) = canvas.instances()
    assert behind.sum() == 20 * 40 and front.sum() == 30 * 40


def test_hidden_instances_are_dropped():
    canvas = Canvas(128)
    canvas.own(0, canvas.coverage(box(10, 10, 50, 50)))
    canvas.own(1, canvas.coverage(box(10, 10, 50, 45)))  # leaves an eighth of the first
    canvas.own(2, canvas.coverage(box(100, 100, 103, 103)))  # nine pixels
    assert [class_index for class_index, _ in canvas.instances()] == [1]


@pytest.mark.parametrize("size", [64, 128, 300])
def test_coverage_is_the_area(size):
    canvas = Canvas(size)
    unit = (size / 128) ** 2
    assert canvas.coverage(box(20, 30, 44, 50)).coverage.sum() == pytest.approx(24 * 20 * unit, rel=0.03)
    assert canvas.coverage(ellipse(60, 60, 20, 12, 64)).coverage.sum() == pytest.approx(np.pi * 240 * unit, rel=0.03)
    turned = place(box(-20, -6, 20, 6), 64, 64, 0.7)
    assert canvas.coverage(turned).coverage.sum() == pytest.approx(480 * unit, rel=0.04)


def test_shapes_outside_the_frame_cover_nothing():
    canvas = Canvas(128)
    for shape in (box(-40, 10, -5, 50), box(140, 10, 180, 50), box(10, -40, 20, -5), box(10, 140, 20, 150)):
        patch = canvas.coverage(shape)
        assert patch.coverage.size == 0
        canvas.paint(patch, 1.0)
        canvas.own(0, patch)
    assert canvas.instances() == [] and not canvas.image.any()
