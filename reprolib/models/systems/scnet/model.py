"""SCNet, the sample consistency network (Vu, Kang and Yoo, AAAI 2021)."""

from __future__ import annotations

from reprolib.models.input_transform import InputSize
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.scnet.global_context_head import GlobalContextHead
from reprolib.models.systems.scnet.sample_consistency import sample_consistency_heads
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.semantic_branch import build_semantic
from reprolib.params import Scale

NAME = "SCNet"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "mm",
    semantic_source: str = "off",
    glbctx: bool = True,
    glbctx_classes: str = "K+1",
    relay: bool = True,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """The detector for `num_classes` foreground classes, K.

    semantic_source: what the semantic branch learns: `off` (no branch; published for COCO only), `stuff` (COCO's 183
    stuff and thing classes, targets carry `semantic` maps) or `from_instances` (the instance masks painted by class).
    glbctx: the global context branch. glbctx_classes: its outputs, `K+1` (as published, one is never positive) or `K`.
    relay: the last box stage's vectors reach the mask head.
    Raises ValueError for other values of the switches.
    """
    check_choice("glbctx_classes", glbctx_classes, ("K+1", "K"))
    global_context = None
    if glbctx:
        global_context = GlobalContextHead(scale.channels, classes=num_classes + (glbctx_classes == "K+1"))
    heads = sample_consistency_heads(
        num_classes=num_classes,
        scale=scale,
        dialect=dialect,
        semantic=build_semantic(semantic_source, num_classes=num_classes, scale=scale, dialect=dialect, residual=True),
        global_context=global_context,
        relay=relay,
    )
    return two_stage(
        heads, backbone=backbone, scale=scale, input_size=input_size, dialect=dialect, stride_in_1x1=stride_in_1x1
    )
