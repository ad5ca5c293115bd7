"""MNC, multi-task network cascades (Dai, He and Sun, CVPR 2016), modernised: see `mnc_heads`."""

from __future__ import annotations

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mnc.mnc_heads import network_cascade_heads
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.params import Scale

NAME = "MNC"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "mm",
    stride_in_1x1: bool = False,
) -> TwoStage:
    """The detector for `num_classes` foreground classes."""
    return two_stage(
        network_cascade_heads(num_classes=num_classes, scale=scale, dialect=dialect),
        backbone=backbone,
        scale=scale,
        input_size=input_size,
        dialect=dialect,
        stride_in_1x1=stride_in_1x1,
    )
