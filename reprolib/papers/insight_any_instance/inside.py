"""What Insight Any Instance computes inside: shapes block by block, crops, prompts, attention, the area loss. For the
paper's notebook. Boxes are xyxy in pixels of the image given."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from reprolib.models.drawing.shapes import block_rows, shapes_seen
from reprolib.models.input_transform import scale_boxes
from reprolib.papers.insight_any_instance.area_loss import AreaLoss
from reprolib.papers.insight_any_instance.global_prompts import GlobalPrompts
from reprolib.papers.insight_any_instance.local_prompts import LearnedSpectrum
from reprolib.papers.insight_any_instance.prompted_pooler import PromptedPooler, Prompts
from reprolib.papers.insight_any_instance.tokens import crop

LOOPS = "GPM: loop {}, {}"


def mask_branch(model: nn.Module) -> nn.Module:
    """The (first) mask branch of a host."""
    heads = model.roi_heads
    return heads.mask_branch if hasattr(heads, "mask_branch") else heads.mask_branches[0]


def prompts_of(model: nn.Module) -> Prompts | None:
    """The prompts of the (first) mask branch; None without LPM and GPM."""
    pooler = mask_branch(model).pooler
    return pooler.prompts if isinstance(pooler, PromptedPooler) else None


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a built detector by name, in the order of the data flow; absent ones left out."""
    heads, pooler = model.roi_heads, mask_branch(model).pooler
    named = {"C2..C5: backbone": model.backbone, "P2..P6: FPN": model.neck, "RPN": model.rpn.head}
    stages = getattr(heads, "box_stages", None)
    if stages is None:
        named |= {"box head, fully connected": heads.box_stage.head, "classes and deltas": heads.box_stage.predictor}
    else:
        named |= {f"box stage {number}": stage for number, stage in enumerate(stages, start=1)}
    if isinstance(pooler, PromptedPooler):
        named |= _lpm(pooler.prompts) | _gpm(pooler.prompts)
        named["fusion: 1×1 of the prompts"] = pooler.fusion.project
        if pooler.fusion.join is not None:
            named["fusion: 1×1 of both"] = pooler.fusion.join
    if hasattr(heads, "relay"):
        named |= {"global context": heads.global_context, "feature relay": heads.relay}
    branches = [heads.mask_branch] if hasattr(heads, "mask_branch") else heads.mask_branches
    for number, branch in enumerate(branches, start=1):
        named["mask head" if len(branches) == 1 else f"mask head {number}"] = branch.head
    return named


def _lpm(prompts: Prompts) -> dict[str, nn.Module]:
    local = prompts.local_prompts
    if local is None:
        return {}
    named = {"LPM: patches of the crop": local.patches[0], "LPM: learned spectrum": local.spectrum}
    named["LPM: patches of its spectrum"] = local.patches[1]
    if local.mlp is not None:
        named["LPM: MLP"] = local.mlp
    named |= {f"LPM: layer {number}": layer for number, layer in enumerate(local.layers, start=1)}
    return named | {"LPM": local}


def _gpm(prompts: Prompts) -> dict[str, nn.Module]:
    module = prompts.global_prompts
    if module is None:
        return {}
    named = {"GPM: patches of the image": module.global_patches, "GPM: patches of the crop": module.local_patches}
    for number, pair in enumerate(zip(module.global_layers, module.local_layers, strict=True), start=1):
        named |= {LOOPS.format(number, kind): layer for kind, layer in zip(("image", "box"), pair, strict=True)}
    return named | {"GPM": module}


def block_shapes(model: nn.Module, *, height: int, width: int) -> list[dict[str, object]]:
    """Input, output and parameters of every block for one image of that size, each block at its first call."""
    named = blocks(model)
    seen = shapes_seen(model, named, height=height, width=width, proposals=10, detections=4)
    return block_rows(named, seen)


class PromptView(NamedTuple):
    """What the prompts of N boxes are made of; None for absent modules.

    crops: [N,3,s,s] as the image shows them, in 0..1. spectra: the same after LPM's learned spectrum. local_prompts,
    global_prompts: [N,C,14,14]. attention: per loop [N,h,w], what a box's tokens take from each patch of the image,
    their mean; sums to 1.
    """

    crops: Tensor
    spectra: Tensor | None
    local_prompts: Tensor | None
    global_prompts: Tensor | None
    attention: list[Tensor] | None


@torch.no_grad()
def prompt_view(model: nn.Module, image: Tensor, boxes: Tensor) -> PromptView:
    """For boxes [N,4] of an image [3,H,W] in 0..1. Raises ValueError for a model without prompts."""
    prompts = prompts_of(model)
    if prompts is None:
        raise ValueError("this model has no prompts: add the component 'lpm' or 'gpm'")
    encoded = model.encode(image)
    x, y = encoded.batch.to_original(0)
    inside = scale_boxes(boxes, 1 / x, 1 / y)
    features, count = encoded.features, len(boxes)
    crops = crop(features.images, [inside], size=prompts.crop_size, op=prompts.crop_op)
    spectra = local = answer = attention = None
    if prompts.local_prompts is not None:
        local = prompts.local_prompts(crops)
        spectra = _as_seen(model, prompts.local_prompts.spectrum(crops))
    if prompts.global_prompts is not None:
        tokens = features.tokens[prompts.global_prompts]
        answer, locals_ = _asking(prompts.global_prompts, lambda: prompts.global_prompts(crops, tokens, [count]))
        rows, columns = (-(-side // prompts.global_prompts.patch) for side in encoded.batch.image_sizes[0])
        attention = [
            prompts.global_prompts.attention(one, of_image, loop).mean(1).unflatten(1, (rows, columns))
            for loop, (one, of_image) in enumerate(zip(locals_, tokens[0], strict=True))
        ]
    return PromptView(_as_seen(model, crops), spectra, local, answer, attention)


def _asking(module: GlobalPrompts, run: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """What `run` gives, and the local tokens [N,T,C] that ask in each loop."""
    asked: list[Tensor] = []
    handles = [layer.register_forward_hook(lambda *call: asked.append(call[2])) for layer in module.local_layers]
    try:
        return run(), asked
    finally:
        for handle in handles:
            handle.remove()


def _as_seen(model: nn.Module, crops: Tensor) -> Tensor:
    """Crops of the network's normalised input -> as pictures."""
    return (crops * model.transform.std + model.transform.mean).clamp(0, 1)


class SpectrumView(NamedTuple):
    """What a learned spectrum does to N crops [N,3,s,s]: what it adds to each, and how much that differs.

    added: [N,3,s,s]. spread: the largest standard deviation of a pixel of `added` over the crops.
    """

    added: Tensor
    spread: float


@torch.no_grad()
def spectrum_view(crops: Tensor, *, operation: str, seed: int = 0) -> SpectrumView:
    """For a spectrum whose numbers are drawn from a normal distribution, as training may leave them anywhere."""
    spectrum = LearnedSpectrum(crops.shape[-1], operation=operation)
    generator = torch.Generator().manual_seed(seed)
    spectrum.weight += 0.5 * torch.randn(spectrum.weight.shape, generator=generator)
    added = spectrum(crops) - crops
    return SpectrumView(added, float(added.std(0).max()))


def area_costs(ratios: Tensor) -> dict[str, Tensor]:
    """The area loss of a box about an instance of 100 x 100 px, by its area over the instance's, [N] each.

    Matched boxes (IoU 0.5 and more) by the default; NaN where it leaves them out. All of them by the literal reading.
    """
    half = 50 * ratios.sqrt()
    boxes = 500 + torch.stack([-half, -half, half, half], dim=1)
    return _both_readings(boxes, torch.tensor([[450.0, 450, 550, 550]]))


def shape_costs(aspects: Tensor) -> dict[str, Tensor]:
    """The same of boxes as large as the instance, by their width over their height; and 1 - IoU, which sees shape."""
    width, height = 50 * aspects.sqrt(), 50 / aspects.sqrt()
    boxes, instance = 500 + torch.stack([-width, -height, width, height], dim=1), torch.tensor([[450.0, 450, 550, 550]])
    return {
        "area loss": _both_readings(boxes, instance)["every box (literal)"],
        "1 − IoU": 1 - box_iou(boxes, instance)[:, 0],
    }


def _both_readings(boxes: Tensor, instance: Tensor) -> dict[str, Tensor]:
    shared = {"iou": 0.5, "weight": 1.0, "trains": False}
    matched = box_iou(boxes, instance)[:, 0] >= shared["iou"]
    kept = torch.full((len(boxes),), torch.nan)
    kept[matched] = AreaLoss(match_all=False, **shared).costs(boxes, instance)
    return {"every box (literal)": AreaLoss(match_all=True, **shared).costs(boxes, instance), "matched boxes": kept}
