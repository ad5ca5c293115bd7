"""Cards of COCO 2017, LVIS v1 and Cityscapes, whole and with five classes. Sizes and checksums: as TensorFlow
Datasets and others list them."""

from __future__ import annotations

from dataclasses import replace

from reprolib.data.card import Card, File

COCO_BASE = "http://images.cocodataset.org"
COCO_TERMS = "annotations CC BY 4.0; each image under its own Flickr licence: never share images"

# fmt: off
COCO_CLASSES = (
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

COCO = Card(
    name="coco",
    title="COCO 2017",
    licence="CC BY 4.0 (annotations)",
    terms=COCO_TERMS,
    size="20.4 GB of archives for train and val",
    home="https://cocodataset.org",
    citation="Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
    files=(
        File(
            name="train2017.zip",
            url=f"{COCO_BASE}/zips/train2017.zip",
            bytes=19_336_861_798,
            md5="cced6f7f71b7629ddf16f17bbcfab6b2",
            sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        ),
        File(
            name="val2017.zip",
            url=f"{COCO_BASE}/zips/val2017.zip",
            bytes=815_585_330,
            md5="442b8da7639aecaf257c1dceb8ba8c80",
            sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        ),
        File(
            name="annotations_trainval2017.zip",
            url=f"{COCO_BASE}/annotations/annotations_trainval2017.zip",
            bytes=252_907_541,
            md5="f4bbac642086de4f52a3fdda2de5fa2c",
            sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        ),
    ),
    splits={
        "train": {"images": 118_287, "instances": 860_001},
        "val": {"images": 5_000, "instances": 36_781},
    },
    classes=COCO_CLASSES,
    how_to=(
        "Fetching COCO is not automatic yet. Fetch train2017.zip, val2017.zip"
        " (http://images.cocodataset.org/zips/) and annotations_trainval2017.zip"
        " (http://images.cocodataset.org/annotations/), unpack them into one folder C: train_images is C/train2017,"
        " train_annotations C/annotations/instances_train2017.json, and so for val."
    ),
)

LVIS_BASE = "https://s3-us-west-2.amazonaws.com/dl.fbaipublicfiles.com/LVIS"

LVIS = Card(
    name="lvis",
    title="LVIS v1",
    protocol="lvis",
    licence="CC BY 4.0 (annotations)",
    terms=COCO_TERMS,
    size="414 MB of annotation archives, images of COCO 2017",
    home="https://www.lvisdataset.org",
    citation="Gupta et al., LVIS: A Dataset for Large Vocabulary Instance Segmentation, CVPR 2019",
    files=(
        File(
            name="lvis_v1_train.json.zip",
            url=f"{LVIS_BASE}/lvis_v1_train.json.zip",
            bytes=350_264_821,
            md5="4410d837f71203af226950447ef9d422",
            sha256="334a4caa374030a7817cf050364525e910f7960f9b6968cef47cffbf3893f8ba",
        ),
        File(
            name="lvis_v1_val.json.zip",
            url=f"{LVIS_BASE}/lvis_v1_val.json.zip",
            bytes=64_026_968,
            md5="87734a7f895990b9552075d7ce723e27",
            sha256="5cae9a3c79aadb667550c2b5dcf7f4d86e059a41ec91ef690225b667e28e9ba5",
        ),
    ),
    class_count=1_203,
    splits={"train": {"images": 100_170}, "val": {"images": 19_809, "instances": 244_707}},
    how_to=(
        "Fetching LVIS is not automatic yet. Unpack lvis_v1_train.json.zip and lvis_v1_val.json.zip beside COCO's"
        " train2017 and val2017; train_images and val_images are both the folder that holds those two (15,000 of the"
        " validation images lie in train2017)."
    ),
    notes=(
        "1,203 classes, named in the JSON; images have no file_name, coco_url ends in folder and file",
        "evaluated by LVIS's own rules with 300 detections per image, not by COCO's",
    ),
)

CITYSCAPES = Card(
    name="cityscapes",
    title="Cityscapes, fine annotations",
    protocol="cityscapes",
    licence="own terms, see https://www.cityscapes-dataset.com/license/",
    terms="account needed, research use, no redistribution",
    size="about 11.2 GB of archives",
    home="https://www.cityscapes-dataset.com",
    citation="Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016",
    files=(
        File(name="gtFine_trainvaltest.zip", md5="4237c19de34c8a376e9ba46b495d6f66"),
        File(name="leftImg8bit_trainvaltest.zip", md5="0a6e97e94b616a514066c9e2adb0c97f"),
    ),
    splits={"train": {"images": 2_975}, "val": {"images": 500}, "test": {"images": 1_525}},
    classes=("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    how_to=(
        "With an account, fetch gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip, unpack both into one folder"
        " F and set {folder: F}: the annotations are made from the instanceIds images."
    ),
    notes=("groups of objects that are not told apart are crowds",),
)

# What "Real-Time Instance Segmentation Method Based on Location Attention" keeps of it.
CITYSCAPES_5 = replace(
    CITYSCAPES,
    name="cityscapes_5",
    title="Cityscapes, five of its eight classes",
    protocol="coco",  # as the publication
    classes=("person", "rider", "car", "truck", "bus"),
    notes=(
        "trains, motorcycles and bicycles are background; images without any of the five stay in val",
        *CITYSCAPES.notes,
    ),
)
