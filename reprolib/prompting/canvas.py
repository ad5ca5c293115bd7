"""Boxes drawn or typed on an image in a notebook, segmented at once: widgets over `PromptedImage`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import anywidget
import ipywidgets
import torch
import traitlets
from PIL import Image

from reprolib.figures.pictures import COLOURS
from reprolib.prompting.request import parse_boxes
from reprolib.prompting.segment import PromptedImage

SHOWN = (480, 720)  # the canvas's width in px on the screen
BY_MODEL = "found by the model"


class BoxCanvas(anywidget.AnyWidget):
    """An image on which a user drags boxes (`canvas.js`).

    png: the image's bytes. width, height: of the image, px. shown_width: on the screen. boxes: [x1,y1,x2,y2] in image
    px, in the order drawn; the notebook may set them too.
    """

    _esm = Path(__file__).with_name("canvas.js")
    png = traitlets.Bytes().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    height = traitlets.Int().tag(sync=True)
    shown_width = traitlets.Int().tag(sync=True)
    boxes = traitlets.List(traitlets.List(traitlets.Float(), minlen=4, maxlen=4)).tag(sync=True)


def prompt_view(prompted: PromptedImage) -> ipywidgets.VBox:
    """A view to draw boxes (drag), or type them (a line each), and see their masks; errors stand below.

    Its children by attribute: canvas, typed, label, undo, clear, result, says. The image is not encoded again.
    """
    height, width = prompted.pixels.shape[-2:]
    canvas = BoxCanvas(png=_png(prompted), width=width, height=height, shown_width=min(max(width, SHOWN[0]), SHOWN[1]))
    result = ipywidgets.Image(format="png", layout={"max_width": "48%", "object_fit": "contain"})
    typed = ipywidgets.Textarea(
        placeholder="x1,y1,x2,y2 in pixels, a line each", continuous_update=False, layout={"width": "24em"}
    )
    names = prompted.promptable.names
    label = ipywidgets.Dropdown(
        options=[(BY_MODEL, 0), *((name, n) for n, name in enumerate(names, 1))], description="class"
    )
    undo, clear = ipywidgets.Button(description="undo"), ipywidgets.Button(description="clear")
    says = ipywidgets.HTML()

    def show(change: object = None) -> None:
        typed.unobserve(take_typed, "value")  # this text does not come from the user
        typed.value = _as_text(canvas.boxes)
        typed.observe(take_typed, "value")
        boxes = torch.tensor(canvas.boxes, dtype=torch.float32).reshape(-1, 4)
        try:
            segments = prompted.segment(boxes, torch.full((len(boxes),), label.value) if label.value else None)
        except ValueError as error:
            says.value = _in_red(error)
            return
        result.value = prompted.draw(segments).png
        rows = zip(segments["labels"].tolist(), segments["scores"].tolist(), strict=True)
        results = (
            f"{number}: {names[label_index - 1]} {score:.2f}" for number, (label_index, score) in enumerate(rows)
        )
        says.value = escape(", ".join(results)) or "drag a box on the image"

    def take_typed(change: object) -> None:
        lines = [line for line in typed.value.splitlines() if line.strip()]
        try:
            boxes = parse_boxes(lines, image=prompted.name).tolist() if lines else []
        except ValueError as error:
            says.value = _in_red(error)
            return
        if boxes == canvas.boxes:
            show()  # an invalid text may have been corrected
        else:
            canvas.boxes = boxes

    def drop(count: int) -> None:
        canvas.boxes = canvas.boxes[: len(canvas.boxes) - count]

    canvas.observe(show, "boxes")
    label.observe(show, "value")
    undo.on_click(lambda button: drop(1))
    clear.on_click(lambda button: drop(len(canvas.boxes)))
    pictures = ipywidgets.HBox([canvas, result], layout={"align_items": "flex-start"})
    controls = ipywidgets.VBox([label, ipywidgets.HBox([undo, clear])])
    view = ipywidgets.VBox([pictures, ipywidgets.HBox([typed, controls]), says])
    view.canvas, view.typed, view.label, view.undo, view.clear = canvas, typed, label, undo, clear
    view.result, view.says = result, says
    show()
    return view


def _as_text(boxes: Sequence[Sequence[float]]) -> str:
    return "\n".join(",".join(f"{value:g}" for value in box) for box in boxes)


def _in_red(error: ValueError) -> str:
    return f'<span style="color:{COLOURS[0]}">{escape(str(error))}</span>'


def _png(prompted: PromptedImage) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(prompted.pixels.permute(1, 2, 0).contiguous().numpy()).save(buffer, format="png")
    return buffer.getvalue()
