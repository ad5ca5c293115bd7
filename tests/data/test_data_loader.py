"""The stream of batches depends on the data set and the seed, and on nothing else."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from torchvision import tv_tensors

from reprolib.data.coco import CocoInstances
from reprolib.data.loader import batches, repeat_factors
from reprolib.data.transforms import seeded, training_transform


@pytest.fixture
def dataset(make_set, document):
    document["images"] = [dict(document["images"][0], id=k, file_name=f"{k}.png") for k in range(7)]
    document["annotations"] = [
        dict(document["annotations"][0], id=k, image_id=k, category_id=5 if k == 3 else 0) for k in range(7)
    ]
    return CocoInstances(*make_set(document), train=True, flip=True)


def take(count, dataset, **options):
    stream = batches(dataset, **{"batch_size": 3, "seed": 1, "start": 0, "workers": 0} | options)
    return list(itertools.islice(stream, count))


def ids(taken):
    return [target["image_id"] for _, targets in taken for target in targets]


def same(first, second):
    for (images, targets), (other_images, other_targets) in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(images, other_images, strict=True))
        for target, other in zip(targets, other_targets, strict=True):
            assert target.keys() == other.keys() and target["image_id"] == other["image_id"]
            assert all(torch.equal(target[key], other[key]) for key in target if key != "image_id")


def test_each_epoch_has_every_item_once_in_another_order(dataset):
    seen = ids(take(7, dataset))  # 21 items are three epochs of 7, across the ends of batches
    epochs = [seen[0:7], seen[7:14], seen[14:21]]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("start", [1, 2, 3, 5])
def test_start_continues_bit_for_bit(dataset, start):
    same(take(8, dataset)[start:], take(8 - start, dataset, start=start))


def test_workers_do_not_matter(dataset):
    same(take(6, dataset), take(6, dataset, workers=2))
    same(take(6, dataset)[3:], take(3, dataset, start=3, workers=2))


def test_seed_matters(dataset):
    assert ids(take(4, dataset)) != ids(take(4, dataset, seed=2))


def test_augmentation_differs_between_epochs(dataset):
    """An item is not mirrored the same way forever."""
    by_image = {}
    for images, targets in take(28, dataset):
        for image, target in zip(images, targets, strict=True):
            by_image.setdefault(target["image_id"], set()).add(image.numpy().tobytes())
    assert all(len(views) == 2 for views in by_image.values())


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_random_stream_is_left_alone(dataset, workers):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    take(3, dataset, workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


def test_global_random_state_does_not_matter(dataset):
    torch.manual_seed(0)
    first = take(4, dataset)
    torch.manual_seed(1)
    same(first, take(4, dataset))


def test_batches_hold_plain_tensors(dataset):
    images, targets = take(1, dataset)[0]
    assert type(images[0]) is torch.Tensor and images[0].dtype == torch.uint8
    assert type(targets[0]["boxes"]) is torch.Tensor and type(targets[0]["masks"]) is torch.Tensor


def test_repeat_factors_follow_lvis():
    labels = [{1}, {1}, {1}, {1, 2}, set()]
    # f(1) = 0.8, f(2) = 0.2; threshold 0.5: r(2) = sqrt(2.5)
    assert repeat_factors(labels, threshold=0.5).tolist() == pytest.approx([1, 1, 1, 2.5**0.5, 1])
    assert repeat_factors(labels, threshold=0.1).tolist() == [1] * 5


def test_rare_classes_come_more_often(dataset):
    options = {"repeat_factor": 0.9, "batch_size": 7}  # the rare image: sqrt(0.9 * 7) = 2.51 times per epoch
    taken = take(100, dataset, **options)
    seen = Counter(ids(taken))
    common = sum(count for number, count in seen.items() if number != 3) / 6
    assert seen[3] / common == pytest.approx(2.51 / 1.025, rel=0.1)
    same(taken[60:], take(40, dataset, start=60, **options))


def test_impossible_arguments(dataset):
    with pytest.raises(ValueError, match="batch_size 0"):
        batches(dataset, batch_size=0, seed=0)
    with pytest.raises(ValueError, match="empty"):
        batches([], batch_size=1, seed=0)


class Draws(torch.utils.data.Dataset):
    """Items whose image holds a number that was drawn while the item was made."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return torch.rand(1), {"image_id": index}


def test_a_position_draws_other_random_numbers_in_each_epoch():
    epochs = [[image.item() for image in images] for images, _ in take(3, Draws(), batch_size=5)]
    assert len({value for epoch in epochs for value in epoch}) == 15


def test_half_of_the_items_are_mirrored():
    transform = training_transform(flip=True)
    image = tv_tensors.Image(torch.arange(2, dtype=torch.uint8).expand(3, 1, 2))
    boxes = tv_tensors.BoundingBoxes(torch.tensor([[0.0, 0, 1, 1]]), format="XYXY", canvas_size=(1, 2))
    mirrored = 0
    for seed in range(400):
        with seeded(seed):
            drawn, _ = transform(image, {"boxes": boxes})
        mirrored += int(drawn[0, 0, 0])
    assert 160 < mirrored < 240  # four standard deviations
