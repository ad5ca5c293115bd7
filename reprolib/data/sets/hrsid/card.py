"""Card of the high-resolution SAR images data set."""

from __future__ import annotations

from reprolib.data.card import Card, File

CARD = Card(
    name="hrsid",
    title="HRSID",
    licence="none stated for the data; repository GPL-3.0",
    terms="research use: never share images",
    size="about 614 MB archive",
    home="https://github.com/chaozhong2010/HRSID",
    citation="Wei et al., HRSID: A High-Resolution SAR Images Dataset, IEEE Access 2020, vol. 8",
    files=(File(name="HRSID_JPG.zip", drive="1NY3ovgc-woDlNoQdyqzRB3t9McOBH5Ms", about_bytes=614_000_000),),
    unpacked_bytes=1_300_000_000,
    splits={
        "train": {"images": 3_642, "instances": 11_047},
        "test": {"images": 1_962, "instances": 5_922},
        "inshore": {"images": 1_031, "instances": 8_206},
        "offshore": {"images": 4_573, "instances": 8_745},
    },
    classes=("ship",),
    how_to=(
        "Fetched from Google Drive on demand. By hand: HRSID_JPG.zip from"
        " https://drive.google.com/file/d/1NY3ovgc-woDlNoQdyqzRB3t9McOBH5Ms/view or"
        " https://pan.baidu.com/s/1EitHYJ7tpGh0q9Qb3QA5SQ (code vxrs) by `--from-archive`, or the unpacked HRSID_JPG by"
        " `--from-dir`."
    ),
    notes=(
        "the merged train_test2017.json has 18 ships fewer than both splits together: not used",
        "135 of 136 scenes occur in train and in test",
    ),
    unverified=("size of the archive: second-hand", "no licence is stated for the data"),
)

CARDS = (CARD,)
