"""Data sets by name: made once, found again, refused with what to do."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys

import pytest

from reprolib.data import sets
from reprolib.data.cards import CARDS, class_count, collect
from reprolib.data.catalog import find, preparation, prepare
from reprolib.data.coco import CocoInstances
from reprolib.data.errors import DataError
from reprolib.data.lint import lint
from reprolib.data.sets.ssdd import convert as ssdd

GENERATED = [name for name, card in CARDS.items() if card.generated]
OPTIONS = {"train": 3, "val": 2, "size": 64, "seed": 0}


def folder_options(made):
    return {
        "kind": "coco_folder",
        "train_images": str(made.images),
        "train_annotations": str(made.annotations),
        "val_images": str(made.images),
        "val_annotations": str(made.annotations),
    }


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


@pytest.mark.parametrize("name", GENERATED)
def test_generated_families(tmp_path, name):
    prepared = prepare(name, OPTIONS, root=tmp_path)
    assert prepared.name == name and set(prepared.splits) == {"train", "val"}
    for split, count in (("train", 3), ("val", 2)):
        where = prepared.splits[split]
        assert lint(where.annotations, where.images).errors == ()
        dataset = CocoInstances(where.images, where.annotations, train=False)
        assert len(dataset) == count and dataset.sizes == [(64, 64)] * count
        assert tuple(dataset.class_names) == prepared.card.classes
    before = stamps(tmp_path)
    assert prepare(name, OPTIONS, root=tmp_path) == prepared
    assert stamps(tmp_path) == before


def test_two_sizes_of_a_family_live_side_by_side(tmp_path):
    small = prepare("sar_ships", OPTIONS, root=tmp_path)
    before = stamps(tmp_path)
    large = prepare("sar_ships", OPTIONS | {"train": 4}, root=tmp_path)
    assert large.splits["train"].images != small.splits["train"].images
    assert stamps(tmp_path).items() >= before.items()


def test_folder_is_read_where_it_is(make_set, document, tmp_path):
    made = make_set(document)
    prepared = prepare("tiny_coco", folder_options(made), root=tmp_path / "data")
    assert prepared.splits["val"].annotations == made.annotations and prepared.card.title == "tiny_coco"
    assert not (tmp_path / "data").exists()
    assert prepare("coco", folder_options(made)).card is CARDS["coco"]


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("nothing", {}, ["'nothing' is unknown", "bbbc038", "kind: coco_folder"]),
        ("nothing", {"kind": "voc"}, ["kind 'voc' is unknown"]),
        ("mine", {"kind": "coco_folder"}, ["option 'train_images' is missing"]),
        ("sar_ships", {**OPTIONS, "sizes": 3}, ["unknown option 'sizes'", "train, val, size, seed"]),
        ("sar_ships", {"train": 3}, ["option 'val' is missing"]),
        ("sar_ships", {**OPTIONS, "size": "big"}, ["sar_ships", "size", "'big'"]),
        ("sar_ships", {**OPTIONS, "size": "../x"}, ["sar_ships", "size"]),
        ("bbbc038", {"from_archive": "none.zip"}, ["none.zip", "no such archive"]),
        ("bbbc038", {"path": "x"}, ["unknown option 'path'", "from_archive"]),
        ("coco", {"from_dir": "nowhere"}, ["nowhere is no folder", "train2017.zip", "val2017/"]),
        ("coco", {"train_semantic": "nowhere"}, ["train_semantic", "nowhere is no folder"]),
        ("cityscapes_5", {}, ["csDownload gtFine_trainvaltest.zip", "register", "downloads/cityscapes"]),
        ("cityscapes", {"archive": "x.zip"}, ["unknown option 'archive'", "from_archive, from_dir"]),
        ("cityscapes", {"from_dir": "."}, ["has no folder gtFine"]),
        ("lvis", {"from_dir": "."}, ["lacks lvis_v1_train.json"]),
        ("custom", {}, ["which folder?", "--from-dir"]),
    ],
)
def test_refusals_say_what_to_do(tmp_path, name, options, parts):
    with pytest.raises(DataError) as error:
        prepare(name, options, root=tmp_path / "data")
    for part in parts:
        assert part in str(error.value)


def test_folder_paths_must_exist(make_set, document):
    options = folder_options(make_set(document))
    with pytest.raises(DataError, match=r"val_annotations: nowhere\.json is no file"):
        prepare("mine", options | {"val_annotations": "nowhere.json"})
    with pytest.raises(DataError, match="train_images: nowhere is no folder"):
        prepare("mine", options | {"train_images": "nowhere"})


def test_a_second_process_waits(tmp_path):
    code = f"from reprolib.data.catalog import prepare; prepare('aerial', {OPTIONS!r}, root={str(tmp_path)!r})"
    with (tmp_path / ".aerial.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert "another process prepares it, waiting" in process.stdout.readline()
        assert not (tmp_path / "aerial").exists()
    process.communicate(timeout=60)
    assert process.returncode == 0 and (tmp_path / "aerial").is_dir()


def test_every_card_can_be_prepared_by_its_name():
    for name in CARDS:
        assert preparation(name).find.__doc__ and callable(preparation(name).make)


def test_a_new_data_set_is_a_new_folder(tmp_path, monkeypatch):
    folder = tmp_path / "made_up"
    folder.mkdir()
    (folder / "__init__.py").touch()
    card = (
        "from reprolib.data.card import Card\n"
        "about = dict(title='', licence='', terms='', size='', citation='')\n"
        "CARDS = tuple(Card(name=name, classes=('ship', 'plane'), **about) for name in NAMES)\n"
    )
    (folder / "card.py").write_text(f"NAMES = 'made_up', 'made_up_half'\n{card}")
    monkeypatch.setattr(sets, "__path__", [*sets.__path__, str(tmp_path)])
    for name in ("made_up", "made_up.card"):
        monkeypatch.delitem(sys.modules, f"reprolib.data.sets.{name}", raising=False)
    cards, folders = collect()
    assert cards.items() > CARDS.items()
    assert folders["made_up"] == folders["made_up_half"] == "made_up" and cards["made_up"].classes == ("ship", "plane")
    (folder / "card.py").write_text(f"NAMES = 'made_up', 'coco'\n{card}")
    del sys.modules["reprolib.data.sets.made_up.card"]
    with pytest.raises(ValueError, match="data set 'coco' has a card in sets/coco and sets/made_up"):
        collect()


def test_listing_data_sets_loads_no_torch():
    code = "import sys, reprolib.data.cards; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_classes_are_counted_by_the_card():
    assert (class_count("coco"), class_count("lvis")) == (80, 1203)
    with pytest.raises(ValueError, match="data set 'nothing' has no card"):
        class_count("nothing")


def test_find_writes_nothing(tmp_path):
    for name, card in CARDS.items():
        if card.files:
            assert find(name, {}, root=tmp_path / "data") is None
    assert not (tmp_path / "data").exists()


def test_cards_are_complete():
    for name, card in CARDS.items():
        assert card.name == name and card.title and card.licence and card.terms and card.size and card.how_to
        for file in card.files:
            assert re.fullmatch(r"([0-9a-f]{64})?", file.sha256) and re.fullmatch(r"([0-9a-f]{32})?", file.md5)
            assert file.bytes or file.about_bytes, "needed to see whether the disk has room"
            assert all(file in card.files_for({file.only_with[0]: value}) for value in file.only_with[1:])
            assert ("unverified" in file.verification) == (not (file.sha256 or file.md5 or file.contents_checked))
    classes = {name: len(card.classes) for name, card in CARDS.items()}
    assert classes["coco"] == 80 and classes["isaid"] == 15 and classes["nwpu_vhr10"] == 10
    assert CARDS["ssdd_7_3"].splits == {  # as the conversion is held to
        "all": CARDS["ssdd"].splits["all"],
        **{
            f"own {name}": dict(zip(("images", "instances"), ssdd.official().counts[f"own/{part}"], strict=True))
            for name, part in (("train", "train"), ("val", "test"))
        },
    }
    assert classes["cityscapes"] == 8 and classes["cityscapes_5"] == 5
