"""Hybrid Task Cascade, HTC (Chen et al., CVPR 2019)."""

from __future__ import annotations

from reprolib.models.systems.htc.hybrid_task_cascade import htc_heads
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.semantic_branch import build_semantic
from reprolib.params import Scale, Schedule

NAME = "HTC"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    schedule: Schedule,
    dialect: str = "mm",
    semantic_source: str = "off",
    background_channels: bool = False,
    keep_dead_params: bool = False,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """The detector for `num_classes` foreground classes.

    semantic_source: what the semantic branch learns: `off` (no branch), `stuff` (COCO's 183 stuff and thing classes,
    targets carry `semantic` maps) or `from_instances` (the instance masks painted by class).
    background_channels: masks have an unused channel for the background. keep_dead_params: mmdetection 1.x's unused
    1x1 convolution in front of the first mask head. With both it is what SEANet's Table 6 counts.
    Raises ValueError for any component and for another semantic_source.
    """
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
    semantic = build_semantic(semantic_source, num_classes=num_classes, scale=scale, dialect=dialect)
    heads = htc_heads(
        num_classes=num_classes,
        scale=scale,
        dialect=dialect,
        semantic=semantic,
        background_channels=background_channels,
        keep_dead_params=keep_dead_params,
    )
    return two_stage(
        backbone=backbone,
        scale=scale,
        schedule=schedule,
        dialect=dialect,
        roi_heads=heads,
        stride_in_1x1=stride_in_1x1,
    )
