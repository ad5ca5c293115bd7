"""SEANet as a diagram, whose shapes are those of a built detector (the paper's figures 2 and 3)."""

from __future__ import annotations

from torch import nn

from reprolib.models.drawing.diagram import Diagram
from reprolib.models.drawing.shapes import Seen, shape_text, shapes_seen
from reprolib.models.drawing.sketch import Sketch
from reprolib.papers.seanet.inside import blocks

LEVELS, BOX_HEAD, MASK_HEAD = "pyramid", "box head", "mask head"
BOX_ROW, MASK_ROW = 1.0, 5.0
BETWEEN = 3.0  # the row along which the boxes that are found go back to the pyramid


def network_diagram(model: nn.Module, *, height: int, width: int) -> Diagram:
    """The whole detector, with any components and on either framework, for one image of that size."""
    seen = shapes_seen(model, blocks(model), height=height, width=width, proposals=10, detections=4)
    sketch = Sketch()
    for place, shape in enumerate(seen["P2..P6: FPN"].outputs[:4]):
        sketch.block(f"P{place + 2}", [shape], 0, BOX_ROW + (MASK_ROW - BOX_ROW) * place / 3, kind=LEVELS)
    sketch.block("RPN", f"{seen['RPN'].outputs[0][1]} anchors a place", 0, BOX_ROW - 1.7, after=(LEVELS,))
    roi = _rois(sketch, seen, "box", BOX_ROW)
    sketch.boxes("RPN", "RoIAlign for boxes", via=((1.15, BOX_ROW - 1.7),), label="proposals")
    found = _box_head(sketch, seen, roi)
    roi = _rois(sketch, seen, "mask", MASK_ROW)
    corners = ((next(block.x for block in sketch.blocks if block.name == found), BETWEEN), (1.15, BETWEEN))
    sketch.boxes(found, "RoIAlign for masks", via=corners, label="boxes found")
    _mask_head(sketch, seen, roi, branch=model.roi_heads.mask_branch)
    return sketch.diagram()


def _rois(sketch: Sketch, seen: dict[str, Seen], what: str, row: float) -> str:
    """RoIAlign and, where the levels are fused, how; returns the block that holds the RoI's features."""
    plural = {"box": "boxes", "mask": "masks"}[what]
    fusion = seen.get(f"{what} RoI: fusion of levels")
    if fusion is None:
        first = seen["class tower" if "class tower" in seen else "box head, fully connected"]
        inputs = first.inputs if what == "box" else seen["mask: 4 convolutions"].inputs
        return sketch.block(f"RoIAlign for {plural}", inputs, 1.15, row, after=(LEVELS,))
    kind = f"all levels, for {plural}"
    aligned = sketch.block(f"RoIAlign for {plural}", fusion.inputs, 1.15, row, kind=kind, after=(LEVELS,))
    return sketch.block(f"1×1, 1×1, {plural}", fusion.outputs, 2.15, row, kind=kind, after=(aligned,))


def _box_head(sketch: Sketch, seen: dict[str, Seen], roi: str) -> str:
    """Returns the block whose boxes are the detections'."""
    if "class tower" not in seen:
        head = seen["box head, fully connected"]
        sketch.block("2 fully connected", head.outputs, 3.4, BOX_ROW, kind=BOX_HEAD, after=(roi,))
        outputs = seen["classes and deltas"].outputs
        return sketch.block("classes, boxes", outputs, 4.5, BOX_ROW, kind=BOX_HEAD, after=("2 fully connected",))
    last = []
    rows = (("class tower", "class scores"), ("box tower", "distances"), ("B-IoU tower", "IoU"))
    for row, (tower, output) in enumerate(rows, start=round(BOX_ROW) - 1):
        after = (roi, "box tower") if tower == "B-IoU tower" else (roi,)
        sketch.block(tower, _in_and_out(seen[tower]), 3.4, row, kind=BOX_HEAD, after=after)
        last.append(sketch.block(output, seen[output].outputs, 4.5, row, kind=BOX_HEAD, after=(tower,)))
    return sketch.block("score × IoU", "best of 49: one box", 5.6, BOX_ROW, kind=BOX_HEAD, after=tuple(last))


def _mask_head(sketch: Sketch, seen: dict[str, Seen], roi: str, *, branch: nn.Module) -> None:
    fuse = getattr(branch.head, "edge_fuse", "")
    convolved = seen["mask: 4 convolutions"].outputs
    sketch.block("4 × 3×3", convolved, 3.4, MASK_ROW, kind=MASK_HEAD, after=(roi,))
    enlarged, outputs = seen["mask: deconvolution"].outputs, seen["masks"].outputs
    row, place = MASK_ROW, {"kind": MASK_HEAD}
    if not fuse:
        sketch.block("deconvolution", enlarged, 4.5, row, after=("4 × 3×3",), **place)
        last = sketch.block("masks", outputs, 5.6, row, after=("deconvolution",), **place)
    else:
        gates = f"{seen['channel attention: gates'].outputs[0][1]} gates"
        sketch.block("channel attention", gates, 3.4, row - 1, after=(roi,), **place)
        joined = seen["mask: concat, 1×1, 1×1"]
        sketch.block("concat, 1×1, 1×1", _in_and_out(joined), 4.5, row, after=("4 × 3×3", "channel attention"), **place)
        sketch.block("deconvolution", enlarged, 5.6, row, after=("concat, 1×1, 1×1",), **place)
        below = row + 1
        sketch.block("position attention", seen["position attention"].outputs, 3.4, below, after=(roi,), **place)
        edges = seen["edge: 4 convolutions"].outputs
        sketch.block("4 × 3×3, edges", edges, 4.5, below, after=("position attention",), **place)
        larger = seen["edge: deconvolution"].outputs
        sketch.block("deconvolution, edges", larger, 5.6, below, after=("4 × 3×3, edges",), **place)
        fused = seen["mask + edge, 1×1"]
        both = ("deconvolution", "deconvolution, edges")
        sketch.block(f"{fuse}, 1×1", _in_and_out(fused), 6.7, row, after=both, **place)
        edges = shape_text(seen["edge map"].outputs) + (": L_edge" if branch.edge_loss else "")
        sketch.block("edge map", edges, 6.7, below, after=("deconvolution, edges",), **place)
        last = sketch.block("masks", outputs, 7.8, row, after=(f"{fuse}, 1×1",), **place)
    if "mask IoU head" in seen:
        end = sketch.blocks[-1]
        sketch.block("mask IoU head", seen["mask IoU head"].outputs, end.x, end.y - 1, after=(last,), **place)


def _in_and_out(seen: Seen) -> str:
    inputs, outputs = shape_text(seen.inputs), shape_text(seen.outputs)
    return outputs if inputs == outputs else f"{inputs} → {outputs}"
