"""What MAI-SE-Net computes inside: shapes block by block, pyramids, kernels and attention. For the paper's notebook."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.drawing.shapes import block_rows, shapes_seen, tensors
from reprolib.models.input_transform import Batch, scale_boxes
from reprolib.models.layers.carafe import FACTOR, KERNEL, Carafe
from reprolib.models.layers.non_local import NonLocal
from reprolib.papers.mai_se_net.mask_interaction import ASPP, CBAM, CSAB, RATES
from reprolib.papers.mai_se_net.scale_enhancement import ScaleEnhancementPyramid


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a built detector by name, in the order of the data flow; absent ones left out.

    HTC, which is MAI-SE-Net without components, has blocks too.
    """
    neck, heads = model.neck, model.roi_heads
    named = {"C2..C5: backbone": model.backbone}
    named |= {f"P{level}: FPN output": output for level, output in enumerate(neck.outputs, start=2)}
    if isinstance(neck, ScaleEnhancementPyramid):
        if neck.carafe is not None:
            named |= {"CARAFE's kernels": neck.carafe.encode, "P1: CARAFEB": neck.carafe}
        if neck.balance is not None:
            named["F_FBO: FBO"] = neck.balance
        for context, place in zip(neck.contexts, _context_places(neck), strict=True):
            named[f"GCB of {place}"] = context
    named |= {"pyramid as a whole": neck, "RPN": model.rpn.head}
    named |= {f"box stage {stage}": box for stage, box in enumerate(heads.box_stages, start=1)}
    for stage, head in enumerate(heads.mask_flow.heads, start=1):
        named[f"mask head M{stage}"] = head
    for stage, site in enumerate(heads.mask_flow.sites, start=1):
        name = f"M{stage} to M{stage + 1}"
        named |= {f"{name}: {part}": module for part, module in site_parts(site).items()}
        named[name] = site
    return named


def site_parts(site: nn.Module) -> dict[str, nn.Module]:
    """The parts of what stands between two mask heads, by name; HTC's own 1x1 convolution where there is no CSAB."""
    named: dict[str, nn.Module] = {}
    aspp, nlb = getattr(site, "aspp", None), _first(site, NonLocal)
    if isinstance(aspp, ASPP):
        named |= {f"ASPP, rate {rate}": branch for rate, branch in zip(RATES, aspp.branches, strict=True)}
        named |= {"ASPP, reduction": aspp.reduce, "ASPP": aspp}
    if nlb is not None:
        named["NLB"] = nlb
    csab = _first(site, CSAB)
    if csab is None:
        return named | {"HTC's 1x1": getattr(site, "fusion", site).project}
    return named | {"CSAB, grouped": csab.group, "CSAB, CBAM": csab.attention, "CSAB": csab}


def block_shapes(model: nn.Module, *, height: int, width: int, detections: int = 4) -> list[dict[str, object]]:
    """Input, output and parameters of every block for one image of that size, each block at its first call.

    Of the sites between mask heads, which are alike, only the first is taken apart.
    """
    named = {name: module for name, module in blocks(model).items() if not name.startswith("M2 to M3: ")}
    seen = shapes_seen(model, named, height=height, width=width, proposals=10, detections=detections)
    return block_rows(named, seen)


@torch.no_grad()
def pyramid(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """The pyramid's maps [C,h,w] for one image [3,H,W] in 0..1: P1..P5, FBO, GCB, B1..B5, absent ones left out.

    Cut to the image, which a batch pads.
    """
    neck = model.neck
    batch = _batch(model, image)
    outputs: dict[str, Tensor] = {}
    named = {f"P{level}": output for level, output in enumerate(neck.outputs, start=2)}
    if neck.carafe is not None:
        named = {"P1": neck.carafe} | named
    if neck.balance is not None:
        named |= {"FBO": neck.balance} | dict(zip(["GCB"], neck.contexts, strict=False))
    with _watched(named, lambda name, inputs, output: outputs.setdefault(name, output)):
        levels = neck(model.backbone(batch.tensors))
    strides = [*neck.strides, 2 * neck.strides[-1]]
    found = {name: _cut(outputs[name], batch) for name in named}
    return found | {f"B{_level(stride)}": _cut(map_, batch) for stride, map_ in zip(strides, levels, strict=False)}


class Reassembly(NamedTuple):
    """CARAFE on one image: kernels [25,4,h,w], its source [C,h,w], its output and the source enlarged by repetition,
    both [C,2h,2w]; see `Carafe.kernels`."""

    kernels: Tensor
    source: Tensor
    output: Tensor
    repeated: Tensor

    def kernel_at(self, x: float, y: float) -> Tensor:
        """Kernels [2,2,5,5] of the four new pixels (row, column) for a place in 0..1 of the source's sides."""
        height, width = self.source.shape[-2:]
        row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
        return self.kernels[:, :, row, column].T.reshape(FACTOR, FACTOR, KERNEL, KERNEL)


@torch.no_grad()
def reassembly(model: nn.Module, image: Tensor) -> Reassembly | None:
    """What CARAFE makes of one image [3,H,W] in 0..1; None without CARAFEB."""
    if not isinstance(model.neck.carafe, Carafe):
        return None
    batch = _batch(model, image)
    padded, output = _first_call(model.neck.carafe, lambda: model.neck(model.backbone(batch.tensors)))
    source = _cut(padded, batch)
    height, width = source.shape[-2:]
    kernels = model.neck.carafe.kernels(padded)[0, ..., :height, :width]
    repeated = F.interpolate(source[None], scale_factor=FACTOR, mode="nearest")[0]
    return Reassembly(kernels, source, output[0, :, : FACTOR * height, : FACTOR * width], repeated)


@torch.no_grad()
def context_weights(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """GCB's weights [h,w] over the positions, by the map they are taken from, for one image [3,H,W] in 0..1.

    They sum to 1 over the padded batch, of which only the image is given.
    """
    batch = _batch(model, image)
    neck, found = model.neck, {}

    def note(name: str, inputs: tuple, output: Tensor) -> None:
        logits = neck.contexts[places.index(name)].conv_attn(inputs[0])
        found[name] = _cut(logits.flatten(1).softmax(1).reshape(logits.shape), batch)[0]

    places = _context_places(neck)
    with _watched(dict(zip(places, neck.contexts, strict=True)), note):
        neck(model.backbone(batch.tensors))
    return found


class SiteView(NamedTuple):
    """What one site computes for one box, of `m` by `m` positions and C channels; None for absent components.

    previous, roi: what the site joins, [C,m,m]. branches: ASPP's dilated convolutions by rate, [C,m,m] after their
    activation. attention: NLB's [m*m,m*m], row i what position i takes from each. gates: CBAM's channel weights
    [channels] by the source of the channel. positions: CBAM's position weights [m,m]. output: [out_channels,m,m].
    """

    previous: Tensor
    roi: Tensor
    branches: dict[int, Tensor] | None
    attention: Tensor | None
    gates: dict[str, Tensor] | None
    positions: Tensor | None
    output: Tensor


@torch.no_grad()
def site_view(model: nn.Module, image: Tensor, box: Tensor, *, stage: int = 1) -> SiteView:
    """The site that follows mask head `stage` (from 1), for one box [4] xyxy px of an image [3,H,W] in 0..1."""
    batch, heads = _batch(model, image), model.roi_heads
    factors = batch.to_original(0)
    boxes = [scale_boxes(box.to(batch.tensors)[None], 1 / factors[0], 1 / factors[1])]
    roi = heads.mask_features(model.neck(model.backbone(batch.tensors)), None, boxes)
    previous, site = heads.mask_flow.features(roi, stage - 1), heads.mask_flow.sites[stage - 1]
    aspp, nlb, cbam = (_first(site, kind) for kind in (ASPP, NonLocal, CBAM))
    branches = attention = gates = positions = None
    if aspp is not None:
        branches = {rate: aspp.activate(branch(previous))[0] for rate, branch in zip(RATES, aspp.branches, strict=True)}
    if nlb is not None:
        attention = nlb.attention(_first_call(nlb, lambda: site(previous, roi))[0])[0]
    if cbam is not None:
        shuffled = _first_call(cbam, lambda: site(previous, roi))[0]
        weights = cbam.channel_weights(shuffled)
        # The shuffle of two groups puts the channels of the two sources in turn.
        gates = {"refined features": weights[0, 0::2, 0, 0], "RoI features": weights[0, 1::2, 0, 0]}
        positions = cbam.spatial_weights(shuffled if cbam.parallel else shuffled * weights)[0, 0]
    return SiteView(previous[0], roi[0], branches, attention, gates, positions, site(previous, roi)[0])


def strength(map_: Tensor) -> np.ndarray:
    """A map [C,h,w] as one number per position, the length of its C channels: [h,w]."""
    return map_.norm(dim=0).numpy()


def _context_places(neck: ScaleEnhancementPyramid) -> list[str]:
    """What each context block refines."""
    levels = [f"P{_level(stride)}" for stride in neck.strides]
    return (levels if neck.balance is None else ["F_FBO"])[: len(neck.contexts)]


def _level(stride: int) -> int:
    return round(math.log2(stride))


def _first(module: nn.Module, kind: type[nn.Module]):
    return next((inner for inner in module.modules() if isinstance(inner, kind)), None)


def _batch(model: nn.Module, image: Tensor) -> Batch:
    """One image [3,H,W] in 0..1 as the network takes it; the model is put into evaluation mode."""
    model.eval()
    return model.transform([image], None)[0]


def _cut(map_: Tensor, batch: Batch) -> Tensor:
    """A map [1,C,h,w] of a batch of one -> [C,h,w] of its image."""
    shares = (size / side for size, side in zip(batch.image_sizes[0], batch.tensors.shape[-2:], strict=True))
    height, width = (math.ceil(share * side) for share, side in zip(shares, map_.shape[-2:], strict=True))
    return map_[0, :, :height, :width]


def _first_call(module: nn.Module, run: Callable[[], object]) -> tuple[Tensor, Tensor]:
    """(first input, output) of the module at its first call in `run`."""
    calls: list[tuple[Tensor, Tensor]] = []
    with _watched({"": module}, lambda name, inputs, output: calls.append((next(tensors(inputs)), output))):
        run()
    return calls[0]


def _watched(modules: Mapping[str, nn.Module], note: Callable[[str, tuple, Tensor], object]) -> ExitStack:
    """A context in which `note(name, inputs, output)` is called after every call of the modules."""
    stack = ExitStack()
    for name, module in modules.items():

        def hook(module: nn.Module, inputs: tuple, output: Tensor, name: str = name) -> None:
            note(name, inputs, output)

        stack.callback(module.register_forward_hook(hook).remove)
    return stack
