"""Cards of Cityscapes, whole and with five classes."""

from __future__ import annotations

from dataclasses import replace

from reprolib.data.card import Card, File

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
        File(name="gtFine_trainvaltest.zip", about_bytes=241_000_000, md5="4237c19de34c8a376e9ba46b495d6f66"),
        File(name="leftImg8bit_trainvaltest.zip", about_bytes=11_600_000_000, md5="0a6e97e94b616a514066c9e2adb0c97f"),
    ),
    splits={"train": {"images": 2_975}, "val": {"images": 500}, "test": {"images": 1_525}},
    classes=("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    how_to=(
        "It needs an account: register at https://www.cityscapes-dataset.com/register/, then `pip install"
        " cityscapesScripts` and `csDownload gtFine_trainvaltest.zip leftImg8bit_trainvaltest.zip` (it asks for your"
        " login, which this suite never sees), or fetch both in the browser; then `--from-archive` with the folder that"
        " holds both zips, or `--from-dir` with the folder of the unpacked gtFine/ and leftImg8bit/."
    ),
    unpacked_bytes=12_500_000_000,
    notes=("groups of objects that are not told apart are crowds",),
    unverified=("sizes of the archives in bytes: rounded figures only",),
)

# What "Real-Time Instance Segmentation Method Based on Location Attention" keeps of it.
CITYSCAPES_5 = replace(
    CITYSCAPES,
    name="cityscapes_5",
    shares_files_of="cityscapes",
    title="Cityscapes, five of its eight classes",
    protocol="coco",  # as the publication
    classes=("person", "rider", "car", "truck", "bus"),
    notes=(
        "trains, motorcycles and bicycles are background; images without any of the five stay in val",
        *CITYSCAPES.notes,
    ),
)

CARDS = (CITYSCAPES, CITYSCAPES_5)
