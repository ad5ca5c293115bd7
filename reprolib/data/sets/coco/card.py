"""Card of COCO 2017. Sizes and checksums: as TensorFlow Datasets and others list them."""

from __future__ import annotations

from reprolib.data.card import Card, File

TERMS = "annotations CC BY 4.0; each image under its own Flickr licence: never share images"
# Plain http, as the set's own page links it; the checksums, not the connection, say that a file is the published one.
BASE = "http://images.cocodataset.org"
MIRROR = "https://s3.amazonaws.com/images.cocodataset.org"

# fmt: off
CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse",
    "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie",
    "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove",
    "skateboard", "surfboard", "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon",
    "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut",
    "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse",
    "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on


def _file(place: str, *, bytes: int, md5: str, sha256: str) -> File:
    return File(
        name=place.rpartition("/")[2],
        url=f"{BASE}/{place}",
        mirrors=(f"{MIRROR}/{place}",),
        bytes=bytes,
        md5=md5,
        sha256=sha256,
    )


CARD = Card(
    name="coco",
    title="COCO 2017",
    licence="CC BY 4.0 (annotations)",
    terms=TERMS,
    size="20.4 GB of archives for train and val",
    home="https://cocodataset.org",
    citation="Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
    files=(
        _file(
            "zips/train2017.zip",
            bytes=19_336_861_798,
            md5="cced6f7f71b7629ddf16f17bbcfab6b2",
            sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        ),
        _file(
            "zips/val2017.zip",
            bytes=815_585_330,
            md5="442b8da7639aecaf257c1dceb8ba8c80",
            sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        ),
        _file(
            "annotations/annotations_trainval2017.zip",
            bytes=252_907_541,
            md5="f4bbac642086de4f52a3fdda2de5fa2c",
            sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        ),
    ),
    unpacked_bytes=21_200_000_000,
    splits={
        "train": {"images": 118_287, "instances": 860_001},
        "val": {"images": 5_000, "instances": 36_781},
        "test": {"images": 40_670},
    },
    classes=CLASSES,
    how_to=(
        "Fetched on demand. Without a network: train2017.zip, val2017.zip and annotations_trainval2017.zip by"
        " `--from-archive`, or the folder with train2017/, val2017/ and annotations/ by `--from-dir`."
    ),
    notes=(
        "category ids 1 to 90 with gaps, 80 classes; crowds are uncompressed RLE",
        "labels of test2017 are withheld: results go to the evaluation server",
    ),
    unverified=("4,952 of the 5,000 val images have annotations", "test-dev is about 20,288 of the test images"),
)

CARDS = (CARD,)
