"""SCNet, the sample consistency network (Vu, Kang and Yoo, AAAI 2021)."""

from __future__ import annotations

from reprolib.models.systems.scnet.global_context_head import GlobalContextHead
from reprolib.models.systems.scnet.sample_consistency import sample_consistency_heads
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.semantic_branch import build_semantic
from reprolib.params import Scale, Schedule

NAME = "SCNet"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    schedule: Schedule,
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
    Raises ValueError for any component and for other values of the switches.
    """
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
    if glbctx_classes not in ("K+1", "K"):
        raise ValueError(f"glbctx_classes must be 'K+1' or 'K', not {glbctx_classes!r}")
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
        backbone=backbone,
        scale=scale,
        schedule=schedule,
        dialect=dialect,
        roi_heads=heads,
        stride_in_1x1=stride_in_1x1,
    )
