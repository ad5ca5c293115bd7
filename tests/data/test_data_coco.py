"""CocoInstances reads the quirks of the wild and refuses what cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors

from reprolib.data import masks
from reprolib.data.coco import CocoInstances
from reprolib.data.errors import DataError
from reprolib.data.transforms import training_transform


def test_training_items(make_set, document):
    dataset = CocoInstances(*make_set(document), train=True)
    assert dataset.class_names == ["ship", "plane"] and dataset.category_ids == [0, 5]
    assert dataset.image_ids == [0, 7] and dataset.sizes == [(30, 40), (30, 40)]
    assert dataset.image_labels == [{1, 2}, {2}]
    assert dataset.skipped == {"crowds": 1, "images without usable instance": 1}
    image, target = dataset[0]
    assert isinstance(image, tv_tensors.Image) and image.shape == (3, 30, 40) and image.dtype == torch.uint8
    assert isinstance(target["boxes"], tv_tensors.BoundingBoxes) and isinstance(target["masks"], tv_tensors.Mask)
    assert target["boxes"].tolist() == [[2, 3, 12, 13], [20, 4, 34, 9]]  # the polygon's, not the JSON's
    assert target["area"].tolist() == [100, 50]
    assert target["labels"].tolist() == [1, 2] and target["labels"].dtype == torch.int64
    assert target["masks"].shape == (2, 30, 40) and target["masks"].flatten(1).sum(1).tolist() == [100, 50]
    assert target["iscrowd"].tolist() == [0, 0] and target["image_id"] == 0


def test_evaluation_items_keep_every_image_and_crowds(make_set, document):
    dataset = CocoInstances(*make_set(document), train=False)
    assert dataset.image_ids == [0, 7, 9] and not dataset.skipped
    assert dataset[0][1]["iscrowd"].tolist() == [0, 0, 1]
    empty = dataset[2][1]
    assert empty["boxes"].shape == (0, 4) and empty["masks"].shape == (0, 30, 40) and len(empty["labels"]) == 0


def test_unusable_instances_are_skipped_and_printed(make_set, document, capsys):
    document["annotations"][0]["segmentation"] = [[1, 1, 5, 5]]
    document["annotations"][1]["bbox"] = [20, 4, 0.5, 5]
    document["annotations"][3]["ignore"] = 1
    document["annotations"].append(
        {"id": 4, "image_id": 9, "category_id": 5, "segmentation": [[5, 5, 5.1, 5, 5.1, 5.1]], "area": 0}
    )
    document["annotations"].append({"id": 5, "image_id": 9, "category_id": 5, "segmentation": [[0, 0, 9, 0, 9, 9]]})
    dataset = CocoInstances(*make_set(document), train=True)
    assert dataset.image_ids == [9]
    assert dataset.skipped == {
        "degenerate polygons": 1,
        "instances without a mask pixel": 2,
        "boxes under 1 px": 1,
        "crowds": 1,
        "instances marked `ignore`": 1,
        "images without usable instance": 2,
    }
    assert "left out in training: " in capsys.readouterr().out


def test_a_box_of_one_pixel_is_kept(make_set, document):
    document["annotations"][0]["bbox"] = [2, 3, 1, 11]
    dataset = CocoInstances(*make_set(document), train=True)
    assert dataset.image_labels[0] == {1, 2} and "boxes under 1 px" not in dataset.skipped


def test_lvis_images_are_found_by_their_address(make_set, document):
    for image in document["images"]:
        image["file_name"] = f"val2017/{image['file_name']}"
    made = make_set(document)
    for image in document["images"]:
        image["coco_url"] = f"http://images.cocodataset.org/{image.pop('file_name')}"
    assert CocoInstances(made.images, make_set(document, name="lvis", with_images=False)[1], train=True)[0]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), count=st.integers(0, 5))
def test_flips_keep_image_masks_and_boxes_together(tmp_path_factory, make_set, document, seed, count):
    rng = np.random.default_rng(seed)
    document["annotations"] = document["annotations"][:1] + [
        {
            "id": 10 + k,
            "image_id": 0,
            "category_id": 5,
            "segmentation": [(rng.random(8) * np.tile([40, 30], 4)).tolist()],
        }
        for k in range(count)
    ]
    made = make_set(document, name=f"{tmp_path_factory.mktemp('flip').name}")
    plain = CocoInstances(*made, train=True)[0]
    flipping = CocoInstances(*made, train=True, flip=True)
    torch.manual_seed(seed)
    outcomes = set()
    for _ in range(8):
        image, target = flipping[0]
        flipped = not torch.equal(image, plain[0])
        outcomes.add(flipped)
        turn = (lambda x: x.flip(-1)) if flipped else (lambda x: x)
        assert torch.equal(image, turn(plain[0]))
        assert torch.equal(target["masks"], turn(plain[1]["masks"]))
        for mask, box in zip(target["masks"], target["boxes"], strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            edges = [columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1]
            assert box.tolist() == edges
        assert torch.equal(target["labels"], plain[1]["labels"])
    assert outcomes


def test_flip_is_for_training(make_set, document):
    with pytest.raises(ValueError, match="train=True"):
        CocoInstances(*make_set(document), train=False, flip=True)


def test_images_are_cached_unless_the_set_is_large(make_set, document, monkeypatch):
    made = make_set(document)
    dataset = CocoInstances(*made, train=True)
    first = dataset[0][0].clone()
    dataset[0][0].fill_(0)  # what a caller does to an item must not show in the next
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(made.images / "a.png")
    assert torch.equal(dataset[0][0], first)
    monkeypatch.setattr("reprolib.data.coco.CACHE_BYTES", 100)
    large = CocoInstances(*made, train=True)
    assert large[0][0].sum() == 0


def change(document, key, position, **fields):
    document[key][position].update(fields)


@pytest.mark.parametrize(
    ("kind", "fields", "parts"),
    [
        (("annotations", 0), {"image_id": 3}, ["annotation 0 (image_id 3)", "refers to no image"]),
        (("annotations", 0), {"image_id": "0"}, ["image_id '0'", "refers to no image"]),
        (("annotations", 1), {"category_id": 4}, ["annotation 1 (category_id 4)", "refers to no category"]),
        (("annotations", 1), {"id": 0}, ["annotation 0", "more than once"]),
        (("annotations", 1), {"id": None}, ["position 1", "must be an integer"]),
        (("annotations", 1), {"bbox": [1, 2, 3]}, ["annotation 1", "four finite numbers"]),
        (("annotations", 1), {"bbox": [1, 2, 3, float("nan")]}, ["annotation 1", "four finite numbers"]),
        (("annotations", 1), {"iscrowd": 2}, ["annotation 1 (iscrowd 2)", "0 or 1"]),
        (("annotations", 1), {"segmentation": None}, ["annotation 1", "no `segmentation`"]),
        (("annotations", 1), {"segmentation": [[0, 0, 1, 1, float("inf"), 2]]}, ["annotation 1", "NaN or inf"]),
        (("annotations", 3), {"segmentation": {"size": [9, 9], "counts": [81]}}, ["annotation 3", "[9, 9]"]),
        (("images", 0), {"id": 7}, ["image 7", "more than once"]),
        (("images", 0), {"width": 0}, ["image 0 (width 0)", "positive integers"]),
        (("images", 0), {"height": None}, ["image 0 (height None)", "positive integers"]),
        (("images", 0), {"file_name": "../a.png"}, ["image 0 ('../a.png')", "below the image folder"]),
        (("images", 0), {"file_name": "/etc/a.png"}, ["image 0", "below the image folder"]),
        (("images", 0), {"file_name": None}, ["image 0", "neither `file_name`"]),
        (("categories", 0), {"name": "ship"}, ["category 0 (ship)", "more than once"]),
        (("categories", 0), {"name": None}, ["category 5", "must be text"]),
    ],
)
def test_inconsistent_documents_are_refused(make_set, document, kind, fields, parts):
    made = make_set(document)
    change(document, *kind, **fields)
    annotations = make_set(document, name="broken", with_images=False).annotations
    with pytest.raises(DataError) as error:
        CocoInstances(made.images, annotations, train=True)
    for part in [str(annotations), *parts]:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[1, 2]", "top level is a list"),
        ('{"images": []}', "'annotations' is missing; .*test sets"),
        ('{"images": {}, "annotations": [], "categories": []}', "'images' is dict, not a list"),
        ('{"images": [1], "annotations": [], "categories": []}', "'images' holds something"),
        ('{"images": [], "annotations": [], "categories": []}', "images, categories: the list is empty"),
    ],
)
def test_malformed_files_are_refused(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        CocoInstances(tmp_path, tmp_path / "x.json", train=True)
    assert str(tmp_path / "x.json") in str(error.value)


def test_missing_files(make_set, document, tmp_path):
    with pytest.raises(DataError, match="no such annotation file"):
        CocoInstances(tmp_path, tmp_path / "none.json", train=True)
    made = make_set(document)
    (made.images / "b.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images .* are missing, the first is b\.png"):
        CocoInstances(*made, train=True)


def test_wrong_image_size_names_image_and_file(make_set, document):
    made = make_set(document)
    Image.new("RGB", (30, 40)).save(made.images / "b.png")
    dataset = CocoInstances(*made, train=True)
    with pytest.raises(DataError, match=r"b\.png: the file is 30 x 40, .* 40 x 30 .*\[image 7 of .*set\.json\]"):
        dataset[1]


def test_nothing_to_train_on(make_set, document):
    document["annotations"] = document["annotations"][2:3]
    with pytest.raises(DataError, match="no image with a usable instance"):
        CocoInstances(*make_set(document), train=True)


def test_masks_are_kept_encoded(make_set, document):
    """Decoded masks of a whole set would fill the memory."""
    dataset = CocoInstances(*make_set(document), train=True)
    dataset[0]
    kept = [rle for instances in dataset._instances for rle in instances.rles]
    assert all(isinstance(rle["counts"], bytes) for rle in kept)
    assert masks.areas(kept).tolist() == [100, 50, 120]


def write_maps(folder, made_set, document) -> dict[str, np.ndarray]:
    folder.mkdir()
    maps = {}
    for number, image in enumerate(document["images"]):
        maps[image["file_name"]] = np.full((image["height"], image["width"]), 255, np.uint8)
        maps[image["file_name"]][:, : number + 3] = 7
        Image.fromarray(maps[image["file_name"]]).save((folder / image["file_name"]).with_suffix(".png"))
    return maps


def test_semantic_maps_come_along_and_are_flipped_with_the_image(make_set, document, tmp_path):
    made = make_set(document)
    maps = write_maps(tmp_path / "maps", made, document)
    plain = CocoInstances(made.images, made.annotations, train=True, semantic=tmp_path / "maps")
    _, target = plain[0]
    assert torch.equal(target["semantic"].as_subclass(torch.Tensor), torch.from_numpy(maps["a.png"]))
    flipped = CocoInstances(made.images, made.annotations, train=True, flip=True, semantic=tmp_path / "maps")
    expected = {bool(flip): torch.from_numpy(maps["a.png"]).flip(1) if flip else target["semantic"] for flip in (0, 1)}
    seen = set()
    for seed in range(8):
        torch.manual_seed(seed)
        image, mirrored = flipped[0]
        flip = not torch.equal(image, plain[0][0])
        seen.add(flip)
        assert torch.equal(mirrored["semantic"].as_subclass(torch.Tensor), expected[flip].as_subclass(torch.Tensor))
    assert seen == {True, False}


def test_broken_semantic_maps_are_named(make_set, document, tmp_path):
    made = make_set(document)
    write_maps(tmp_path / "maps", made, document)
    dataset = CocoInstances(made.images, made.annotations, train=True, semantic=tmp_path / "maps")
    Image.new("RGB", (40, 30)).save(tmp_path / "maps" / "a.png")
    with pytest.raises(DataError, match=r"a\.png: a class map has one 8-bit channel, this is of mode RGB"):
        dataset[0]
    Image.new("L", (40, 31)).save(tmp_path / "maps" / "a.png")
    with pytest.raises(DataError, match="the file is 40 x 31"):
        dataset[0]
    (tmp_path / "maps" / "a.png").unlink()
    with pytest.raises(DataError, match="class map missing"):
        dataset[0]


def test_an_instance_out_of_view_does_not_take_the_semantic_map_along():
    boxes = tv_tensors.BoundingBoxes([[0.0, 0, 9, 9], [3, 3, 3.2, 5]], format="XYXY", canvas_size=(20, 30))
    target = {
        "boxes": boxes,
        "labels": torch.tensor([1, 2]),
        "masks": tv_tensors.Mask(torch.ones(2, 20, 30, dtype=torch.uint8)),
        "area": torch.ones(2),
        "iscrowd": torch.zeros(2, dtype=torch.int64),
        "semantic": tv_tensors.Mask(torch.arange(600).reshape(20, 30)),
    }
    _, kept = training_transform(flip=False)(tv_tensors.Image(torch.zeros(3, 20, 30)), dict(target))
    assert kept["labels"].tolist() == [1] and kept["masks"].shape == (1, 20, 30)
    assert torch.equal(kept["semantic"], target["semantic"])
