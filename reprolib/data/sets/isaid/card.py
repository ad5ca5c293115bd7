"""Card of iSAID, on the images of DOTA v1.0."""

from __future__ import annotations

from reprolib.data.card import Card, File
from reprolib.data.sets.isaid.labels import CLASSES

LABELS = (
    "https://huggingface.co/datasets/isaaccorley/isaid/resolve/main",
    "https://huggingface.co/datasets/torchgeo/isaid/resolve/main",
)
IMAGES = "https://hf.co/datasets/isaaccorley/dota/resolve/672e63236622f7da6ee37fca44c50ac368b77cab"

CARD = Card(
    name="isaid",
    title="iSAID (images of DOTA v1.0)",
    protocol="isaid",
    licence="academic use; the mirror of the labels says CC BY-NC 4.0",
    terms="academic use only, Google Earth's terms apply: never share or show images",
    size="about 13.5 GB of images, 0.2 GB of masks",
    home="https://captain-whu.github.io/iSAID/",
    citation="Waqas Zamir et al., iSAID: A Large-scale Dataset for Instance Segmentation in Aerial Images, CVPRW 2019",
    files=(
        *(
            File(
                name=f"isaid_annotations_{split}.tar.gz",
                url=f"{LABELS[0]}/isaid_annotations_{split}.tar.gz",
                mirrors=(f"{LABELS[1]}/isaid_annotations_{split}.tar.gz",),
                about_bytes=size,
            )
            for split, size in (("train", 159_400_000), ("val", 52_700_000))
        ),
        File(
            name="dotav1.0_images_train.tar.gz",
            url=f"{IMAGES}/dotav1.0_images_train.tar.gz",
            about_bytes=10_200_000_000,
            md5="363b472dc3c71e7fa2f4a60223b437ea",
        ),
        File(
            name="dotav1.0_images_val.tar.gz",
            url=f"{IMAGES}/dotav1.0_images_val.tar.gz",
            about_bytes=3_320_000_000,
            md5="42293219ba61d61c417ae558bbe1f2ba",
        ),
    ),
    unpacked_bytes=60_000_000_000,
    splits={
        "train": {"images": 1_411, "instances": 358_166},
        "val": {"images": 458, "instances": 117_272},
        "test": {"images": 937},
    },
    # Second-hand figures of the devkit's tiles, of 800 px with 200 px overlap.
    prepared_images={"train": 28_029, "val": 9_512},
    classes=tuple(name for name, _ in CLASSES),
    how_to=(
        "Fetched on demand from mirrors (train and val). By hand: DOTA v1.0's images"
        " (https://captain-whu.github.io/DOTA/dataset.html; Google Drive folders train"
        " 1gmeE3D7R62UAtuIFOB9j2M5cUPTwtsxK, val 1n5w45suVOyaqY84hltJhIZdtVFD9B224) and iSAID's masks"
        " (https://captain-whu.github.io/iSAID/dataset.html), unpacked as {train,val}/{images,Instance_masks,"
        "Semantic_masks}, by `--from-dir`. Not the ready-made iSAID_{train,val}.json: their category ids differ from"
        " each other and they lack sizes."
    ),
    notes=(
        "prepared as tiles of 800 px: published counts are of whole images, an object cut by tiles counts in each",
        "the devkit evaluates with 1000 detections and its own size classes; COCO's give other numbers",
    ),
    unverified=(
        "the labels' mirror: no checksum is published, and the official label archives were not compared with it",
        "655,451 instances over all three splits are the publication's; those of test are withheld",
    ),
)

CARDS = (CARD,)
