"""K-Net (Zhang et al., NeurIPS 2021) for instances: kernels that are updated by what their masks hold; no boxes."""

from __future__ import annotations

from reprolib.models.detections import detection_rule
from reprolib.models.input_transform import InputSize
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.systems.knet.knet_head import KNetHead
from reprolib.params import Scale

NAME = "K-Net"


def build(
    *, num_classes: int, backbone: str, scale: Scale, input_size: InputSize, match_on: str = "before"
) -> OneStage:
    """The detector for `num_classes` foreground classes; raises ValueError for other values of the switches.

    There are as many kernels as `scale.detections`, published 100.

    match_on: the predictions that instances are matched to in each update, those `before` it (the published code) or
    the `current` ones.
    """
    head = KNetHead(
        scale.channels,
        num_classes=num_classes,
        queries=scale.detections,
        rule=detection_rule(scale, own_threshold=0.0),
        match_on=match_on,
    )
    return one_stage(head, backbone=backbone, scale=scale, input_size=input_size)
