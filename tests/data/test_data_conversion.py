"""What all converters share: folders that are whole or absent, parts of a document, drawn splits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from reprolib.data.acquire.conversion import check_image, is_whole, making, mask_fields, part_of, write_document
from reprolib.data.acquire.drawing import draw_groups, draw_stratified
from reprolib.data.errors import DataError

MADE = {"version": 1, "source": "here"}


def make(folder, text="{}", *, made=MADE, **options):
    with making(folder, made, **options) as part:
        (part / "annotations").mkdir(exist_ok=True)
        (part / "annotations" / "train.json").write_text(text)


def test_a_folder_is_whole_while_its_annotations_are_as_written(tmp_path):
    folder = tmp_path / "set"
    assert not is_whole(folder, MADE)
    make(folder)
    assert is_whole(folder, MADE) and not is_whole(folder, MADE | {"version": 2})
    (folder / "annotations" / "train.json").write_text("[]")
    assert not is_whole(folder, MADE)
    for marker in ("no JSON", "[1]", "{}", '{"sha256": 5}'):
        (folder / "prepared.json").write_text(marker)
        assert not is_whole(folder, MADE)


def test_what_fails_leaves_what_was_there(tmp_path):
    folder = tmp_path / "set"
    make(folder, "1")
    with pytest.raises(RuntimeError), making(folder, MADE) as part:
        (part / "half").touch()
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["set"] and is_whole(folder, MADE)
    make(folder, "2")
    assert (folder / "annotations" / "train.json").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_a_killed_process_leaves_is_swept(tmp_path):
    folder = tmp_path / "set"
    for ending in ("part", "old"):
        (tmp_path / f"set.{ending}").mkdir()
        (tmp_path / f"set.{ending}" / "junk").touch()
    make(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["set"] and not (folder / "junk").exists()


def test_resuming_keeps_the_work_of_the_same_making_only(tmp_path):
    folder = tmp_path / "set"

    def begin(made):
        with pytest.raises(KeyboardInterrupt), making(folder, made, resume=True) as part:
            found = sorted(path.name for path in part.iterdir())
            (part / "work").touch()
            raise KeyboardInterrupt
        return found

    assert begin(MADE) == ["begun.json"]
    assert begin(MADE) == ["begun.json", "work"]
    assert begin(MADE | {"version": 2}) == ["begun.json"]
    assert not folder.exists()
    make(folder, made=MADE | {"version": 2}, resume=True)
    assert sorted(path.name for path in folder.iterdir()) == ["annotations", "prepared.json", "work"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"] and is_whole(folder, MADE | {"version": 2})


@pytest.mark.parametrize("inside", [".", "deep/er"])
def test_a_source_is_never_replaced(tmp_path, inside):
    source = tmp_path / "set" / inside
    source.mkdir(parents=True)
    with pytest.raises(DataError, match=r"lies in .*set, where the annotations go; move it elsewhere"):
        make(tmp_path / "set", source=source)
    assert source.is_dir()


def test_part_of_a_document(document):
    part = part_of(document, {"b.png", "empty.png"}, of="the list")
    assert [image["id"] for image in part["images"]] == [7, 9] and [a["id"] for a in part["annotations"]] == [3]
    assert part["categories"] == document["categories"] and len(document["images"]) == 3
    with pytest.raises(DataError, match=r"the list names 2 unknown images: c\.png"):
        part_of(document, {"d.png", "b.png", "c.png"}, of="the list")


def test_documents_are_compact(tmp_path):
    write_document(tmp_path / "a" / "b.json", {"images": [1, 2]})
    assert (tmp_path / "a" / "b.json").read_text() == '{"images":[1,2]}'


def test_fields_of_a_mask():
    mask = np.zeros((10, 20), np.uint8)
    mask[2:5, 3:4] = mask[8, 10:12] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    found = mask_fields(rle)
    assert found["bbox"] == [3, 2, 9, 7] and found["area"] == 5
    assert np.array_equal(coco_mask.decode(json.loads(json.dumps(found["segmentation"]))), mask)
    polygons = [[0, 0, 4, 0, 4, 4]]
    assert mask_fields(rle, segmentation=polygons) == found | {"segmentation": polygons}


def test_images_are_checked(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)).save(path)
    check_image(path, width=40, height=30, where="x")
    check_image(path, width=40, height=30, where="x", mode="RGB")
    with pytest.raises(DataError, match=r"x: 40 x 30 RGB, the annotations belong to an image of 40 x 31; this is not"):
        check_image(path, width=40, height=31, where="x")
    with pytest.raises(DataError, match="an image of 40 x 30 L; this"):
        check_image(path, width=40, height=30, where="x", mode="L")
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(DataError, match="x: unreadable image"):
        check_image(path, width=40, height=30, where="x")
    with pytest.raises(DataError, match="x: is missing"):
        check_image(tmp_path / "y.png", width=40, height=30, where="x")


names = st.lists(st.text("abcdef", min_size=1, max_size=6), unique=True, max_size=40)


@given(names, st.sampled_from([0.0, 0.2, 0.3, 0.5, 1.0]), st.integers(1, 5))
def test_strata_give_their_share(names, share, kinds):
    strata = {name: len(name) % kinds for name in names}
    chosen = draw_stratified(strata, share=share)
    assert chosen == draw_stratified(dict(reversed(strata.items())), share=share) == sorted(set(chosen))
    assert len(chosen) == round(share * len(names)) and set(chosen) <= set(names)
    for kind in range(kinds):
        stratum = {name for name in names if strata[name] == kind}
        assert abs(len(stratum & set(chosen)) - share * len(stratum)) < 1


@given(names, st.sampled_from([0.0, 0.35, 1.0]))
def test_groups_stay_together(names, share):
    groups = [[name for name in names if len(name) == length] for length in range(1, 7)]
    groups = [group for group in groups if group]
    chosen = set(draw_groups(groups, share=share))
    assert chosen == set(draw_groups(reversed(groups), share=share))
    assert len(chosen) <= round(share * len(names)) and all(
        set(group) <= chosen or not set(group) & chosen for group in groups
    )
    left = round(share * len(names)) - len(chosen)
    assert all(len(group) > left for group in groups if not set(group) & chosen)  # no other group had fitted in
