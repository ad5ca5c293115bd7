"""Card of NWPU VHR-10 with instance annotations."""

from __future__ import annotations

from reprolib.data.card import Card, File

CLASSES = (
    "airplane",
    "ship",
    "storage_tank",
    "baseball_diamond",
    "tennis_court",
    "basketball_court",
    "ground_track_field",
    "harbor",
    "bridge",
    "vehicle",
)
# Instances by class as annotations.json has them; its own README counts the boxes of the older labels.
ALL = (757, 298, 662, 391, 524, 159, 163, 239, 124, 604)
PUBLIC_TRAIN = (562, 237, 624, 328, 446, 143, 132, 162, 94, 450)
PUBLIC_VAL = (195, 61, 38, 63, 78, 16, 31, 77, 30, 154)

CARD = Card(
    name="nwpu_vhr10",
    title="NWPU VHR-10, instance annotations",
    licence="images for research use; annotations MIT",
    terms="research use: never share images",
    size="63 MB of images, 66 MB prepared",
    home="https://github.com/chaozhong2010/VHR-10_dataset_coco",
    citation="Cheng et al., ISPRS Journal 98, 2014 (images); Su et al., IGARSS 2019 (instance annotations)",
    files=(
        File(
            name="NWPU VHR-10 dataset.zip",
            url=(
                "https://hf.co/datasets/isaaccorley/vhr10/resolve/60ecc4be33609184e2224606858cd00b7daba8df/"
                "NWPU%20VHR-10%20dataset.zip"
            ),
            about_bytes=75_000_000,
            md5="6add6751469c12dd8c8d6223064c6c4d",
            contents_checked=True,
        ),
        File(
            name="annotations.json",
            url=(
                "https://raw.githubusercontent.com/chaozhong2010/VHR-10_dataset_coco/"
                "ce0ba0f5f6a0737031f1cbe05e785ddd5ef05bd7/NWPU%20VHR-10_dataset_coco/annotations.json"
            ),
            mirrors=(
                "https://hf.co/datasets/isaaccorley/vhr10/resolve/7e7968ad265dadc4494e0ca4a079e0b63dc6f3f8/annotations.json",
            ),
            bytes=1_265_416,
            md5="7c76ec50c17a61bb0514050d20f22c08",
            sha256="dde27d9362d9c6aa358a1cab160c9e075e57405d3fe876de049973c6e6150f0e",
        ),
    ),
    unpacked_bytes=70_000_000,
    splits={
        "all": {"images": 650, "instances": 3_921, **dict(zip(CLASSES, ALL, strict=True))},
        "own train": {"images": 455, "instances": 2_760},
        "own val": {"images": 195, "instances": 1_161},
        "public train": {"images": 520, "instances": 3_178, **dict(zip(CLASSES, PUBLIC_TRAIN, strict=True))},
        "public val": {"images": 130, "instances": 743, **dict(zip(CLASSES, PUBLIC_VAL, strict=True))},
    },
    classes=CLASSES,
    how_to=(
        "Fetched on demand. Without a network: `NWPU VHR-10 dataset.zip` and annotations.json by `--from-archive`, or"
        " by `--from-dir` a folder that holds the images and annotations.json: the unpacked zip, the unpacked RAR"
        " (Google Drive id 1--foZ3dV5OCsqXQXT84UeKtrAqc5CkAE, md5 d30a7ff99d92123ebb0b3a14d9102081), or data/NWPU of"
        " https://github.com/KyanChen/RSPrompter."
    ),
    notes=(
        "published ids start at 0, boxes are 1 px larger than the polygons, areas 119 px on average (176 of 3,921 then"
        " have another size class); prepared, ids start at 1, box and area are the mask's",
        "no official instance split; publications that split 7:3 do not publish theirs. `split: own`:"
        " reprolib/data/sets/nwpu_vhr10/splits/nwpu_vhr10_own_val.txt, 30% of the images of each set of classes;"
        " `split: public`: nwpu_vhr10_public_val.txt, RSPrompter's 520/130",
        "two images recur with ships pasted in (073 as 286, 288 as 297): split `own` has one of each pair in train and"
        " one in val",
        "the 150 images without objects are not used",
    ),
    unverified=("whether every copy of the images in circulation holds the same bytes",),
)

CARDS = (CARD,)
