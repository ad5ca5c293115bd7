"""What IEMask R-CNN computes inside: shapes block by block, CEM's gates, AFF's weights. For the paper's notebook."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.models.drawing.shapes import shape_text, shapes_seen
from reprolib.papers.iemask_rcnn.bottom_up import FusionWeights
from reprolib.papers.iemask_rcnn.neck import ChannelEnhancement


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The paper's blocks of a built detector by name, in the order of the data flow; absent ones left out."""
    neck, head = model.neck, model.roi_heads.mask_branch.head
    named = {"backbone: C2..C5": model.backbone}
    for level, lateral in enumerate(neck.laterals, start=2):
        kind = "CEM" if isinstance(lateral, ChannelEnhancement) else "1x1 lateral"
        named[f"{kind} of C{level}"] = lateral
    named |= {
        "GIM of C5": neck.global_information,
        "GIM and CEM merged": neck.merge,
        "P2 (output convolution)": neck.outputs[0],
    }
    if neck.bottom_up is not None:
        fusion = neck.bottom_up.fusions[0]
        named |= {"AFF weights": fusion.weights, "one step of the bottom-up path": fusion}
    named["pyramid: N2..N6"] = neck
    for part in ("encoder1", "encoder2", "decoder1", "decoder2", "decoder3", "predictor"):
        named[f"mask head: {part}"] = getattr(head, part, None)
    named["mask head"] = head
    return {name: module for name, module in named.items() if module is not None}


def block_shapes(model: nn.Module, *, height: int, width: int, detections: int = 4) -> list[dict[str, str]]:
    """Input and output shapes of every block for one image of that size, each block at its first call."""
    named = blocks(model)
    seen = shapes_seen(model, named, height=height, width=width, proposals=10, detections=detections)
    return [
        {"block": name, "input": shape_text(seen[name].inputs), "output": shape_text(seen[name].outputs)}
        for name in named
        if name in seen
    ]


@torch.no_grad()
def gates(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """CEM's channel weights in (0, 1), [channels] per level, for one image [3,H,W] in 0..1."""
    features = _features(model, image)
    return {
        f"C{level}": lateral.gate(feature).flatten()
        for level, (lateral, feature) in enumerate(zip(model.neck.laterals, features, strict=True), start=2)
        if isinstance(lateral, ChannelEnhancement)
    }


@torch.no_grad()
def fusion_weights(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """AFF's share of the path from below, [h,w] in (0, 1) per level, for one image [3,H,W] in 0..1.

    The rest to 1 is the share of the pyramid's own level.
    """
    found: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: found.append(output[0, 0]))
        for module in model.neck.modules()
        if isinstance(module, FusionWeights)
    ]
    try:
        model.neck(_features(model, image))
    finally:
        for hook in hooks:
            hook.remove()
    return {f"N{level}": weight for level, weight in enumerate(found, start=3)}


def _features(model: nn.Module, image: Tensor) -> list[Tensor]:
    model.eval()
    batch, _ = model.transform([image], None)
    return model.backbone(batch.tensors)
