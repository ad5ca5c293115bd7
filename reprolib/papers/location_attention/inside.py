"""What location attention computes inside: shapes block by block, attention on an image, and which cell learns which
object. For the paper's notebook."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reprolib.models.drawing.shapes import block_rows, shapes_seen
from reprolib.models.input_transform import Batch
from reprolib.models.one_stage.detector import OneStage
from reprolib.models.systems.solov2.solov2_levels import Level
from reprolib.models.systems.solov2.solov2_targets import Cells, CellTargets, instance_targets, last_instance
from reprolib.papers.location_attention.cross_stage_backbone import STAGES
from reprolib.papers.location_attention.mask_feature_fusion import CrossStageMaskFeature
from reprolib.papers.location_attention.minimum_loss import assignment, matching_losses
from reprolib.papers.location_attention.position_attention import PositionAttention
from reprolib.papers.location_attention.switches import Switches
from reprolib.papers.location_attention.two_way_pyramid import TwoWayPyramid


def blocks(model: OneStage) -> dict[str, nn.Module]:
    """The blocks of a built detector by name, in the order of the data flow; absent ones left out.

    SOLOv2, which is the method without components, has blocks too.
    """
    named: dict[str, nn.Module] = {}
    for stage, attention in attentions(model).items():
        named[f"C{stage}: position attention"] = attention
    named["C2..C5: backbone"] = model.backbone
    two_way = isinstance(model.neck, TwoWayPyramid)
    pyramid = model.neck.pyramid if two_way else model.neck
    named |= {f"P{level}: output": output for level, output in enumerate(pyramid.outputs, start=2)}
    if two_way:
        for level, (down, output) in enumerate(zip(model.neck.downs, model.neck.outputs, strict=True), start=3):
            named |= {f"N{level}: 3×3, stride 2": down, f"N{level}: output": output}
    named["pyramid as a whole"] = model.neck
    feature, branches = model.head.mask_feature, model.head.branches
    if isinstance(feature, CrossStageMaskFeature):
        named["mask feature: P5"] = feature.start
        named |= {f"mask feature: with level {4 - i}": join for i, join in enumerate(feature.joins)}
        named |= {"mask feature: guide": feature.guide, "mask feature: 1×1": feature.output}
    named["mask feature"] = feature
    named |= {"category branch": branches.category_convs, "categories": branches.category}
    return named | {"kernel branch": branches.kernel_convs, "kernels": branches.kernel}


def attentions(model: OneStage) -> dict[int, PositionAttention]:
    """The position attention of each stage, 2 to 5, that has one."""
    body, found = model.backbone.body, {}
    for stage in STAGES:
        names = (f"layer{stage - 1}", f"stages_{stage - 2}")
        part = next((getattr(body, name) for name in names if hasattr(body, name)), nn.Identity())
        found |= [(stage, module) for module in part.modules() if isinstance(module, PositionAttention)]
    return found


def block_shapes(model: OneStage, *, height: int, width: int) -> list[dict[str, object]]:
    """Input, output and parameters of every block for one image of that size; of the branches at the finest grid."""
    named = blocks(model)
    seen = shapes_seen(model, named, height=height, width=width, proposals=0, detections=4)
    return block_rows(named, seen)


class Attention(NamedTuple):
    """One block on one image. weights [h*w,h*w]: row i is what position i takes from each; size: (h, w), of the padded
    batch; inside: (h, w) of the image in it. before, after [C,h,w]: what goes in and comes out, cut to the image."""

    weights: Tensor
    size: tuple[int, int]
    inside: tuple[int, int]
    before: Tensor
    after: Tensor

    def at(self, x: float, y: float) -> Tensor:
        """What the position at a place in 0..1 of the image's sides takes from all others: [h,w] of the image."""
        row, column = (min(int(share * side), side - 1) for share, side in zip((y, x), self.inside, strict=True))
        taken = self.weights[row * self.size[1] + column].reshape(self.size)
        return taken[: self.inside[0], : self.inside[1]]


@torch.no_grad()
def attention_views(model: OneStage, image: Tensor) -> dict[int, Attention]:
    """Position attention by stage on an image [3,H,W] in 0..1; the model is put into evaluation mode."""
    batch, found = _batch(model, image), {}

    def note(stage: int, block: PositionAttention, x: Tensor, out: Tensor) -> None:
        size = tuple(x.shape[-2:])
        shares = (side / whole for side, whole in zip(batch.image_sizes[0], batch.tensors.shape[-2:], strict=True))
        inside = tuple(math.ceil(share * side) for share, side in zip(shares, size, strict=True))
        cut = (slice(None), slice(inside[0]), slice(inside[1]))
        found[stage] = Attention(block.attention(x)[0], size, inside, x[0][cut], out[0][cut])

    with ExitStack() as hooks:
        for stage, block in attentions(model).items():
            handle = block.register_forward_hook(
                lambda block, inputs, out, stage=stage: note(stage, block, inputs[0], out)
            )
            hooks.callback(handle.remove)
        model.backbone(batch.tensors)
    return found


class Grid(NamedTuple):
    """Who learns what on one level. Objects are numbered from 1 in the target's order; 0 is background.

    count [S,S]: objects that claim the cell. last [S,S]: the last of them, SOLOv2's category. least [S,S]: AML's.
    """

    level: Level
    count: Tensor
    last: Tensor
    least: Tensor


@torch.no_grad()
def grids(model: OneStage, image: Tensor, target: dict) -> list[Grid]:
    """The cells of all levels for one image [3,H,W] in 0..1 and its target; the matching is AML's default.

    The model need not have been trained by it.
    """
    wanted, cells = _wanted_and_cells(model, image, target)
    least = assignment(Switches())(wanted, cells)
    maps = (wanted.candidates.sum(0), last_instance(wanted.candidates), last_instance(least))
    sides = [level.grid for level in model.head.levels]
    parts = [map_.split([side**2 for side in sides]) for map_ in maps]
    return [
        Grid(level, *(part.reshape(level.grid, level.grid) for part in one))
        for level, *one in zip(model.head.levels, *parts, strict=True)
    ]


@torch.no_grad()
def contests(model: OneStage, image: Tensor, target: dict) -> list[dict[str, object]]:
    """Every cell that several objects claim, with the two sums of losses of each of them: a row per cell and object."""
    wanted, cells = _wanted_and_cells(model, image, target)
    places = torch.where(wanted.candidates.sum(0) > 1)[0]
    if not len(places):
        return []
    sums = {
        form: matching_losses(wanted, cells, places, switches=Switches(aml_match=form))
        for form in ("sigmoid", "linear")
    }
    chosen = assignment(Switches())(wanted, cells)
    rows = []
    for index, place in enumerate(places.tolist()):
        level, row, column = _locate(model, place)
        for number in torch.where(wanted.candidates[:, place])[0].tolist():
            rows.append(
                {
                    "grid": f"{level.grid}×{level.grid}",
                    "cell": f"{row}, {column}",
                    "object": number + 1,
                    "sigmoid + sigmoid": sums["sigmoid"][index, number].item(),
                    "category + 3 mask": sums["linear"][index, number].item(),
                    "AML": "✓" if chosen[number, place] else "",
                    "last": "✓" if last_instance(wanted.candidates)[place] == number + 1 else "",
                }
            )
    return rows


def _batch(model: OneStage, image: Tensor) -> Batch:
    model.eval()
    return model.transform([image], None)[0]


def _wanted_and_cells(model: OneStage, image: Tensor, target: dict) -> tuple[CellTargets, Cells]:
    """In evaluation mode, at the size of inference."""
    model.eval()
    batch, targets = model.transform([image], [target])
    cells = model.head(model.pyramid(batch)).cells(0)
    size = tuple(cells.mask_feature.shape[-2:])
    return instance_targets(targets[0], model.head.levels, image_size=batch.image_sizes[0], mask_size=size), cells


def _locate(model: OneStage, place: int) -> tuple[Level, int, int]:
    """Level, row and column of a cell among those of all levels."""
    for level in model.head.levels:
        if place < level.grid**2:
            return level, *divmod(place, level.grid)
        place -= level.grid**2
    raise IndexError(f"the head has no cell {place} beyond its last grid")
