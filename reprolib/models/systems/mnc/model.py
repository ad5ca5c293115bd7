"""MNC, multi-task network cascades (Dai, He and Sun, CVPR 2016), modernised: see `mnc_heads`."""

from __future__ import annotations

from reprolib.models.systems.mnc.mnc_heads import network_cascade_heads
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.params import Scale, Schedule

NAME = "MNC"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    schedule: Schedule,
    dialect: str = "mm",
    stride_in_1x1: bool = False,
) -> TwoStage:
    """The detector for `num_classes` foreground classes; raises ValueError for any component."""
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
    return two_stage(
        backbone=backbone,
        scale=scale,
        schedule=schedule,
        dialect=dialect,
        roi_heads=network_cascade_heads(num_classes=num_classes, scale=scale, dialect=dialect),
        stride_in_1x1=stride_in_1x1,
    )
