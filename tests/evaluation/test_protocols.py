"""Which rules score which data set, and that all of them give a perfect detector 100 %."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as pycocotools_mask

from reprolib.data.cards import CARDS
from reprolib.evaluation.coco_inputs import EvaluationError
from reprolib.evaluation.protocols import PROTOCOLS, check, find_protocol, score, version

HEIGHT, WIDTH = 160, 200
# Object of class person, one of class car per image, and a group of cars.
SCENES = (
    {24000: np.s_[5:40, 5:30], 26000: np.s_[50:150, 60:170], 26: np.s_[0:20, 100:190]},
    {26001: np.s_[9:20, 9:20]},
    {},
)


@pytest.fixture
def truth(tmp_path):
    """Image folder and COCO document with all that any protocol reads; ids of images and annotations from 0."""
    images, annotations = [], []
    folder = tmp_path / "gtFine/val/lindau"
    folder.mkdir(parents=True)
    for number, scene in enumerate(SCENES):
        ids = np.full((HEIGHT, WIDTH), 7, np.uint16)
        for value, place in scene.items():
            ids[place] = value
        Image.fromarray(ids).save(folder / f"lindau_{number:06}_000019_gtFine_instanceIds.png")
        image = {"id": number, "file_name": f"lindau/lindau_{number:06}_000019_leftImg8bit.png"}
        federated = {"neg_category_ids": [33], "not_exhaustive_category_ids": []}
        images.append(image | {"height": HEIGHT, "width": WIDTH} | federated)
        for value in scene:
            rle = pycocotools_mask.encode(np.asfortranarray(ids == value, dtype=np.uint8))
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": value if value < 1000 else value // 1000,
                    "iscrowd": int(value < 1000),
                    "bbox": pycocotools_mask.toBbox(rle).tolist(),
                    "area": int(pycocotools_mask.area(rle)),
                    "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()},
                }
            )
    categories = [
        {"id": key, "name": name, "frequency": frequency}
        for key, name, frequency in ((24, "person", "r"), (26, "car", "c"), (33, "bicycle", "f"))
    ]
    return tmp_path / "leftImg8bit/val", {"images": images, "annotations": annotations, "categories": categories}


@pytest.mark.parametrize("area", ["json", "mask"])
@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_ground_truth_fed_back_is_perfect(protocol, truth, area):
    images, document = truth
    if protocol.rules == "lvis":  # which has no crowds
        document["annotations"] = [one for one in document["annotations"] if not one["iscrowd"]]
    check(protocol, document, images=images)
    results = [one | {"score": 0.5} for one in document["annotations"] if not one["iscrowd"]]
    scores = score(protocol, document, results, images=images, limit=protocol.limit(100), area=area)
    wrong = {name: v for name, v in scores.metrics.items() if v is not None and abs(v - 100) > 1e-10}
    assert wrong == {}
    assert {"segm/AP", "segm/AP50", "bbox/AP", "trimap_accuracy/1"} <= {
        name for name, value in scores.metrics.items() if value is not None
    }
    assert ("boundary/AP" in scores.metrics) == (protocol.rules != "lvis")
    assert np.array(scores.curves["segm/50"]) == pytest.approx(np.ones(101))
    json.dumps(dict(scores.protocol), allow_nan=False)
    limit = None if protocol.rules == "cityscapes" else protocol.limit(100)
    assert scores.protocol == {
        "name": protocol.name,
        "version": version(protocol),
        "area": area,
        "max_detections": limit,
    }


def test_metrics_are_those_that_the_publications_print(truth):
    images, document = truth
    names = {}
    for name, protocol in PROTOCOLS.items():
        scores = score(protocol, document, [], images=images, limit=protocol.limit(100))
        names[name] = {metric for metric in scores.metrics if metric.startswith("segm/")}
    sizes = {f"segm/AP{size}" for size in "sml"}
    assert {f"segm/AP{group}" for group in "rcf"} | sizes | {"segm/AR300"} <= names["lvis"]
    assert names["cityscapes"] == {f"segm/{n}{c}" for n in ("AP", "AP50") for c in ("", "/person", "/car", "/bicycle")}
    assert {"segm/AR1", "segm/AR10", "segm/AR100", "segm/AP/car"} | sizes <= names["coco"]
    assert "segm/AR400" in names["bbbc038"] and "segm/AR1000" in names["isaid"]


def test_limits_follow_models_that_give_more_except_lvis():
    assert [PROTOCOLS[name].limit(500) for name in ("coco", "bbbc038", "isaid", "lvis")] == [500, 500, 1000, 300]


def test_every_card_names_a_protocol():
    assert {card.protocol for card in CARDS.values()} <= set(PROTOCOLS)
    named = {name: CARDS[name].protocol for name in ("coco", "lvis", "cityscapes", "cityscapes_5", "isaid", "bbbc038")}
    assert named == {name: name for name in named} | {"cityscapes_5": "coco"}
    assert {CARDS[name].protocol for name in ("street", "aerial", "sar_ships", "nwpu_vhr10")} == {"coco"}


def test_what_cannot_be_scored_is_refused_before_anything_is_detected(truth, tmp_path):
    images, document = truth
    with pytest.raises(EvaluationError, match="void regions cannot be read"):
        check(PROTOCOLS["cityscapes"], document, images=tmp_path / "elsewhere/leftImg8bit/val")
    del document["categories"][0]["frequency"]
    with pytest.raises(EvaluationError, match="category 24: frequency"):
        check(PROTOCOLS["lvis"], document, images=images)
    check(PROTOCOLS["coco"], document, images=images)


def test_an_unknown_protocol_names_the_known_ones():
    with pytest.raises(EvaluationError, match="'koko' is unknown; known are coco, bbbc038, isaid, lvis, cityscapes"):
        find_protocol("koko")
