"""The COCO API's own check and real annotations, where they are on disk: REPROLIB_REAL_DATA names their folder.

They are other people's data and not part of the repository. The folder holds `evaluator_fixtures/coco` (the COCO API's
example with its expected output), `ssdd/SSDD.json` and `nwpu_vhr10/annotations.json`, whose ids start at 0.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from reprolib.evaluation.coco import evaluate
from reprolib.evaluation.protocols import PROTOCOLS, score

FOLDER = os.environ.get("REPROLIB_REAL_DATA")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="REPROLIB_REAL_DATA names no folder")

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
# As pycocotools gives them, one digit pair more than the published output, which rounds to three.
EXPECTED = {
    "bbox": (0.50458, 0.69697, 0.57298, 0.58563, 0.51940, 0.50140, 0.38681, 0.59368, 0.59535),
    "segm": (0.31955, 0.56229, 0.29893, 0.38737, 0.31018, 0.32693, 0.26823, 0.41545, 0.41684),
}


@pytest.mark.parametrize("backend", ["pycocotools", "hotcoco"])
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_the_coco_apis_own_check(iou_type, backend):
    folder = Path(FOLDER) / "evaluator_fixtures/coco"
    results = json.loads((folder / f"instances_val2014_fake{iou_type}100_results.json").read_text())
    found = evaluate(folder / "instances_val2014_100.json", results, iou_type, backend=backend)
    values = [found[f"{iou_type}/{name}"] / 100 for name in NAMES]
    assert values[: len(EXPECTED[iou_type])] == pytest.approx(EXPECTED[iou_type], abs=5.1e-6)
    _, printed = (folder / "val2014_fake_eval_res.txt").read_text().split(f"type={iou_type}")
    published = [float(number) for number in re.findall(r"= (\d\.\d{3})$", printed, re.MULTILINE)[: len(NAMES)]]
    assert values == pytest.approx(published, abs=5.1e-4)


@pytest.mark.parametrize("name", ["ssdd/SSDD.json", "nwpu_vhr10/annotations.json"])
@pytest.mark.parametrize("protocol", ["coco", "bbbc038", "isaid"])
def test_annotations_fed_back_are_perfect(name, protocol):
    document = json.loads((Path(FOLDER) / name).read_text())
    assert min(one["id"] for one in document["annotations"]) == 0
    results = [one | {"score": 0.5} for one in document["annotations"]]
    rules = PROTOCOLS[protocol]
    found = score(rules, document, results, images=Path(FOLDER), limit=rules.limit(100)).metrics
    few = ("/AR1", "/AR10")  # fewer than there are objects
    assert {k: v for k, v in found.items() if v is not None and abs(v - 100) > 1e-10 and not k.endswith(few)} == {}
    assert found["segm/AP"] == found["bbox/AP"] == pytest.approx(100.0, abs=1e-10)
