"""The notebook's view: boxes drawn or typed become masks; mistakes are said, not raised; the canvas's own script."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from traitlets import TraitError

from reprolib.prompting import canvas
from reprolib.prompting.promptable import load_promptable
from reprolib.prompting.segment import PromptedImage

SCRIPT = Path(canvas.__file__).with_name("canvas.js")


@pytest.fixture
def view(working):
    pixels = torch.randint(0, 256, (3, 60, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    prompted = PromptedImage(load_promptable("coco-mask_rcnn_r50"), pixels, name="field.png")
    return canvas.prompt_view(prompted)


def test_a_drawn_box_is_segmented_and_written_out(view):
    nothing = view.result.value
    view.canvas.boxes = [[10, 5, 50, 45]]  # what the browser sends when the pointer is released
    assert view.result.value != nothing and view.result.value[:4] == b"\x89PNG"
    assert view.typed.value == "10,5,50,45" and view.says.value.startswith("0: ")


def test_typed_boxes_are_drawn(view):
    view.typed.value = "10,5,50,45\n\n20.5, 1, 30, 40\n"
    assert view.canvas.boxes == [[10, 5, 50, 45], [20.5, 1, 30, 40]]
    assert view.typed.value == "10,5,50,45\n20.5,1,30,40" and "1: " in view.says.value


def test_one_change_is_one_prompt(view, monkeypatch):
    asked = []
    monkeypatch.setattr(PromptedImage, "segment", lambda self, boxes, labels=None: asked.append(boxes) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        view.canvas.boxes = [[10.1, 5, 50, 45]]
    assert len(asked) == 1


def test_undo_clear_and_class(view):
    view.canvas.boxes = [[10, 5, 50, 45], [1, 1, 9, 9]]
    view.undo.click()
    assert view.canvas.boxes == [[10, 5, 50, 45]]
    view.label.value = 2
    assert view.says.value.startswith("0: " + view.label.label)
    view.clear.click()
    view.undo.click()
    assert view.canvas.boxes == [] and view.typed.value == "" and view.says.value == "drag a box on the image"


@pytest.mark.parametrize(
    ("typed", "message"),
    [("50,5,10,45", "is inverted"), ("1,2,3", "neither x1,y1,x2,y2"), ("<b>", "&lt;b&gt;"), ("1,1,99,9", "outside")],
)
def test_mistakes_are_said_in_the_view(view, typed, message):
    view.typed.value = typed
    assert message in view.says.value
    view.typed.value = "10,5,50,45"
    assert view.says.value.startswith("0: ")
    view.typed.value = "10,5,50"
    assert "neither" in view.says.value
    view.typed.value = "10,5,50,45"  # taken back: the boxes are those of before
    assert view.says.value.startswith("0: ")


def test_a_canvas_refuses_what_is_no_box():
    with pytest.raises(TraitError):
        canvas.BoxCanvas(boxes=[[1.0, 2.0, 3.0]])


BROWSER = """
const listeners = {}, changes = {}, strokes = [];
const context = new Proxy({ strokeRect: (...box) => strokes.push(box) }, { get: (o, k) => o[k] ?? (() => {}) });
const canvas = {
  style: {}, getContext: () => context, setPointerCapture: () => {},
  addEventListener: (name, act) => { listeners[name] = act; },
  getBoundingClientRect: () => ({ left: 100, top: 50, width: 160, height: 120 }),
};
globalThis.document = { createElement: () => canvas };
globalThis.Image = class { complete = true; naturalWidth = 80; };
globalThis.Blob = class {};
URL.createObjectURL = () => "blob:";
const state = { width: 80, height: 60, shown_width: 320, boxes: [], png: null };
let saved = 0;
const model = {
  get: (key) => state[key], set: (key, value) => { state[key] = value; }, save_changes: () => { saved += 1; },
  on: (name, act) => { changes[name] = act; }, off: () => {},
};
const widget = (await import(process.argv[2])).default;
widget.render({ model, el: { appendChild: () => {} } });
const at = (x, y) => ({ clientX: x, clientY: y, button: 0, pointerId: 1, preventDefault: () => {} });
const drag = (from, to) => {
  listeners.pointerdown(at(...from)); listeners.pointermove(at(...to)); listeners.pointerup(at(...to));
};
drag([120, 60], [200, 130]);   // 10,5 .. 50,40 in image px: half the screen's, shifted
drag([200, 130], [120, 60]);   // drawn backwards
drag([180, 110], [900, -40]);  // beyond the right and upper border
drag([180, 110], [181, 111]);  // a twitch
console.log(JSON.stringify({ boxes: state.boxes, saved, strokes, size: [canvas.width, canvas.height] }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the browser's script")
def test_the_script_maps_the_pointer_to_image_pixels(tmp_path):
    (tmp_path / "canvas.mjs").write_text(SCRIPT.read_text())
    (tmp_path / "run.mjs").write_text(BROWSER)
    command = ["node", str(tmp_path / "run.mjs"), str(tmp_path / "canvas.mjs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["boxes"] == [[10, 5, 50, 40], [10, 5, 50, 40], [40, 0, 80, 30]] and seen["saved"] == 3
    assert seen["size"] == [320, 240]
    assert [40, 20, 160, 140] in seen["strokes"]  # on the canvas, four times the image's size
