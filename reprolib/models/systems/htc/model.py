"""Hybrid Task Cascade, HTC (Chen et al., CVPR 2019)."""

from __future__ import annotations

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.htc.hybrid_task_cascade import htc_heads
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.semantic_branch import build_semantic
from reprolib.params import Scale

NAME = "HTC"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
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
    Raises ValueError for another semantic_source.
    """
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
        heads, backbone=backbone, scale=scale, input_size=input_size, dialect=dialect, stride_in_1x1=stride_in_1x1
    )
