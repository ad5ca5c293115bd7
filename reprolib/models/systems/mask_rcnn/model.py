"""Mask R-CNN with a feature pyramid (He et al., ICCV 2017)."""

from __future__ import annotations

from reprolib.models.input_transform import InputSize
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale

NAME = "Mask R-CNN"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "d2",
    background_channels: bool = False,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """The detector for `num_classes` foreground classes."""
    heads = mask_rcnn_heads(
        num_classes=num_classes, scale=scale, dialect=dialect, background_channels=background_channels
    )
    return two_stage(
        heads, backbone=backbone, scale=scale, input_size=input_size, dialect=dialect, stride_in_1x1=stride_in_1x1
    )
