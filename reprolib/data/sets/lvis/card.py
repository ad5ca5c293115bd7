"""Card of LVIS v1. Sizes and sha256: as TensorFlow Datasets lists them; md5: one other source."""

from __future__ import annotations

from reprolib.data.card import Card, File
from reprolib.data.sets.coco import card as coco

BASE = "https://s3-us-west-2.amazonaws.com/dl.fbaipublicfiles.com/LVIS"
MIRROR = "https://dl.fbaipublicfiles.com/LVIS"


def _file(name: str, *, bytes: int, md5: str, sha256: str) -> File:
    return File(name=name, url=f"{BASE}/{name}", mirrors=(f"{MIRROR}/{name}",), bytes=bytes, md5=md5, sha256=sha256)


CARD = Card(
    name="lvis",
    title="LVIS v1",
    protocol="lvis",
    licence="CC BY 4.0 (annotations)",
    terms=coco.TERMS,
    size="414 MB of annotation archives, images of COCO 2017",
    home="https://www.lvisdataset.org",
    citation="Gupta et al., LVIS: A Dataset for Large Vocabulary Instance Segmentation, CVPR 2019",
    files=(
        _file(
            "lvis_v1_train.json.zip",
            bytes=350_264_821,
            md5="4410d837f71203af226950447ef9d422",
            sha256="334a4caa374030a7817cf050364525e910f7960f9b6968cef47cffbf3893f8ba",
        ),
        _file(
            "lvis_v1_val.json.zip",
            bytes=64_026_968,
            md5="87734a7f895990b9552075d7ce723e27",
            sha256="5cae9a3c79aadb667550c2b5dcf7f4d86e059a41ec91ef690225b667e28e9ba5",
        ),
    ),
    unpacked_bytes=1_400_000_000,
    class_count=1_203,
    needs=("coco",),
    splits={
        "train": {"images": 100_170},
        "val": {"images": 19_809, "instances": 244_707},
        "test-dev": {"images": 19_822},
    },
    how_to=(
        "Fetched on demand, with COCO's train2017 and val2017 (15,000 of the validation images lie in train2017)."
        " Without a network: lvis_v1_train.json.zip and lvis_v1_val.json.zip by `--from-archive`, or the folder with"
        " lvis_v1_train.json and lvis_v1_val.json by `--from-dir`; prepare coco first."
    ),
    notes=(
        "1,203 classes, named in the JSON; images have no file_name, coco_url ends in folder and file",
        "evaluated by LVIS's own rules with 300 detections per image, not by COCO's",
        "weights trained on COCO train2017 have seen 15,000 of the validation images",
    ),
    unverified=("train has 1,270,141 instances",),
)

CARDS = (CARD,)
