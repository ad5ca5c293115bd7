"""Cascade Mask R-CNN (Cai and Vasconcelos, TPAMI 2019)."""

from __future__ import annotations

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.cascade_mask_rcnn.cascade import cascade_heads
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.params import Scale

NAME = "Cascade Mask R-CNN"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "mm",
    cascade_dialect: str | None = None,
    background_channels: bool = False,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """The detector for `num_classes` foreground classes.

    cascade_dialect: which of two systems of this name, `mm` (every stage draws samples anew, three mask branches) or
    `d2` (later stages relabel the samples of the first, one mask branch); by default that of the dialect.
    background_channels: masks have an unused channel for the background (SEANet's counting).
    Raises ValueError for another cascade_dialect.
    """
    heads = cascade_heads(
        num_classes=num_classes,
        scale=scale,
        dialect=dialect,
        programme=cascade_dialect or dialect,
        background_channels=background_channels,
    )
    return two_stage(
        heads, backbone=backbone, scale=scale, input_size=input_size, dialect=dialect, stride_in_1x1=stride_in_1x1
    )
