"""Insight Any Instance as a diagram, whose shapes are those of a built detector."""

from __future__ import annotations

from torch import nn

from reprolib.models.drawing.diagram import Diagram
from reprolib.models.drawing.shapes import Seen, shape_text, shapes_seen
from reprolib.models.drawing.sketch import Sketch
from reprolib.papers.insight_any_instance.global_prompts import GlobalPrompts
from reprolib.papers.insight_any_instance.inside import blocks, prompts_of

LEVELS, BOXES, MASKS, LPM, GPM = "pyramid", "box head", "mask head", "LPM: the box alone", "GPM: the box asks the image"
BOX_ROW, MASK_ROW, LPM_ROW, GPM_ROW = 1.0, 4.0, 6.0, 9.2
BETWEEN = 2.5  # the row along which the boxes that are found go back


class _Sketch(Sketch):
    """A sketch that knows the shapes seen."""

    def __init__(self, seen: dict[str, Seen]) -> None:
        super().__init__()
        self.seen = seen


def network_diagram(model: nn.Module, *, height: int, width: int) -> Diagram:
    """The whole detector, with any components and on any host, for one image of that size."""
    seen = shapes_seen(model, blocks(model), height=height, width=width, proposals=10, detections=4)
    sketch = _Sketch(seen)
    for place, shape in enumerate(seen["P2..P6: FPN"].outputs[:4]):
        sketch.block(f"P{place + 2}", [shape], 0, BOX_ROW + (MASK_ROW - BOX_ROW) * place / 3, kind=LEVELS)
    loss = " + PAreaLoss" if model.rpn.proposal_loss is not None else ""
    sketch.block("RPN", f"{seen['RPN'].outputs[0][1]} anchors a place{loss}", 0, BOX_ROW - 1.7, after=(LEVELS,))
    found = _box_stages(sketch, model)
    corners = ((4.6, BOX_ROW), (4.6, BETWEEN), (1.15, BETWEEN))
    last = _mask_features(sketch, model)
    sketch.boxes(found, "RoIAlign for masks", via=corners, label="boxes found or given")
    _masks(sketch, model, last)
    return sketch.diagram()


def _box_stages(sketch: _Sketch, model: nn.Module) -> str:
    """Returns the block whose boxes are the detections'."""
    stages = getattr(model.roi_heads, "box_stages", None)
    first = sketch.seen["box head, fully connected" if stages is None else "box stage 1"]
    roi = sketch.block("RoIAlign for boxes", first.inputs, 1.15, BOX_ROW, after=(LEVELS,))
    sketch.boxes("RPN", roi, via=((1.15, BOX_ROW - 1.7),), label="proposals")
    if stages is not None:
        outputs = shape_text(first.outputs)
        return sketch.block(f"{len(stages)} box stages", outputs, 2.4, BOX_ROW, kind=BOXES, after=(roi,))
    sketch.block("2 fully connected", first.outputs, 2.4, BOX_ROW, kind=BOXES, after=(roi,))
    outputs = sketch.seen["classes and deltas"].outputs
    return sketch.block("classes, boxes", outputs, 3.5, BOX_ROW, kind=BOXES, after=("2 fully connected",))


def _mask_features(sketch: _Sketch, model: nn.Module) -> str:
    """RoIAlign and, with prompts, their modules and the fusion; returns the block that the mask head reads."""
    # Fusion keeps the shape.
    roi = sketch.block(
        "RoIAlign for masks", sketch.seen[_mask_heads(sketch)[0]].inputs, 1.15, MASK_ROW, after=(LEVELS,)
    )
    prompts = prompts_of(model)
    if prompts is None:
        return roi
    size = prompts.crop_size
    crops = sketch.block("crop", f"3×{size}×{size}", 1.15, LPM_ROW)
    sketch.block("image", sketch.seen["C2..C5: backbone"].inputs, 0, LPM_ROW)
    sketch.flow("image", crops)
    sketch.boxes(roi, crops)
    ends = []
    if prompts.local_prompts is not None:
        ends.append(_local(sketch, crops))
    if prompts.global_prompts is not None:
        ends.append(_global(sketch, crops, module=prompts.global_prompts))
    seen = sketch.seen
    projected = "sum, 1×1, GELU" if len(ends) > 1 else "1×1, GELU"
    sketch.block(projected, seen["fusion: 1×1 of the prompts"].outputs, 6.9, MASK_ROW + 1, after=tuple(ends))
    if "fusion: 1×1 of both" not in seen:
        return sketch.block("sum", seen["fusion: 1×1 of the prompts"].outputs, 6.9, MASK_ROW, after=(roi, projected))
    both = _in_and_out(seen["fusion: 1×1 of both"])
    return sketch.block("concat, 1×1", both, 6.9, MASK_ROW, after=(roi, projected))


def _local(sketch: _Sketch, crops: str) -> str:
    seen, place = sketch.seen, {"kind": LPM}
    row = LPM_ROW
    one = sketch.block("patches 7×7", seen["LPM: patches of the crop"].outputs, 3.5, row, after=(crops,), **place)
    filtered = seen["LPM: learned spectrum"].outputs
    spectrum = sketch.block("FFT, learned, back", filtered, 2.4, row + 1, after=(crops,), **place)
    tokens = seen["LPM: patches of its spectrum"].outputs
    other = sketch.block("patches 7×7, again", tokens, 3.5, row + 1, after=(spectrum,), **place)
    last = (one, other)
    if "LPM: MLP" in seen:
        last = (sketch.block("MLP", _in_and_out(seen["LPM: MLP"]), 4.6, row + 0.5, after=last, **place),)
    layers = [name for name in seen if name.startswith("LPM: layer")]
    if layers:
        name = f"{len(layers)} transformer layers"
        last = (sketch.block(name, seen[layers[-1]].outputs, 5.7, row + 0.5, after=last, **place),)
    return last[-1]


def _global(sketch: _Sketch, crops: str, *, module: GlobalPrompts) -> str:
    seen, place, row = sketch.seen, {"kind": GPM}, GPM_ROW
    patches = seen["GPM: patches of the image"]
    whole = sketch.block("patches of the image", patches.outputs, 2.4, row + 1, after=("image",), **place)
    own = sketch.block(
        "patches of the crop", seen["GPM: patches of the crop"].outputs, 2.4, row, after=(crops,), **place
    )
    tokens = shape_text(seen["GPM: patches of the crop"].outputs)
    images = sketch.block("layer of the image", "once per image", 3.6, row + 1, after=(whole,), **place)
    boxes = sketch.block("layer of the box", tokens, 3.6, row, after=(own,), **place)
    answer = "softmax(L Gᵀ / √C) G"
    asked = sketch.block(
        "L + answer" if module.residual else "answer", answer, 4.8, row, after=(boxes, images), **place
    )
    return sketch.block(f"{module.loops} loops", seen["GPM"].outputs, 5.9, row, after=(asked,), **place)


def _masks(sketch: _Sketch, model: nn.Module, last: str) -> None:
    heads = _mask_heads(sketch)
    name = "mask head" if len(heads) == 1 else f"mean of {len(heads)} mask heads"
    x = 8.1 if prompts_of(model) is not None else 2.4
    sketch.block(name, sketch.seen[heads[0]].outputs, x, MASK_ROW, kind=MASKS, after=(last,))


def _mask_heads(sketch: _Sketch) -> list[str]:
    return [name for name in sketch.seen if name.startswith("mask head")]


def _in_and_out(seen: Seen) -> str:
    return f"{shape_text(seen.inputs)} → {shape_text(seen.outputs)}"
