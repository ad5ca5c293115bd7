"""Mask R-CNN with a feature pyramid (He et al., ICCV 2017)."""

from __future__ import annotations

from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale, Schedule

NAME = "Mask R-CNN"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    schedule: Schedule,
    dialect: str = "d2",
    background_channels: bool = False,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """The detector for `num_classes` foreground classes; raises ValueError for any component."""
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
    heads = mask_rcnn_heads(
        num_classes=num_classes, scale=scale, dialect=dialect, background_channels=background_channels
    )
    return two_stage(
        backbone=backbone,
        scale=scale,
        schedule=schedule,
        dialect=dialect,
        roi_heads=heads,
        stride_in_1x1=stride_in_1x1,
    )
