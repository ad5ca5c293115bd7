"""Cards of the SAR ship detection data set, with its official split and with one of 7:3."""

from __future__ import annotations

from dataclasses import replace

from reprolib.data.card import Card, File

SSDD = Card(
    name="ssdd",
    title="Official-SSDD, polygon annotations (PSeg)",
    licence="none stated for the data; repository Apache-2.0",
    terms="research use: never share images",
    size="about 1.04 GB archive (RAR)",
    home="https://github.com/TianwenZhang0825/Official-SSDD",
    citation="Zhang et al., SAR Ship Detection Dataset (SSDD): Official Release, Remote Sensing 2021, 13(18), 3690",
    files=(
        File(name="Official-SSDD-OPEN.rar", drive="1glNJUGotrbEyk43twwB9556AdngJsynZ", about_bytes=1_040_000_000),
        File(
            name="SSDD.json",
            only_with=("labels", "hq_isnet"),
            url=(
                "https://raw.githubusercontent.com/chaozhong2010/VHR-10_dataset_coco/"
                "ce0ba0f5f6a0737031f1cbe05e785ddd5ef05bd7/SSDD.json"
            ),
            bytes=1_780_546,
            sha256="a49482ff100d356bf06b52c86ff5f9aec0236d60577032dbb1da418b78ec327b",
        ),
    ),
    unpacked_bytes=1_600_000_000,
    splits={
        "all": {"images": 1_160, "instances": 2_587},
        "train": {"images": 928, "instances": 2_041},
        "test": {"images": 232, "instances": 546},
        "test_inshore": {"images": 46, "instances": 172},
        "test_offshore": {"images": 186, "instances": 374},
    },
    classes=("ship",),
    how_to=(
        "Fetched from Google Drive on demand; unpacking the RAR takes unrar, 7z or bsdtar. By hand:"
        " Official-SSDD-OPEN.rar from https://drive.google.com/file/d/1glNJUGotrbEyk43twwB9556AdngJsynZ/view or"
        " https://pan.baidu.com/s/1Lpg28ZvMSgNXq00abHMZ5Q (code 2021) by `--from-archive`, or the unpacked folder by"
        " `--from-dir`."
    ),
    notes=(
        "official split: file numbers that end in 1 or 9 are the test split, the rest is train; no official val",
        "the older SSDD.json has 2,586 ships and no official split; random 928/232 splits of it are about too",
        "some archives unpack to a doubled Official-SSDD-OPEN/Official-SSDD-OPEN/",
    ),
    unverified=(
        "size of the archive: second-hand",
        "that SSDD.json's address, made of repository and commit, answers",
        "no licence is stated for the data",
    ),
)

# What "Insight Any Instance" divides 7:3.
SSDD_7_3 = replace(
    SSDD,
    name="ssdd_7_3",
    shares_files_of="ssdd",
    title=f"{SSDD.title}, split 7:3",
    splits={
        "all": SSDD.splits["all"],
        "own train": {"images": 812, "instances": 1_814},
        "own val": {"images": 348, "instances": 773},
    },
    notes=(
        "no 7:3 split is published: this one is the suite's own, reprolib/data/sets/ssdd/splits/ssdd_own_test.txt,"
        " 30% of the images of each number of ships",
        "files and folders are those of ssdd, which is prepared with it",
        *SSDD.notes[1:],
    ),
)

CARDS = (SSDD, SSDD_7_3)
