"""PolarMask (Xie et al., CVPR 2020): FCOS whose locations also give the contour, as distances along 36 rays."""

from __future__ import annotations

from reprolib.models.detections import detection_rule
from reprolib.models.input_transform import InputSize, input_transform
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.one_stage.fcos_pyramid import FCOSPyramid
from reprolib.models.systems.polarmask.polar_head import PolarMaskHead
from reprolib.params import Scale

NAME = "PolarMask"
PUBLISHED = 32  # px, the first of `scale.anchor_sizes`: objects of a thin profile are smaller by as much


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
    """The detector for `num_classes` foreground classes; raises ValueError for unknown values of its switches.

    rays: from a location to the contour, a divisor of 360. polar_centreness_bias: added to polar centre-ness before
    it is multiplied with the score of a class. polar_nms: by the predicted `box`, or by the one around the `mask`;
    detections have the same one. keep_ratio: off, images become squares of the short side; the publication
    makes all of them 1280 x 768 px.
    """
    head = PolarMaskHead(
        scale.channels,
        num_classes=num_classes,
        per_level=scale.rpn_pre_nms[1],
        rule=detection_rule(scale),
        rays=rays,
        bias=polar_centreness_bias,
        box_of=polar_nms,
        smaller=scale.anchor_sizes[0] / PUBLISHED,
    )
    return one_stage(
        head,
        backbone=backbone,
        scale=scale,
        input_size=input_size,
        neck=lambda widths: FCOSPyramid(widths, channels=scale.channels),
        transform=input_transform(input_size, dialect="mm", keep_ratio=keep_ratio),
    )
