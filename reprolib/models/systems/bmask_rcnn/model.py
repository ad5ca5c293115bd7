"""Boundary-preserving Mask R-CNN, BMask R-CNN (Cheng et al., ECCV 2020)."""

from __future__ import annotations

from reprolib.models.systems.bmask_rcnn.boundary_preserving_branch import boundary_preserving_branch
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale, Schedule

NAME = "BMask R-CNN"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    schedule: Schedule,
    dialect: str = "d2",
    mask_on_pred_boxes: bool = True,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """Mask R-CNN with a boundary beside every mask; raises ValueError for any component.

    mask_on_pred_boxes: masks and boundaries train on the predicted boxes of the positives, as published, not on the
    proposals. The published cascade is not built.
    """
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
    heads = mask_rcnn_heads(
        num_classes=num_classes,
        scale=scale,
        dialect=dialect,
        mask_branch=boundary_preserving_branch(num_classes=num_classes, scale=scale, dialect=dialect),
        mask_on_predicted_boxes=mask_on_pred_boxes,
    )
    return two_stage(
        backbone=backbone,
        scale=scale,
        schedule=schedule,
        dialect=dialect,
        roi_heads=heads,
        stride_in_1x1=stride_in_1x1,
    )
