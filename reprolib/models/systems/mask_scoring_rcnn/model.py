"""Mask Scoring R-CNN with a feature pyramid (Huang et al., CVPR 2019)."""

from __future__ import annotations

from reprolib.models.systems.mask_scoring_rcnn.mask_scoring_branch import mask_scoring_branch
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale, Schedule

NAME = "Mask Scoring R-CNN"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    schedule: Schedule,
    dialect: str = "mm",
    background_channels: bool = False,
    maskiou_detach: bool = False,
    clamp_iou: bool = True,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """The detector for `num_classes` foreground classes; raises ValueError for any component.

    Detections have `mask_scores` [N] beside their scores, for ranking masks.
    maskiou_detach: the IoU loss does not train the mask head (public codes: it does). clamp_iou: predicted IoU are
    kept in 0..1 before they become scores (public codes: not).
    """
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
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
        backbone=backbone,
        scale=scale,
        schedule=schedule,
        dialect=dialect,
        roi_heads=heads,
        stride_in_1x1=stride_in_1x1,
    )
