"""MAI-SE-Net and its parts as diagrams, whose shapes are those of a built detector (the paper's figures 1 to 6)."""

from __future__ import annotations

from itertools import pairwise, product

from torch import nn

from reprolib.models.drawing.diagram import Diagram
from reprolib.models.drawing.shapes import Seen, Shape, shape_text, shapes_seen
from reprolib.models.drawing.sketch import Sketch
from reprolib.papers.mai_se_net.inside import blocks

MIDDLE = 3  # the level that FBO balances at
FIRST_SITE = "M1 to M2"
SCALE = "scale enhancement"


def network_diagram(model: nn.Module, *, height: int, width: int) -> Diagram:
    """The whole detector, with any components, for one image of that size. The pyramid's rows are strides."""
    seen = shapes_seen(model, blocks(model), height=height, width=width, proposals=10, detections=4)
    sketch = Sketch()
    raw = _feature_pyramid(sketch, seen)
    levels = _scale_enhancement(sketch, seen, raw)
    balance = getattr(model.neck, "balance", None)
    for level, name in raw.items() if balance is not None else ():
        if balance.residual == "all" or (balance.residual == "p1_only" and level == 1):
            around = ((1.5, MIDDLE - 0.45), (3.5, MIDDLE - 0.45)) if level == MIDDLE else ()
            sketch.flow(name, levels[level], label="" if around else "+", via=around)
    _heads(sketch, model.roi_heads, seen, levels=list(levels.values()))
    return sketch.diagram()


def site_diagram(model: nn.Module, *, height: int, width: int) -> Diagram:
    """What stands between the first two mask heads, taken apart."""
    seen = shapes_seen(model, blocks(model), height=height, width=width, proposals=10, detections=4)
    parts = {name.removeprefix(f"{FIRST_SITE}: "): one for name, one in seen.items() if name.startswith(FIRST_SITE)}
    previous, roi = seen[FIRST_SITE].inputs
    sketch, x = Sketch(), 0
    last = [sketch.block("features of M1", [previous], x=0, y=1.5)]
    for column in _refinement(parts):
        x += 1
        rows = range(len(column)) if len(column) > 1 else [1.5]
        these = [
            sketch.block(name, shapes, x=x, y=row, kind=kind)
            for row, (name, shapes, kind) in zip(rows, column, strict=True)
        ]
        for source, target in product(last, these):
            sketch.flow(source, target)
        last = these
    last.append(sketch.block("F: RoI features", [roi], x=x + 1, y=4))
    if "CSAB" in parts:
        grouped, attention = parts["CSAB, grouped"], parts["CSAB, CBAM"]
        steps = [
            sketch.block("concatenate", grouped.inputs, x=x + 1, y=1.5, kind="CSAB"),
            sketch.block("3×3, 2 groups", grouped.outputs, x=x + 2, y=0.25, kind="CSAB"),
            sketch.block("shuffle", attention.inputs, x=x + 2, y=1.5, kind="CSAB"),
            sketch.block("CBAM", attention.outputs, x=x + 2, y=2.75, kind="CSAB"),
        ]
        if parts["CSAB"].outputs != attention.outputs:
            steps.append(sketch.block("1×1 at the end", parts["CSAB"].outputs, x=x + 2, y=4, kind="CSAB"))
    else:
        steps = [sketch.block("F + 1×1, ReLU", seen[FIRST_SITE].outputs, x=x + 1, y=1.5, kind="HTC")]
    end = sketch.blocks[-1]
    steps.append(sketch.block("M2", _in_and_out(seen["mask head M2"]), x=end.x + 1, y=end.y))
    for source in last:
        sketch.flow(source, steps[0])
    for source, target in pairwise(steps):
        sketch.flow(source, target)
    return sketch.diagram()


def _refinement(parts: dict[str, Seen]) -> list[list[tuple[str, list[Shape], str]]]:
    """What ASPP and NLB do to the previous features, column by column: (name, shapes, kind) of each block."""
    nlb = [[("x + attention", parts["NLB"].outputs, "NLB")]] if "NLB" in parts else []
    rates = [name for name in parts if name.startswith("ASPP, rate")]
    if not rates:
        return nlb
    branches = [(name.replace("ASPP", "3×3"), parts[name].outputs, "ASPP") for name in rates]
    reduction = parts["ASPP, reduction"]
    if nlb and parts["NLB"].inputs == reduction.inputs:
        return [branches, [("concat", reduction.inputs, "ASPP")], *nlb, [("1×1", reduction.outputs, "ASPP")]]
    return [branches, [("concat, 1×1", reduction.outputs, "ASPP")], *nlb]


def _feature_pyramid(sketch: Sketch, seen: dict[str, Seen]) -> dict[int, str]:
    """Image, C2..C5 and the FPN's levels; returns the blocks of the latter by level."""
    backbone, levels = seen["C2..C5: backbone"], {}
    before = sketch.block("image", backbone.inputs, x=0, y=0, kind="backbone")
    for level, shape in enumerate(backbone.outputs, start=2):
        name = sketch.block(f"C{level}", [shape], x=0, y=level - 1, kind="backbone")
        sketch.flow(before, name)
        levels[level] = sketch.block(f"P{level}", seen[f"P{level}: FPN output"].outputs, x=1, y=level - 1, kind="FPN")
        sketch.flow(name, levels[level])
        if level > 2:
            sketch.flow(levels[level], levels[level - 1])
        before = name
    if "P1: CARAFEB" in seen:
        levels[1] = sketch.block("P1: CARAFE", seen["P1: CARAFEB"].outputs, x=1, y=0, kind="FPN")
        sketch.flow(levels[2], levels[1])
    return dict(sorted(levels.items()))


def _scale_enhancement(sketch: Sketch, seen: dict[str, Seen], raw: dict[int, str]) -> dict[int, str]:
    """FBO, GCB and B1.., or what is there of them; returns the blocks that the heads read, by level."""
    refined = {}
    if "F_FBO: FBO" in seen:
        last = sketch.block("FBO", seen["F_FBO: FBO"].outputs, x=2, y=MIDDLE - 1, kind=SCALE)
        for name in raw.values():
            sketch.flow(name, last)
        if "GCB of F_FBO" in seen:
            sketch.flow(last, sketch.block("GCB", seen["GCB of F_FBO"].outputs, x=3, y=MIDDLE - 1, kind=SCALE))
            last = "GCB"
        refined = dict.fromkeys(raw, last)
    elif "GCB of P2" in seen:
        for level, name in raw.items():
            shapes = seen[f"GCB of P{level}"].outputs
            refined[level] = sketch.block(f"GCB of P{level}", shapes, x=2.5, y=level - 1, kind=SCALE)
            sketch.flow(name, refined[level])
    levels = {} if refined else dict(raw)
    column, kind, letter = (4, "levels", "B") if refined else (1, "FPN", "P")
    for level, shape in enumerate(seen["pyramid as a whole"].outputs, start=min(raw)):
        if level not in levels:
            levels[level] = sketch.block(f"{letter}{level}", [shape], x=column, y=level - 1, kind=kind)
            sketch.flow(refined.get(level) or levels[level - 1], levels[level])
    return levels


def _heads(sketch: Sketch, heads: nn.Module, seen: dict[str, Seen], *, levels: list[str]) -> None:
    """The RPN, and below the pyramid the three stages."""
    top = max(block.y for block in sketch.blocks) + 1.6
    last = next(block for block in sketch.blocks if block.name == levels[-1])
    box_row, mask_row, site_row, roi_row = top + 1.2, top + 2.1, top + 3.3, top + 4.4
    anchors = seen["RPN"].outputs[0][1]
    sketch.block("RPN", f"{len(levels)} levels, {anchors} anchors", x=5, y=MIDDLE - 1)
    for name in levels:
        sketch.flow(name, "RPN")
    boxes = sketch.block("RoIAlign for boxes", seen["box stage 1"].inputs, x=2.5, y=top, span=5.4)
    rois = sketch.block("F: RoIAlign for masks", seen["mask head M1"].inputs, x=2.5, y=roi_row, span=5.4)
    sketch.flow(last.kind, boxes)
    sketch.flow("RPN", boxes, label="proposals", dashed=True)
    corners = ((last.x, top - 0.65), (5.7, top - 0.65), (5.7, roi_row))
    sketch.flow(last.kind, rois, via=corners)
    parts = [part for part in ("ASPP", "NLB", "CSAB") if f"{FIRST_SITE}: {part}" in seen]
    sites = f"mask attention interaction: {', '.join(parts)}" if parts else "HTC's mask flow"
    for stage, sampler in enumerate(heads.samplers, start=1):
        frame, x = f"stage {stage}, IoU {sampler.iou}", 2 * stage - 1.5
        box = sketch.block(f"box head {stage}", _in_and_out(seen[f"box stage {stage}"]), x=x, y=box_row, kind=frame)
        mask = sketch.block(f"M{stage}", _in_and_out(seen[f"mask head M{stage}"]), x=x, y=mask_row, kind=frame)
        sketch.flow(boxes, box)
        sketch.flow(box, mask, dashed=True)
        if stage == 1:
            sketch.flow(rois, mask)
            continue
        name = f"M{stage - 1} to M{stage}"
        site = sketch.block(name, seen[name].outputs, x=x - 1, y=site_row, kind=sites)
        sketch.flow(f"box head {stage - 1}", box, label="refined boxes", dashed=True)
        sketch.flow(f"M{stage - 1}", site)
        sketch.flow(rois, site)
        sketch.flow(site, mask)


def _in_and_out(seen: Seen) -> str:
    return f"{shape_text(seen.inputs)} → {shape_text(seen.outputs)}"
