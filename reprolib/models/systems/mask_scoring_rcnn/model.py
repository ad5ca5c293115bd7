"""Mask Scoring R-CNN with a feature pyramid (Huang et al., CVPR 2019)."""

from __future__ import annotations

from reprolib.models.input_transform import InputSize
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.mask_scoring_branch import mask_scoring_branch
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale

NAME = "Mask Scoring R-CNN"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "mm",
    background_channels: bool = False,
    maskiou_detach: bool = False,
    clamp_iou: bool = True,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """The detector for `num_classes` foreground classes.

    Detections have `mask_scores` [N] besides `scores`; masks are ranked by them.

    maskiou_detach: the IoU loss does not train the mask head; in the public codes it does. clamp_iou: predicted IoUs
    are clamped to 0..1 before they become scores; in the public codes they are not.
    """
    branch = mask_scoring_branch(
        num_classes=num_classes,
        scale=scale,
        dialect=dialect,
        background_channels=background_channels,
        detach=maskiou_detach,
        clamp=clamp_iou,
    )
    heads = mask_rcnn_heads(
        num_classes=num_classes,
        scale=scale,
        dialect=dialect,
        background_channels=background_channels,
        mask_branch=branch,
    )
    return two_stage(
        heads, backbone=backbone, scale=scale, input_size=input_size, dialect=dialect, stride_in_1x1=stride_in_1x1
    )
