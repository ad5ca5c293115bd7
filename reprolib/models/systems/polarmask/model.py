"""PolarMask (Xie et al., CVPR 2020): FCOS whose locations also give the contour, as distances along 36 rays."""

from __future__ import annotations

from reprolib.models.detections import detection_rule
from reprolib.models.input_transform import InputSize, input_transform
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.one_stage.fcos_pyramid import FCOSPyramid
from reprolib.models.systems.polarmask.polar_head import PolarMaskHead
from reprolib.params import Scale

NAME = "PolarMask"
ANCHOR = 32  # px, the first published anchor size: a thin profile's objects are smaller in proportion


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    rays: int = 36,
    polar_centreness_bias: float = 0.5,
    polar_nms: str = "box",
    keep_ratio: bool = True,
) -> OneStage:
    """The detector for `num_classes` foreground classes; raises ValueError for other values of the switches.

    rays: how many go from a location to the contour, a divisor of 360. polar_centreness_bias: added to polar
    centre-ness before it is multiplied with a class score. polar_nms: the box of a detection and of NMS, the predicted
    `box` or the bounding box of the `mask`. keep_ratio: without it images are resized to squares of the short side; the
    publication resizes all images to 1280 x 768 px.
    """
    head = PolarMaskHead(
        scale.channels,
        num_classes=num_classes,
        per_level=scale.rpn_pre_nms[1],
        rule=detection_rule(scale),
        rays=rays,
        bias=polar_centreness_bias,
        box_of=polar_nms,
        smaller=scale.anchor_sizes[0] / ANCHOR,
    )
    return one_stage(
        head,
        backbone=backbone,
        scale=scale,
        input_size=input_size,
        neck=lambda widths: FCOSPyramid(widths, channels=scale.channels),
        transform=input_transform(input_size, dialect="mm", keep_ratio=keep_ratio),
    )
