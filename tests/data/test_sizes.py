"""Sizes of data sets that are not here: by prepared report, card or split; shared sources count once."""

import pytest

from reprolib.data.sizes import SplitSizes, data_sources, download_bytes, split_sizes, unpacked_bytes


@pytest.mark.parametrize(
    ("name", "options", "sizes"),
    [
        ("coco", {}, (118_287, 5_000)),
        ("ssdd", {"split": "official"}, (928, 232)),
        ("ssdd", {"split": "own"}, (812, 348)),
        ("hrsid", {"split": "official"}, (3_642, 1_962)),
        ("hrsid", {"split": "scenes"}, (None, None)),
        ("nwpu_vhr10", {"split": "own"}, (455, 195)),
        ("nwpu_vhr10", {"split": "public"}, (520, 130)),
        ("isaid", {}, (28_029, 9_512)),
    ],
)
def test_sizes_of_data_sets_that_are_not_prepared(name, options, sizes):
    published = split_sizes(name, options)
    assert (published.train, published.val) == sizes


def test_bbbc038_is_split_by_the_suite_and_a_report_comes_first():
    published = split_sizes("bbbc038", {})
    assert published.train + published.val == 664 and 120 < published.val < 140
    report = {
        "splits": {"train": {"images": 70, "lint": {"counts": {"images without annotation": 6}}}, "val": {"images": 9}}
    }
    assert split_sizes("bbbc038", {}, report) == SplitSizes(train=64, val=9, source="prepared data")


def test_bytes_of_shared_sources_are_counted_once():
    coco, lvis = data_sources("coco", {}), data_sources("lvis", {})
    both, unknown = download_bytes([*coco, *lvis])
    assert unknown == [] and both == download_bytes(lvis)[0]
    assert both - download_bytes(coco)[0] == 350_264_821 + 64_026_968
    cities = [*data_sources("cityscapes", {}), *data_sources("cityscapes_5", {})]
    assert unpacked_bytes(cities) == (12_500_000_000, [])
    assert download_bytes(data_sources("ssdd", {}))[0] == 1_040_000_000
    assert download_bytes(data_sources("bbbc038", {}))[0] == 84_000_000
    assert unpacked_bytes(data_sources("mine", {"kind": "coco_folder"})) == (0, ["mine"])
    scenes = data_sources("street", {"train": 3, "val": 1, "size": 256})
    assert unpacked_bytes(scenes) == (4 * 4 * 20_000, [])
