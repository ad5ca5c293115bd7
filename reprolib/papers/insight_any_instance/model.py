"""Insight Any Instance: boxes as prompts of Mask R-CNN, Cascade Mask R-CNN or SCNet."""

from __future__ import annotations

from torch import nn

from reprolib.models.input_transform import InputSize, input_transform
from reprolib.models.systems.cascade_mask_rcnn.cascade import CascadeHeads, cascade_heads
from reprolib.models.systems.scnet.global_context_head import GlobalContextHead
from reprolib.models.systems.scnet.sample_consistency import sample_consistency_heads
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.region_proposals import region_proposals
from reprolib.models.two_stage.roi_heads import RoIHeads, mask_rcnn_heads
from reprolib.models.two_stage.samples import RoISampler
from reprolib.papers.insight_any_instance.area_loss import AreaAwareBoxStage, area_loss
from reprolib.papers.insight_any_instance.global_prompts import GlobalPrompts
from reprolib.papers.insight_any_instance.gt_prompts import PromptSampler
from reprolib.papers.insight_any_instance.local_prompts import LocalPrompts
from reprolib.papers.insight_any_instance.prompted_pooler import Fusion, PromptedPooler, PromptedTwoStage, Prompts
from reprolib.papers.insight_any_instance.switches import (
    Switches,
    has_prompts,
    mixes_gt_prompts,
    resolve_switches,
)
from reprolib.params import Scale

NAME = "Insight"  # as tables print it, with the host behind
DIALECT = "mm"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    input_size: InputSize,
    **switches: object,
) -> TwoStage:
    """The host with these components; without any it is the host itself.

    components: of `lpm`, `gpm` (prompts for the mask branch) and `parea` (the loss on the proposals' area).
    switches: see `switches.Switches`. Raises ValueError for unknown components or switches.
    """
    chosen = resolve_switches(components, **switches)
    heads = host_heads(chosen.host, num_classes=num_classes, scale=scale)
    if has_prompts(components):
        add_prompts(heads, scale.channels, components=components, switches=chosen)
    if mixes_gt_prompts(components, chosen):
        mix_gt_prompts(heads, chosen)
    on_proposals = "parea" in components and chosen.parea_on == "rpn"
    if "parea" in components and not on_proposals:
        watch_regressed_areas(heads, chosen)
    loss = area_loss(chosen) if on_proposals else None
    model = two_stage(
        heads,
        backbone=backbone,
        scale=scale,
        input_size=input_size,
        dialect=DIALECT,
        rpn=region_proposals(scale, dialect=DIALECT, proposal_loss=loss),
        transform=input_transform(input_size, dialect=DIALECT, keep_ratio=chosen.resize == "keep_ratio"),
        kind=PromptedTwoStage,
    )
    model.refines_prompts = chosen.prompt_refine_box
    return model


def host_heads(host: str, *, num_classes: int, scale: Scale) -> RoIHeads | CascadeHeads:
    """The RoI heads of the published host, SCNet without its semantic branch."""
    parts = {"num_classes": num_classes, "scale": scale, "dialect": DIALECT}
    if host == "mask_rcnn":
        return mask_rcnn_heads(**parts)
    if host == "cascade_mask_rcnn":
        return cascade_heads(**parts, programme=DIALECT)
    context = GlobalContextHead(scale.channels, classes=num_classes + 1)
    return sample_consistency_heads(**parts, global_context=context)


def add_prompts(
    heads: RoIHeads | CascadeHeads, channels: int, *, components: tuple[str, ...], switches: Switches
) -> None:
    """Fuse the RoI features of every mask branch (and of the box stages, `mask+box`) with prompts, in place.

    The mask branches of a cascade share one pooler, prompts and fusion included; without `share_across_stages` each
    has its own. The box stages have a fusion of their own, and the prompts of the first mask branch.
    """

    def new() -> tuple[Prompts, Fusion]:
        prompts = Prompts(
            local_prompts=LocalPrompts(channels, switches=switches) if "lpm" in components else None,
            global_prompts=GlobalPrompts(channels, switches=switches) if "gpm" in components else None,
            switches=switches,
        )
        return prompts, Fusion(channels, concat=switches.fuse == "concat")

    branches = [heads.mask_branch] if hasattr(heads, "mask_branch") else list(heads.mask_branches)
    first = None
    for branch in branches:
        if first is None or not switches.share_across_stages:
            prompts, fusion = new()
            pooler = PromptedPooler(pooler=branch.pooler, prompts=prompts, fusion=fusion)
            first = first or pooler
        branch.pooler = pooler
    if switches.prompt_targets == "mask+box":
        fusion = Fusion(channels, concat=switches.fuse == "concat")
        heads.box_pooler = PromptedPooler(pooler=heads.box_pooler, prompts=first.prompts, fusion=fusion)


def mix_gt_prompts(heads: RoIHeads | CascadeHeads, switches: Switches) -> None:
    """Let noisy boxes of some instances join the proposals in place of every instance's own, in place."""

    def mixing(plain: RoISampler) -> PromptSampler:
        return PromptSampler(iou=plain.iou, batch=plain.batch, switches=switches)

    if isinstance(heads, CascadeHeads):
        heads.samplers = tuple(map(mixing, heads.samplers))
    else:
        heads.sampler = mixing(heads.sampler)


def watch_regressed_areas(heads: RoIHeads | CascadeHeads, switches: Switches) -> None:
    """Put the area loss on what the box stages regress, in place."""
    loss = area_loss(switches)
    if isinstance(heads, CascadeHeads):
        stages = [AreaAwareBoxStage(stage, area_loss=loss) for stage in heads.box_stages]
        heads.box_stages = nn.ModuleList(stages)
    else:
        heads.box_stage = AreaAwareBoxStage(heads.box_stage, area_loss=loss)
