"""notebooks/prompt.ipynb without a browser: given boxes give a picture, none give the view to draw in."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reprolib.pipeline.notebook import execute

ROOT = Path(__file__).parent.parent.parent

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.mark.parametrize(
    ("boxes", "shown", "not_shown"), [("10,5,50,45; 1,1,9,9", "image/png", VIEW), ("", VIEW, "image/png")]
)
def test_it_runs_headless(working, tmp_path, boxes, shown, not_shown):
    image = tmp_path / "field.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(image)
    parameters = {"image": str(image), "boxes": boxes, "experiment": "coco-mask_rcnn_r50", "profile": "demo"}
    output = execute(ROOT / "notebooks" / "prompt.ipynb", tmp_path / "out.ipynb", parameters)
    cells = json.loads(output.read_text())["cells"]
    outputs = [one for cell in cells for one in cell.get("outputs", [])]
    kinds = {kind for one in outputs for kind in one.get("data", {})}
    assert shown in kinds and not_shown not in kinds
    text = "".join("".join(one.get("text", "")) for one in outputs)
    assert "80 x 60 px, encoded" in text and ("[10.0, 5.0, 50.0, 45.0]" in text) == bool(boxes)
    assert not any(one.get("name") == "stderr" for one in outputs), "a warning would stand in the user's notebook"
