"""Location attention as a diagram, whose shapes are those of a built detector (the paper's figures 1 to 4)."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from reprolib.models.drawing.diagram import Diagram
from reprolib.models.drawing.shapes import Seen, shape_text, shapes_seen
from reprolib.models.drawing.sketch import Sketch
from reprolib.models.one_stage.detector import OneStage
from reprolib.papers.location_attention.inside import attentions, blocks
from reprolib.papers.location_attention.mask_feature_fusion import CrossStageMaskFeature
from reprolib.papers.location_attention.two_way_pyramid import TwoWayPyramid

HEAD = 6.9  # the row of the branches


def network_diagram(model: OneStage, *, height: int, width: int) -> Diagram:
    """The whole detector, with any components, for one image of that size. The pyramid's rows are strides."""
    seen = shapes_seen(model, blocks(model), height=height, width=width, proposals=0, detections=4)
    sketch = Sketch()
    levels = _pyramid(sketch, seen, model)
    feature = _mask_feature(sketch, seen, model)
    _branches(sketch, seen, model, levels=levels, feature=feature)
    return sketch.diagram()


def _pyramid(sketch: Sketch, seen: dict[str, Seen], model: OneStage) -> str:
    """Image, C2..C5, P2.. and N2..; returns the frame of the levels that the branches read."""
    backbone, attended = seen["C2..C5: backbone"], attentions(model)
    kind = "cross-stage backbone" if _is_cross_stage(model) else "backbone"
    before = sketch.block("image", backbone.inputs, 0, 0, kind=kind)
    for level, shape in enumerate(backbone.outputs, start=2):
        name = f"C{level} + attention" if level in attended else f"C{level}"
        before = sketch.block(name, [shape], 0, level - 1, kind=kind, after=(before,))
        sketch.block(f"P{level}", seen[f"P{level}: output"].outputs, 1, level - 1, kind="FPN", after=(before,))
        if level > 2:
            sketch.flow(f"P{level}", f"P{level - 1}")
    maps = seen["pyramid as a whole"].outputs
    if not isinstance(model.neck, TwoWayPyramid):
        sketch.block("P6", [maps[4]], 1, 5, kind="FPN", after=("P5",))
        return "FPN"
    kind = "bottom-up path"
    sketch.block("N2 = P2", seen["P2: output"].outputs, 2, 1, kind=kind, after=("P2",))
    before = "N2 = P2"
    for level in range(3, 3 + len(model.neck.outputs)):
        shapes = seen[f"N{level}: output"].outputs
        before = sketch.block(f"N{level}", shapes, 2, level - 1, kind=kind, after=(before, f"P{level}"))
    if model.neck.for_branches == "N":
        sketch.block("N6", [maps[4]], 2, 5, kind=kind, after=(before,))
        return kind
    sketch.block("P6", [maps[4]], 1, 5, kind="FPN", after=("P5",))
    return "FPN"


def _mask_feature(sketch: Sketch, seen: dict[str, Seen], model: OneStage) -> str:
    """The map that masks are cut from; returns its block."""
    feature = model.head.mask_feature
    if not isinstance(feature, CrossStageMaskFeature):
        kind = "unified mask feature"
        last = sketch.block("sum, 1×1", seen["mask feature"].outputs, 2.6, 1, kind=kind)
        for level in (2, 3, 4, 5):
            sketch.flow(f"P{level}", last)
        return last
    kind, letter = "cross-stage mask feature", model.neck.for_masks
    steps = [sketch.block("P5, x, y: 3×3", seen["mask feature: P5"].outputs, 3.3, 4, kind=kind)]
    sketch.flow("P5", steps[0], via=((1.0, 4.55), (3.3, 4.55)))
    for level in (4, 3, 2):
        source = "N2 = P2" if (letter, level) == ("N", 2) else f"{letter}{level}"
        shapes = seen[f"mask feature: with level {level}"]
        name = f"[×2, {letter}{level}]: 3×3"
        steps.append(sketch.block(name, _in_and_out(shapes), 3.3, level - 1, kind=kind))
        if letter == "N":
            sketch.flow(source, name)
        else:
            sketch.flow(source, name, via=((1.55, level - 1.45), (2.75, level - 1.45)))
    for source, target in pairwise(steps):
        sketch.flow(source, target)
    guide = sketch.block("guide: 1×1, ×8", seen["mask feature: guide"].outputs, 4.4, 4, kind=kind)
    sketch.flow("P5", guide, via=((1.0, 4.55), (4.4, 4.55)))
    fused = {"add": "+", "mul_sigmoid": "× sigmoid", "concat": "concat"}[feature.fuse]
    name = f"{fused}, 1×1"
    return sketch.block(name, seen["mask feature: 1×1"].outputs, 4.4, 1, kind=kind, after=(steps[-1], guide))


def _branches(sketch: Sketch, seen: dict[str, Seen], model: OneStage, *, levels: str, feature: str) -> None:
    sides = ", ".join(str(level.grid) for level in model.head.levels)
    column = next(block.x for block in sketch.blocks if block.kind == levels)
    kind = "cells of five grids"
    resized = sketch.block("level, x, y: resized", f"S = {sides}", column, HEAD, kind=kind, after=(levels,))
    last = []
    for row, (branch, output) in zip((-0.5, 0.5), (("kernel", "kernels"), ("category", "categories")), strict=True):
        tower = sketch.block(
            f"{branch} branch",
            _in_and_out(seen[f"{branch} branch"]),
            column + 1.15,
            HEAD + row,
            kind=kind,
            after=(resized,),
        )
        shapes = seen[output].outputs
        last.append(sketch.block(output, shapes, column + 2.3, HEAD + row, kind=kind, after=(tower,)))
    kernels, categories = last
    x = max(block.x for block in sketch.blocks) + 1.2
    masks = sketch.block("masks", "kernel × map, sigmoid", x, HEAD - 0.5, after=(kernels,))
    end = next(block for block in sketch.blocks if block.name == feature)
    sketch.flow(feature, masks, via=((x, end.y),))
    sketch.block("scores", "point NMS", x, HEAD + 0.5, after=(categories,))
    sketch.block("Matrix NMS", "instances", x + 1.15, HEAD, after=("scores", masks))


def _in_and_out(seen: Seen) -> str:
    inputs, outputs = shape_text(seen.inputs), shape_text(seen.outputs)
    return outputs if inputs == outputs else f"{inputs} → {outputs}"


def _is_cross_stage(model: OneStage) -> bool:
    return any(isinstance(module, nn.Mish) for module in model.backbone.modules())
