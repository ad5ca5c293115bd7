"""Data sets by their names, from archives on a server, from archives and folders on this machine; all of them tiny."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import tarfile
import zipfile
from dataclasses import replace

import pytest

from reprolib.data import listing
from reprolib.data.acquire.fetch import downloads
from reprolib.data.acquire.published import card_split
from reprolib.data.acquire.source_folder import lock
from reprolib.data.card import File
from reprolib.data.cards import CARDS
from reprolib.data.catalog import find, prepare
from reprolib.data.errors import DataError
from reprolib.data.sets.coco import prepare as coco
from reprolib.data.sets.hrsid import convert as hrsid
from reprolib.data.sets.isaid import convert as isaid
from reprolib.data.sets.lvis import prepare as lvis
from reprolib.data.sets.ssdd import convert as ssdd
from reprolib.data.sets.ssdd import prepare as ssdd_module


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


PARTS = {
    "train2017.zip": {f"train2017/{k}.jpg": b"jpeg" * k for k in (1, 2, 3)},
    "val2017.zip": {"val2017/4.jpg": b"jpeg"},
    "annotations_trainval2017.zip": {f"annotations/instances_{split}2017.json": b"{}" for split in ("train", "val")},
}
LVIS = {f"lvis_v1_{split}.json.zip": {f"lvis_v1_{split}.json": b"{}"} for split in ("train", "val")}


def served(server, name, archives):
    """A set's card with files that the server has, checksums and all."""
    files = []
    for archive, inside in archives.items():
        content = server.files[f"/{archive}"] = zipped(inside)
        sha256 = hashlib.sha256(content).hexdigest()
        files.append(File(name=archive, url=f"{server.base}/{archive}", bytes=len(content), sha256=sha256))
    return replace(CARDS[name], files=tuple(files), unpacked_bytes=1000)


@pytest.fixture
def small(server, monkeypatch):
    """COCO and LVIS as small sets on the server."""
    cards = CARDS | {"coco": served(server, "coco", PARTS), "lvis": served(server, "lvis", LVIS)}
    for module in (coco, lvis, listing):
        monkeypatch.setattr(module, "CARDS", cards)
    monkeypatch.setattr(coco, "COUNTS", {"train2017": 3, "val2017": 1})
    checked = []
    monkeypatch.setattr(lvis.lvis, "check", lambda annotations, images, folder, contents: checked.append(folder))
    monkeypatch.setattr(lvis.lvis, "is_checked", lambda annotations, images, folder, contents: folder in checked)
    return server


def unpacked(folder, archives=PARTS):
    for inside in archives.values():
        for name, content in inside.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return folder


def test_coco_is_fetched_unpacked_and_found_again(small, tmp_path):
    prepared = prepare("coco", {}, root=tmp_path)
    assert prepared.splits["train"].images == tmp_path / "coco/train2017"
    assert prepared.splits["val"].annotations == tmp_path / "coco/annotations/instances_val2017.json"
    assert (tmp_path / "coco/train2017/3.jpg").read_bytes() == b"jpeg" * 3
    shutil.rmtree(downloads(tmp_path, "coco"))  # no longer needed
    assert prepare("coco", {}, root=tmp_path) == find("coco", {}, root=tmp_path) == prepared
    assert len(small.requests) == 3


def test_coco_goes_on_after_an_interruption(small, tmp_path, monkeypatch):
    unpack, done = coco.unpack, []

    def interrupted(archive, folder):
        if done:
            raise KeyboardInterrupt
        done.append(archive)
        unpack(archive, folder)

    monkeypatch.setattr(coco, "unpack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare("coco", {}, root=tmp_path)
    assert find("coco", {}, root=tmp_path) is None
    assert listing.state("coco", {}, root=tmp_path) == "3 of 3 files fetched"
    monkeypatch.setattr(coco, "unpack", unpack)
    assert prepare("coco", {}, root=tmp_path).name == "coco" and len(small.requests) == 3


def test_coco_fetches_only_what_is_not_there(small, tmp_path):
    unpacked(tmp_path / "coco", {"train2017.zip": PARTS["train2017.zip"]})
    prepare("coco", {}, root=tmp_path)
    assert set(small.served) == {"/val2017.zip", "/annotations_trainval2017.zip"}
    (tmp_path / "coco/val2017/4.jpg").unlink()
    assert find("coco", {}, root=tmp_path) is None
    prepare("coco", {}, root=tmp_path)
    assert len(small.requests) == 2  # from the archives that are still there


def test_coco_from_archives_of_the_users(small, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in PARTS:
        (mine / name).write_bytes(small.files[f"/{name}"])
    given = [str(mine / name) for name in PARTS]
    assert prepare("coco", {"from_archive": given}, root=tmp_path / "a").splits
    assert prepare("coco", {"from_archive": str(mine)}, root=tmp_path / "b").splits
    assert small.requests == [] and len(list(mine.iterdir())) == 3
    (mine / "val2017.zip").write_bytes(b"PK\x03\x04 another")
    with pytest.raises(DataError, match=r"val2017\.zip: .* bytes, expected"):
        prepare("coco", {"from_archive": str(mine)}, root=tmp_path / "c")
    assert not (tmp_path / "c/coco").exists()


def test_coco_from_a_folder_of_the_users_is_linked(small, tmp_path):
    mine = unpacked(tmp_path / "mine")
    prepared = prepare("coco", {"from_dir": str(mine)}, root=tmp_path / "data")
    assert prepared.splits["train"].images.resolve() == mine / "train2017" and small.requests == []
    assert prepare("coco", {}, root=tmp_path / "data") == prepared  # the folder need not be named again
    shutil.rmtree(mine / "val2017")
    with pytest.raises(DataError, match=r"mine lacks val2017/ with 1 images"):
        prepare("coco", {"from_dir": str(mine)}, root=tmp_path / "data")


def test_coco_takes_maps_for_the_semantic_branch(small, tmp_path):
    (tmp_path / "maps").mkdir()
    splits = prepare("coco", {"train_semantic": str(tmp_path / "maps")}, root=tmp_path).splits
    assert splits["train"].semantic == tmp_path / "maps" and splits["val"].semantic is None


def test_lvis_brings_cocos_images(small, tmp_path):
    prepared = prepare("lvis", {}, root=tmp_path)
    assert {split.images for split in prepared.splits.values()} == {tmp_path / "coco"}
    assert prepared.splits["val"].annotations == tmp_path / "lvis/lvis_v1_val.json"
    assert set(small.served) == {f"/{name}" for name in (*LVIS, "train2017.zip", "val2017.zip")}
    assert prepare("lvis", {}, root=tmp_path) == prepared and len(small.requests) == 4


def test_lvis_from_a_folder_beside_prepared_images(small, tmp_path):
    prepare("coco", {}, root=tmp_path / "data")
    mine = unpacked(tmp_path / "mine", LVIS)
    before = len(small.requests)
    prepared = prepare("lvis", {"from_dir": str(mine)}, root=tmp_path / "data")
    assert prepared.splits["train"].annotations.resolve() == mine / "lvis_v1_train.json"
    assert len(small.requests) == before


def test_lvis_from_archives_of_both(small, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in (*LVIS, "train2017.zip", "val2017.zip"):
        (mine / name).write_bytes(small.files[f"/{name}"])
    assert prepare("lvis", {"from_archive": [str(mine)]}, root=tmp_path / "data").splits and small.requests == []


@pytest.fixture
def ships(tmp_path, monkeypatch):
    """SSDD and HRSID whose conversion only notes what it is given, and archives of one image each."""
    converted = []
    for module in (hrsid, ssdd):

        def convert(source, folder, *, contents, **more):
            converted.append((source, folder, more))
            folder.mkdir(exist_ok=True)

        monkeypatch.setattr(module, "convert", convert)
        monkeypatch.setattr(module, "is_prepared", lambda source, folder, contents: folder.is_dir())
        monkeypatch.setattr(module, "images_folder", lambda source: source / "JPEGImages")
    (tmp_path / "HRSID_JPG.zip").write_bytes(zipped({"JPEGImages/a.jpg": b"jpeg"}))
    (tmp_path / "Official-SSDD-OPEN.zip").write_bytes(zipped({"JPEGImages/a.jpg": b"jpeg"}))
    return converted


def test_hrsid_is_unpacked_once_and_converted(ships, tmp_path, capsys):
    root = tmp_path / "data"
    prepared = prepare("hrsid", {"from_archive": str(tmp_path / "HRSID_JPG.zip")}, root=root)
    assert (prepared.splits["val"].images / "a.jpg").is_file()
    assert prepared.splits["val"].annotations == root / "hrsid_coco/annotations/official/test.json"
    assert "this copy is unverified" in capsys.readouterr().out
    shutil.rmtree(root / "hrsid_coco")  # as after a new version of the conversion
    other = prepare("hrsid", {"split": "scenes"}, root=root)
    assert other.splits["train"].annotations == root / "hrsid_coco/annotations/scenes/train.json"
    assert ships == [(root / "hrsid", root / "hrsid_coco", {})] * 2


def test_hrsid_from_a_folder_that_is_there_and_one_that_is_gone(ships, tmp_path):
    root, mine = tmp_path / "data", tmp_path / "mine"
    (mine / "JPEGImages").mkdir(parents=True)
    prepare("hrsid", {"from_dir": str(mine)}, root=root)
    assert (root / "hrsid").resolve() == mine and prepare("hrsid", {}, root=root)
    shutil.rmtree(mine)
    assert find("hrsid", {}, root=root) is None
    prepare("hrsid", {"from_archive": str(tmp_path / "HRSID_JPG.zip")}, root=root)
    assert (root / "hrsid/JPEGImages/a.jpg").is_file() and not (root / "hrsid").is_symlink()


def test_ssdd_has_two_label_sets(ships, tmp_path, monkeypatch):
    root, mine = tmp_path / "data", tmp_path / "mine"
    mine.mkdir()
    prepare("ssdd", {"from_dir": str(mine)}, root=root)
    (root / "downloads/ssdd").mkdir(parents=True)
    (root / "downloads/ssdd/SSDD.json").write_text("{}")
    with pytest.raises(DataError, match=r"SSDD\.json: 2 bytes, expected 1780546"):
        prepare("ssdd", {"labels": "hq_isnet"}, root=root)
    assert [folder.name for _, folder, _ in ships] == ["ssdd_coco"]
    with pytest.raises(DataError, match="which file is it"):
        prepare("ssdd", {"from_archive": str(tmp_path / "Official-SSDD-OPEN.zip")}, root=tmp_path / "other")


def test_ssdd_is_fetched_and_converted_once_for_both_splits(ships, tmp_path):
    root, mine = tmp_path / "data", tmp_path / "mine"
    mine.mkdir()
    seven = prepare("ssdd_7_3", {"from_dir": str(mine)}, root=root)
    official = prepare("ssdd", {}, root=root)
    assert ships == [(root / "ssdd", root / "ssdd_coco", {"annotations": None})]
    for prepared, split, counted in (
        (official, "official", ("train", "test")),
        (seven, "own", ("own train", "own val")),
    ):
        annotations = {name: part.annotations for name, part in prepared.splits.items()}
        folder = root / "ssdd_coco/annotations" / split
        assert annotations == {"train": folder / "train.json", "val": folder / "test.json"}
        assert {part.images for part in prepared.splits.values()} == {root / "ssdd/JPEGImages"}
        assert tuple(card_split(prepared.card, name, path) for name, path in annotations.items()) == counted
    assert (official.card.name, seven.card.name) == ("ssdd", "ssdd_7_3")
    with pytest.raises(DataError, match="unknown option 'split'"):
        prepare("ssdd", {"split": "own"}, root=root)


def test_ssdd_made_under_the_other_name_while_waiting_is_not_made_again(ships, tmp_path, monkeypatch):
    root, mine = tmp_path / "data", tmp_path / "mine"
    mine.mkdir()

    @contextlib.contextmanager
    def waited(root, name):
        with lock(root, name):
            if not ships:  # the other process, which had the lock first
                (root / "ssdd").symlink_to(mine)
                ssdd_module.ssdd.convert(root / "ssdd", root / "ssdd_coco", contents=None)
            yield

    monkeypatch.setattr(ssdd_module, "lock", waited)
    assert prepare("ssdd_7_3", {"from_dir": str(mine)}, root=root).name == "ssdd_7_3" and len(ships) == 1


@pytest.mark.parametrize("name", ["ssdd", "ssdd_7_3", "cityscapes", "cityscapes_5"])
def test_what_two_names_share_is_listed_under_both(tmp_path, name):
    kept = downloads(tmp_path, name.partition("_")[0])
    kept.mkdir(parents=True)
    (kept / CARDS[name].files[0].name).touch()
    assert listing.state(name, {}, root=tmp_path) == "1 of 2 files fetched"


def test_isaid_comes_in_four_archives_some_with_archives_in_them(tmp_path, monkeypatch):
    seen = {}

    def convert(source, folder, *, contents):
        seen.update({path.relative_to(source).as_posix(): path.read_bytes() for path in source.rglob("*.png")})
        folder.mkdir()

    monkeypatch.setattr(isaid, "convert", convert)
    monkeypatch.setattr(isaid, "is_prepared", lambda source, folder, contents: folder.is_dir())
    monkeypatch.setattr("reprolib.data.acquire.fetch.check_published", lambda path, file: None)
    masks = zipped({"images/P0000_instance_id_RGB.png": b"ids"})
    inside = {
        "isaid_annotations_train": {"train/Instance_masks/images.zip": masks},
        "isaid_annotations_val": {"./val/Semantic_masks/images/P0003_instance_color_RGB.png": b"colours"},
        "dotav1.0_images_train": {"train/images/P0000.png": b"image"},
        "dotav1.0_images_val": {"val/images/P0003.png": b"image"},
    }
    for name, files in inside.items():
        with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as archive:
            for member, content in files.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    prepared = prepare("isaid", {"from_archive": [str(tmp_path)]}, root=tmp_path / "data")
    assert set(seen) == {
        "train/Instance_masks/images/P0000_instance_id_RGB.png",
        "val/Semantic_masks/images/P0003_instance_color_RGB.png",
        "train/images/P0000.png",
        "val/images/P0003.png",
    }
    assert prepared.splits["val"].images == tmp_path / "data/isaid_coco/images/val"


def test_the_list_says_what_is_here(small, tmp_path):
    part = downloads(tmp_path, "coco") / "train2017.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"0" * (listing.CARDS["coco"].files[0].bytes // 2))
    shown = {line.split()[0]: line for line in listing.table({}, root=tmp_path).splitlines()}
    assert "begun: train2017.zip 50%" in shown["coco"] and shown["lvis"].endswith("not here")
    assert "account, by hand" in shown["cityscapes"] and "Google Drive" in shown["hrsid"]
    prepare("coco", {}, root=tmp_path)
    assert {line.split()[0]: line for line in listing.table({}, root=tmp_path).splitlines()}["coco"].endswith(
        "prepared"
    )


def test_every_card_can_be_read():
    for card in CARDS.values():
        text = listing.card_text(card)
        assert card.title in text and card.how_to in text
        assert all(file.name in text for file in card.files)
