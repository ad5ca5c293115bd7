"""Cards of the radar and aerial data sets."""

from __future__ import annotations

from reprolib.data.card import Card, File

SSDD = Card(
    name="ssdd",
    title="Official-SSDD, polygon annotations (PSeg)",
    licence="none stated for the data; repository Apache-2.0",
    terms="research use: never share images",
    size="about 1.04 GB archive (RAR)",
    home="https://github.com/TianwenZhang0825/Official-SSDD",
    citation="Zhang et al., SAR Ship Detection Dataset (SSDD): Official Release, Remote Sensing 2021, 13(18), 3690",
    files=(File(name="Official-SSDD-OPEN.rar"),),
    splits={
        "all": {"images": 1_160, "instances": 2_587},
        "train": {"images": 928, "instances": 2_041},
        "test": {"images": 232, "instances": 546},
    },
    classes=("ship",),
    how_to=(
        "Its conversion is not part of the suite yet. Fetch Official-SSDD-OPEN.rar (Google Drive id"
        " 1glNJUGotrbEyk43twwB9556AdngJsynZ), unpack it, and make COCO-format JSON from PSeg_SSDD/voc_style:"
        " file numbers ending in 1 or 9 are the test split (232 images), the rest is train (928)."
    ),
    notes=(
        "the older SSDD.json has 2,586 ships and no official split; random 928/232 splits of it are about too",
        "some archives unpack to a doubled Official-SSDD-OPEN/Official-SSDD-OPEN/",
    ),
)

HRSID = Card(
    name="hrsid",
    title="HRSID",
    licence="none stated for the data; repository GPL-3.0",
    terms="research use: never share images",
    size="about 614 MB archive",
    home="https://github.com/chaozhong2010/HRSID",
    citation="Wei et al., HRSID: A High-Resolution SAR Images Dataset, IEEE Access 2020, vol. 8",
    files=(File(name="HRSID_JPG.zip"),),
    splits={
        "train": {"images": 3_642, "instances": 11_047},
        "test": {"images": 1_962, "instances": 5_922},
    },
    classes=("ship",),
    how_to=(
        "Fetching HRSID is not automatic yet. Fetch HRSID_JPG.zip (Google Drive id"
        " 1NY3ovgc-woDlNoQdyqzRB3t9McOBH5Ms) and unpack it: images are HRSID_JPG/JPEGImages for both splits,"
        " train_annotations HRSID_JPG/annotations/train2017.json, val_annotations"
        " HRSID_JPG/annotations/test2017.json."
    ),
    notes=(
        "the merged train_test2017.json has 18 ships fewer than both splits together: not used",
        "135 of 136 scenes occur in train and in test",
    ),
)

ISAID = Card(
    name="isaid",
    title="iSAID (images of DOTA v1.0)",
    protocol="isaid",
    licence="academic use; the mirror of the labels says CC BY-NC 4.0",
    terms="academic use only, Google Earth's terms apply: never share or show images",
    size="about 12.6 GB of images",
    home="https://captain-whu.github.io/iSAID/",
    citation="Waqas Zamir et al., iSAID: A Large-scale Dataset for Instance Segmentation in Aerial Images, CVPRW 2019",
    files=(
        File(name="isaid_annotations_train.tar.gz"),
        File(name="isaid_annotations_val.tar.gz"),
        File(name="dotav1.0_images_train.tar.gz", md5="363b472dc3c71e7fa2f4a60223b437ea"),
        File(name="dotav1.0_images_val.tar.gz", md5="42293219ba61d61c417ae558bbe1f2ba"),
    ),
    splits={
        "train": {"images": 1_411, "instances": 358_166},
        "val": {"images": 458, "instances": 117_272},
        "test": {"images": 937},
    },
    classes=(
        "ship",
        "storage_tank",
        "baseball_diamond",
        "tennis_court",
        "basketball_court",
        "Ground_Track_Field",
        "Bridge",
        "Large_Vehicle",
        "Small_Vehicle",
        "Helicopter",
        "Swimming_pool",
        "Roundabout",
        "Soccer_ball_field",
        "plane",
        "Harbor",
    ),
    how_to=(
        "Its conversion is not part of the suite yet. Tile images and id masks with the iSAID devkit (800 px, overlap"
        " 200) and convert them with it to instancesonly_filtered_{train,val}.json. Not the ready-made"
        " iSAID_{train,val}.json: their category ids differ from each other and they lack sizes."
    ),
    notes=("the devkit evaluates with 1000 detections and its own size classes; COCO's give other numbers",),
)

NWPU_VHR10 = Card(
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
            md5="6add6751469c12dd8c8d6223064c6c4d",
        ),
        File(
            name="annotations.json",
            url=(
                "https://raw.githubusercontent.com/chaozhong2010/VHR-10_dataset_coco/"
                "ce0ba0f5f6a0737031f1cbe05e785ddd5ef05bd7/NWPU%20VHR-10_dataset_coco/annotations.json"
            ),
            bytes=1_265_416,
            md5="7c76ec50c17a61bb0514050d20f22c08",
            sha256="dde27d9362d9c6aa358a1cab160c9e075e57405d3fe876de049973c6e6150f0e",
        ),
    ),
    splits={
        "all": {"images": 650, "instances": 3_921},
        "own train": {"images": 455, "instances": 2_760},
        "own val": {"images": 195, "instances": 1_161},
        "public train": {"images": 520, "instances": 3_178},
        "public val": {"images": 130, "instances": 743},
    },
    classes=(
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
    ),
    how_to=(
        "Fetched and converted on demand; offline, give the option `archive` with the path of the zip (or of the folder"
        " that it, or the RAR, unpacks to; data/NWPU of https://github.com/KyanChen/RSPrompter is another) and, where"
        " annotations.json is not in it, the option `annotations`."
    ),
    notes=(
        "published ids start at 0, boxes are 1 px larger than the polygons, areas 119 px on average (176 of 3,921 then"
        " have another size class); prepared, ids start at 1, box and area are the mask's",
        "no official instance split; publications that split 7:3 do not publish theirs. `split: own`:"
        " reprolib/data/splits/nwpu_vhr10_own_val.txt, 30% of the images of each set of classes; `split: public`:"
        " nwpu_vhr10_public_val.txt, RSPrompter's 520/130",
        "two images recur with ships pasted in (073 as 286, 288 as 297): split `own` has one of each pair in train and"
        " one in val",
        "the 150 images without objects are not used",
    ),
)
