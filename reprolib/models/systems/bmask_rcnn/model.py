"""Boundary-preserving Mask R-CNN, BMask R-CNN (Cheng et al., ECCV 2020)."""

from __future__ import annotations

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.bmask_rcnn.boundary_preserving_branch import boundary_preserving_branch
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale

NAME = "BMask R-CNN"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "d2",
    mask_on_pred_boxes: bool = True,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """Mask R-CNN that also predicts the boundary of every mask.

    The published cascade is not implemented.

    mask_on_pred_boxes: masks and boundaries are trained on the predicted boxes of the positives, as published, instead
    of the proposals.
    """
    heads = mask_rcnn_heads(
        num_classes=num_classes,
        scale=scale,
        dialect=dialect,
        mask_branch=boundary_preserving_branch(num_classes=num_classes, scale=scale, dialect=dialect),
        mask_on_predicted_boxes=mask_on_pred_boxes,
    )
    return two_stage(
        heads, backbone=backbone, scale=scale, input_size=input_size, dialect=dialect, stride_in_1x1=stride_in_1x1
    )
